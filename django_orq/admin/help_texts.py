"""What states and kinds mean, as help beside them."""

from typing import Any

from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ..models import ConversationState, SyncRun

Mode, Phase, State = SyncRun.Mode, SyncRun.Phase, SyncRun.State

OF_CONVERSATIONS: dict[str, Any] = {
    ConversationState.LIVE: _("Orq has it."),
    ConversationState.UNLISTED: _("Orq has it, though Orq’s list leaves it out."),
    ConversationState.MISSING: _(
        "Orq did not show it when it was last looked for, so it may be gone. A full sync asks Orq for it once more; "
        "only if Orq does not know it then, it is marked as deleted here."
    ),
    ConversationState.DELETED: _(
        "It is gone from Orq, with its messages. Here it is kept, for whatever refers to it, and can only be read."
    ),
}
_OF_MODES = {
    Mode.INCREMENTAL: _("It looks for new conversations, from the newest on until it meets those that are known."),
    Mode.FULL: _("It goes through all of Orq’s list, and finds renamed and deleted conversations too."),
}
_OF_RUNS = {
    State.QUEUED: _("It waits for a worker to take it."),
    State.WAITING: _("It rests, and goes on by itself."),
    State.PAUSED: _("Somebody has stopped it. It goes on from there as soon as somebody lets it."),
    State.SUCCEEDED: _("It has come to its end, and nothing was left open."),
    State.PARTIAL: _("It has come to its end, but something was left open:"),
    State.FAILED: _("It broke off. What it had brought over until then is here; the next sync starts anew."),
    State.CANCELLED: _("Somebody has ended it. What it had brought over until then is here."),
}
_OF_PHASES = {
    Phase.WALK: _("A worker goes through Orq’s list."),
    Phase.CONFIRM: _("A worker asks Orq for the conversations that are missing, one by one."),
}


def of_run(run: SyncRun) -> str:
    """What it means that a run is in its state."""
    return str(_OF_PHASES[Phase(run.phase)] if run.state == State.RUNNING else _OF_RUNS[State(run.state)])


def of_mode(run: SyncRun) -> str:
    """What a run of its kind does."""
    return str(_OF_MODES[Mode(run.mode)])


def explained(word: Any, meaning: Any) -> str:
    """Both, as the admin shows a value and the help for it."""
    return format_html('{}<div class="help">{}</div>', word, meaning)

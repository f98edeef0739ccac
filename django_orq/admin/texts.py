"""What the admin says: outcomes of what people request, what states mean, names and times within sentences."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.formats import localize
from django.utils.html import format_html
from django.utils.text import get_text_list
from django.utils.timezone import localtime, now
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import exceptions
from ..exceptions import (
    ConversationChanged,
    ConversationNotFound,
    MirrorBehind,
    MustWait,
    OrqError,
    OutcomeUnknown,
    Problem,
)
from ..models import Conversation, ConversationState, Operation, OperationItem
from ..text import in_words

Verb, State = Operation.Verb, OperationItem.State
_MAX_NAMES = 10
_ISOLATE, _END = "\u2068", "\u2069"
_ISOLATES = dict.fromkeys(range(0x2066, 0x206A))
_SENTENCES = {
    Verb.CREATE: (
        _("Created."),
        _("No conversation was created."),
        _(
            "The conversation may exist in Orq; the next sync shows it. Look for it in the list before you save "
            "again, or there may be two."
        ),
    ),
    Verb.RENAME: (
        _("Renamed."),
        _("The name was not changed."),
        _("The name may have changed; refreshing it shows that. Saving again does no harm."),
    ),
    Verb.DELETE: (
        _("Deleted."),
        _("It was not deleted."),
        _("It may be deleted. Deleting it again does no harm."),
    ),
    Verb.REFRESH: (_("Up to date."), _("It was not refreshed."), ""),
}
"""What is said where Orq did it, where it did not, and where it may have done it."""


def explain_done(verb: str, *, replaced: str | None = None, overtaken: str | None = None, behind: bool = False) -> str:
    """That it was done; which names it met; and that the row here is ``behind``."""
    said = [str(_SENTENCES[Verb(verb)][0])]
    if replaced:
        text = gettext("Somebody had renamed it to “%(name)s” at the same moment; your name replaced that.")
        said.append(text % {"name": isolated(replaced)})
    if overtaken:
        text = gettext("Somebody renamed it to “%(name)s” right after that.")
        said.append(text % {"name": isolated(overtaken)})
    if behind:
        said.append(gettext("The local copy is out of date: refresh it, or wait for the next full sync."))
    return " ".join(said)


def explain_error(verb: str, error: OrqError | ImproperlyConfigured) -> str:
    """That Orq did not do it, or perhaps did, and why."""
    if isinstance(error, ImproperlyConfigured):
        error = Problem("not_configured", problem=str(error))
    return _explain(verb, error.code, error.params, is_doubtful=error.leaves_doubt, retry_after=error.retry_after)


def explain_item(item: OperationItem) -> str:
    """What became of one conversation of an operation; only its state while nothing did."""
    verb, note, is_doubtful = item.operation.verb, item.note, item.state == State.UNKNOWN
    if item.state in (State.PENDING, State.SENT):
        return str(item.get_state_display())
    if item.state == State.DONE:
        names = {"replaced": note.get("replaced"), "overtaken": note.get("overtaken")}
        return explain_done(verb, behind=item.error_code == MirrorBehind.code, **names)
    wait = note.get("retry_after")
    why = _explain(verb, item.error_code, item.error_params, is_doubtful=is_doubtful, retry_after=wait)
    return gettext("Skipped after an earlier failure: %(why)s") % {"why": why} if note.get("skipped") else why


def _explain(verb: str, code: str, params: Mapping[str, Any], *, is_doubtful: bool, retry_after: float | None) -> str:
    _done, undone, doubtful = _SENTENCES[Verb(verb)]
    said = [_cause(code, params), doubtful] if is_doubtful else [undone, _cause(code, params)]
    if code == ConversationNotFound.code:
        said.append(gettext("It is marked as missing here."))
    if retry_after:
        said.append(gettext("Nothing is queued: try again in %(time)s.") % {"time": _rounded_up(retry_after)})
    return " ".join(str(sentence) for sentence in said if sentence)


def _cause(code: str, params: Mapping[str, Any]) -> str:
    if code == OutcomeUnknown.code:
        return gettext("It is not known whether Orq did it: %(reason)s.") % params
    if code == MustWait.code:  # for how long is said beside it
        return gettext("Orq asks us to slow down.")
    if code == ConversationChanged.code:
        name = isolated(params["display_name"])
        return gettext("Somebody renamed it: it is now called “%(name)s”.") % {"name": name}
    return exceptions.explain(code, params)


def _rounded_up(seconds: float) -> str:
    length = timedelta(seconds=math.ceil(seconds) if seconds < 60 else 60 * math.ceil(seconds / 60))
    return in_words(length).replace("\xa0", " ")


def explain_conflict(change: ConversationChanged) -> str:
    """What somebody else made of the conversation meanwhile, beside the field for its name."""
    who, ago = change.updated_by_id or gettext("somebody"), in_words(now() - change.updated_at)
    text = gettext("It is now called “%(name)s” (changed %(ago)s ago by %(who)s). Save again to replace that name.")
    return text % {"name": isolated(change.display_name), "ago": ago, "who": who}


OF_CONVERSATIONS: dict[str, Any] = {
    ConversationState.LIVE: _("Orq has it."),
    ConversationState.UNLISTED: _("Orq has it, though its list omits it."),
    ConversationState.MISSING: _(
        "It was not found at the last sync, so it may be gone. A full sync asks Orq for it once more; it is marked as "
        "deleted here only if Orq does not know it then."
    ),
    ConversationState.DELETED: _(
        "It is gone from Orq, with its messages. Here it is kept, for whatever refers to it, and can only be read."
    ),
}


def explained(word: Any, meaning: Any) -> str:
    """Both, as the admin shows a value and the help for it."""
    return format_html('{}<div class="help">{}</div>', word, meaning)


def isolated(name: str) -> str:
    """A name for use within a sentence, whose order it does not disturb, in whichever direction it is written."""
    return f"{_ISOLATE}{name.translate(_ISOLATES)}{_END}"


def as_told(conversation: Conversation) -> Conversation:
    """A copy that calls itself as sentences and titles should; only to be shown."""
    told = copy(conversation)
    told.display_name = isolated(str(conversation))
    return told


def quoted(conversations: Sequence[Conversation]) -> str:
    """The first ones' names, in quotes, and how many more there are."""
    shown = [gettext("“%(name)s”") % {"name": isolated(str(row))} for row in conversations[:_MAX_NAMES]]
    if more := len(conversations) - len(shown):
        shown.append(ngettext("%(count)d more", "%(count)d more", more) % {"count": more})
    return str(get_text_list(shown, gettext("and")))


def local(moment: datetime) -> str:
    """A time in the reader's time zone and language."""
    return str(localize(localtime(moment)))


def ago(moment: datetime, *, now: datetime) -> str:
    """“1 minute ago” as markup, which holds the exact time as well."""
    text = gettext("%(time)s ago") % {"time": in_words(now - moment, depth=1)}
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), local(moment), text)

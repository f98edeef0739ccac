"""What became of what a person ordered in Orq, and what that means for them."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import exceptions
from ..durations import in_words
from ..exceptions import ConversationChanged, ConversationNotFound, MirrorBehind, MustWait, OutcomeUnknown
from ..models import OperationItem
from ..wording import Words
from .names import isolated

_UNDONE = {
    "create": _("No conversation was created."),
    "rename": _("The name was not changed."),
    "delete": _("It was not deleted."),
    "refresh": _("It was not refreshed."),
}
_DOUBTFUL = {
    "create": _(
        "The conversation may exist in Orq all the same; the next sync shows it. Look for it in the list before you "
        "save again, or there may be two."
    ),
    "rename": _("The name may have changed all the same; refreshing it shows that. Saving again does no harm."),
    "delete": _("It may be deleted all the same. Deleting it again does no harm."),
    "refresh": "",
}
_DONE = {
    "create": _("Created."),
    "rename": _("Renamed."),
    "delete": _("Deleted."),
    "refresh": _("Up to date."),
}
_ONCE = {
    "create": _("This form was sent more than once; the conversation was created once."),
    "rename": _("This form was sent more than once; the conversation was renamed once."),
    "delete": _("This form was sent more than once; the conversation was deleted once."),
    "refresh": _("This form was sent more than once; the conversation was refreshed once."),
}


def explain_item(item: OperationItem) -> str:
    """What became of one conversation of an operation."""
    State, verb = OperationItem.State, item.operation.verb  # noqa: N806 # a class
    match item.state:
        case State.PENDING | State.SENT:
            return ""
        case State.DONE:
            return " ".join([str(_DONE[verb]), *_notes(item)])
    text = _compose(
        verb,
        item.error_code,
        item.error_params,
        doubtful=item.state == State.UNKNOWN,
        retry_after=item.note.get("retry_after"),
    )
    return (
        gettext("Not tried, since it would have fared like one before it: %(why)s") % {"why": text}
        if item.note.get("untried")
        else text
    )


def explain_repetition(verb: str) -> str:
    """That a form which was sent before did nothing more."""
    return str(_ONCE[verb])


def conflict(item: OperationItem) -> ConversationChanged | None:
    """What somebody else made of the conversation meanwhile, if that is why a rename was not done."""
    if item.error_code != ConversationChanged.code:
        return None
    moment = item.error_params["updated_at"]
    moment = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)  # text where it was stored
    return ConversationChanged(**{**item.error_params, "updated_at": moment})


def was_eventful(item: OperationItem) -> bool:
    """Whether there is more to say of what was done than that it was."""
    return item.conversation is None or bool(_notes(item))


def row_follows(item: OperationItem) -> bool:
    """Whether the row shows what was done: it could be written, and nobody has renamed the conversation since."""
    return item.conversation is not None and not item.error_code and "overtaken" not in item.note


def _compose(verb: str, code: str, params: Mapping[str, Any], *, doubtful: bool, retry_after: float | None) -> str:
    sentences = [
        "" if doubtful else _UNDONE[verb],
        _cause(code, params),
        _DOUBTFUL[verb] if doubtful else "",
        gettext("It is marked as missing here.") if code == ConversationNotFound.code else "",
        _wait(retry_after),
    ]
    return " ".join(str(sentence) for sentence in sentences if sentence)


def _cause(code: str, params: Mapping[str, Any]) -> str:
    if code == OutcomeUnknown.code:
        return gettext("It is not known whether Orq did it: %(reason)s.") % Words(params)
    if code == MustWait.code:  # for how long is said beside it
        return gettext("Orq asks us to slow down.")
    if code == ConversationChanged.code:
        return gettext("Somebody renamed it: it is now called “%(name)s”.") % {
            "name": isolated(params["display_name"])
        }
    return exceptions.explain(code, params)


def _notes(item: OperationItem) -> list[str]:
    found = []
    if "replaced" in item.note:
        text = gettext("Somebody had renamed it to “%(name)s” at the same moment; your name replaced that.")
        found.append(text % {"name": isolated(item.note["replaced"])})
    if "overtaken" in item.note:
        text = gettext("Somebody renamed it to “%(name)s” right after that.")
        found.append(text % {"name": isolated(item.note["overtaken"])})
    if item.error_code == MirrorBehind.code:
        found.append(gettext("The row here could not follow yet; refreshing it brings it up to date."))
    return found


def _wait(retry_after: float | None) -> str:
    seconds = round(retry_after or 0)
    if not seconds:
        return ""
    length = timedelta(seconds=seconds) if seconds < 60 else timedelta(minutes=math.ceil(seconds / 60))
    return gettext("Orq asks to wait %(time)s.") % {"time": in_words(length).replace("\xa0", " ")}

"""What it means for the person who ordered something that Orq did not do it, or not surely."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from .. import exceptions
from ..exceptions import (
    ConversationChanged,
    ConversationNotFound,
    MirrorBehind,
    NotConfigured,
    OrqError,
    OutcomeUnknown,
)
from ..models import OperationItem
from ..wording import Words

FAILURES = (OrqError, ImproperlyConfigured)
"""What a verb of the mirror raises if the fault is not in our code."""

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
    "rename": _("The name may have changed all the same; the next sync shows it. Saving again does no harm."),
    "delete": _("It may be deleted all the same. Deleting it again does no harm."),
    "refresh": "",
}
_DONE = {
    "create": _("Created."),
    "rename": _("Renamed."),
    "delete": _("Deleted."),
    "refresh": _("Up to date."),
}


def explain(error: Exception, verb: str) -> str:
    """What happened and what to do, in a few sentences."""
    if isinstance(error, ImproperlyConfigured):
        error = NotConfigured(problem=str(error))
    if not isinstance(error, OrqError):
        raise TypeError(f"{type(error).__name__} is none of FAILURES")
    return _compose(verb, error.code, error.params, doubtful=error.leaves_doubt, retry_after=error.retry_after)


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
    if code == MirrorBehind.code:  # after the answer, so its own advice to try again would mislead
        return gettext("Orq answered, but the answer could not be stored here.")
    if code == ConversationChanged.code:
        return gettext("Somebody renamed it: it is now called “%(display_name)s”.") % params
    return exceptions.explain(code, params)


def _notes(item: OperationItem) -> list[str]:
    found = []
    if "replaced" in item.note:
        text = gettext("Somebody had renamed it to “%(name)s” at the same moment; your name replaced that.")
        found.append(text % {"name": item.note["replaced"]})
    if "overtaken" in item.note:
        text = gettext("Somebody renamed it to “%(name)s” right after that.")
        found.append(text % {"name": item.note["overtaken"]})
    if item.error_code == MirrorBehind.code:
        found.append(gettext("The row here could not follow yet; the next sync brings it up to date."))
    return found


def _wait(retry_after: float | None) -> str:
    seconds = round(retry_after or 0)
    if not seconds:
        return ""
    return ngettext("Orq asks to wait %(count)d second.", "Orq asks to wait %(count)d seconds.", seconds) % {
        "count": seconds
    }

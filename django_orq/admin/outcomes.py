"""What became of what a person ordered in Orq, and what that means for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import exceptions
from ..exceptions import ConversationChanged, ConversationNotFound, MirrorBehind, MustWait, OutcomeUnknown
from ..models import Operation, OperationItem
from ..text import in_words
from .names import isolated

Verb, State = Operation.Verb, OperationItem.State


@dataclass(frozen=True, kw_only=True)
class _Sentences:
    """What is said of an item of one verb."""

    done: Any
    undone: Any
    doubtful: Any
    """What may have come of it all the same; empty if that does not matter."""
    repeated: Any
    """Of a form that was sent before."""


_SENTENCES = {
    Verb.CREATE: _Sentences(
        done=_("Created."),
        undone=_("No conversation was created."),
        doubtful=_(
            "The conversation may exist in Orq all the same; the next sync shows it. Look for it in the list before "
            "you save again, or there may be two."
        ),
        repeated=_("This form was sent more than once; the conversation was created once."),
    ),
    Verb.RENAME: _Sentences(
        done=_("Renamed."),
        undone=_("The name was not changed."),
        doubtful=_("The name may have changed all the same; refreshing it shows that. Saving again does no harm."),
        repeated=_("This form was sent more than once; the conversation was renamed once."),
    ),
    Verb.DELETE: _Sentences(
        done=_("Deleted."),
        undone=_("It was not deleted."),
        doubtful=_("It may be deleted all the same. Deleting it again does no harm."),
        repeated=_("This form was sent more than once; the conversation was deleted once."),
    ),
    Verb.REFRESH: _Sentences(
        done=_("Up to date."),
        undone=_("It was not refreshed."),
        doubtful="",
        repeated=_("This form was sent more than once; the conversation was refreshed once."),
    ),
}


def explain_item(item: OperationItem) -> str:
    """What became of one conversation of an operation; empty while nothing did."""
    match item.state:
        case State.PENDING | State.SENT:
            return ""
        case State.DONE:
            return " ".join([str(_sentences(item).done), *_notes(item)])
    why = _explain_failure(item)
    if item.note.get("untried"):
        return gettext("Not tried, since it would have fared like one before it: %(why)s") % {"why": why}
    return why


def explain_repetition(verb: str) -> str:
    """That a form which was sent before did nothing more."""
    return str(_SENTENCES[Verb(verb)].repeated)


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


def _sentences(item: OperationItem) -> _Sentences:
    return _SENTENCES[Verb(item.operation.verb)]


def _explain_failure(item: OperationItem) -> str:
    """That Orq did not do it, or perhaps did."""
    is_doubtful = item.state == State.UNKNOWN
    sentences = [
        "" if is_doubtful else _sentences(item).undone,
        _cause(item.error_code, item.error_params),
        _sentences(item).doubtful if is_doubtful else "",
        gettext("It is marked as missing here.") if item.error_code == ConversationNotFound.code else "",
        _wait(item.note.get("retry_after")),
    ]
    return " ".join(str(sentence) for sentence in sentences if sentence)


def _cause(code: str, params: Mapping[str, Any]) -> str:
    if code == OutcomeUnknown.code:
        return gettext("It is not known whether Orq did it: %(reason)s.") % params
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

"""What it means for the person who ordered something that Orq did not do it, or not surely."""

from typing import Any, Literal

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..exceptions import (
    AuthenticationFailed,
    ConversationNotFound,
    MalformedResponse,
    MirrorBehind,
    OrqError,
    OutcomeUnknown,
    PermissionRefused,
    RateLimited,
    ServerError,
    TransportError,
)

Verb = Literal["create", "rename", "delete"]

FAILURES = (OrqError, ImproperlyConfigured)
"""What a verb of the mirror raises if the fault is not in our code."""

_UNDONE = {
    "create": _("No conversation was created."),
    "rename": _("The name was not changed."),
    "delete": _("It was not deleted."),
}
_DOUBTFUL = {
    "create": _(
        "The conversation may exist in Orq all the same; the next sync shows it. Look for it in the list before you "
        "save again, or there may be two."
    ),
    "rename": _("The name may have changed all the same; the next sync shows it. Saving again does no harm."),
    "delete": _("It may be deleted all the same. Deleting it again does no harm."),
}


def explain(error: Exception, verb: Verb) -> str:
    """What happened and what to do, in a few sentences."""
    doubtful = leaves_doubt(error)
    sentences = [
        "" if doubtful else _UNDONE[verb],
        _cause(error),
        _DOUBTFUL[verb] if doubtful else "",
        gettext("It is marked as missing here.") if isinstance(error, ConversationNotFound) else "",
        _wait(error),
    ]
    return " ".join(str(sentence) for sentence in sentences if sentence)


def leaves_doubt(error: Exception) -> bool:
    """Whether Orq may have done it."""
    if isinstance(error, (OutcomeUnknown, MirrorBehind)):
        return True
    if getattr(error, "operation", None) != "delete":
        return False
    if isinstance(error, TransportError):
        return error.sent
    return isinstance(error, MalformedResponse) or (isinstance(error, ServerError) and error.status in (502, 504))


def concerns_all(error: Exception) -> bool:
    """Whether the next conversation would meet the same failure."""
    general = (ImproperlyConfigured, AuthenticationFailed, PermissionRefused, RateLimited, TransportError)
    return isinstance(error, general)


def _cause(error: Exception) -> str:
    if isinstance(error, ImproperlyConfigured):
        return gettext("Orq is not set up in this project's settings: %(problem)s") % {"problem": error}
    if isinstance(error, OutcomeUnknown):
        return gettext("It is not known whether Orq did it: %(reason)s.") % {"reason": error.reason}
    if isinstance(error, MirrorBehind):  # after the answer, so its own advice to try again would mislead
        return gettext("Orq answered, but the answer could not be stored here.")
    return str(error)


def _wait(error: Any) -> str:
    seconds = round(getattr(error, "retry_after", None) or 0)
    if not seconds:
        return ""
    return ngettext("Orq asks to wait %(count)d second.", "Orq asks to wait %(count)d seconds.", seconds) % {
        "count": seconds
    }

"""Everything that can go wrong with Orq, as one tree of exceptions.

Each has a stable ``code``, a ``message`` for people, in the reader's language, and ``str(error)``, the same in English
for logs and tracebacks. ``retryable`` tells whether the same call may be tried again later, ``retry_after`` how many
seconds Orq asked to wait. Technical values in a message, such as ``reason``, are always English. All of them pickle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, dataclass_transform

from django.apps import apps
from django.utils.translation import gettext

from .text import marked as _

__all__ = [
    "APIError",
    "AuthenticationFailed",
    "ConversationChanged",
    "ConversationNotFound",
    "CursorIgnored",
    "InvalidName",
    "MalformedResponse",
    "MirrorBehind",
    "MirrorContended",
    "MustWait",
    "OrqError",
    "OutcomeUnknown",
    "PermissionRefused",
    "Problem",
    "RateLimited",
    "ServerError",
    "StrayWrite",
    "TransportError",
    "WorkspaceDoubted",
]

_WRITES = frozenset({"create", "update", "delete"})
"""Operations that have an effect."""
_GENERAL = _("Something went wrong with Orq.")
_TEMPLATES: dict[str, str] = {}
"""The sentence of each code. One that is empty stands for the error's ``reason``, which is a sentence of its own."""


def explain(code: str, params: Mapping[str, Any]) -> str:
    """Return the message of a stored error, from its ``code`` and ``params``, in the reader's language."""
    # Where Django is not set up, as in a script that uses the service alone, there are no translations.
    translate = gettext if apps.ready else str
    try:
        return _compose(code, params, translate)
    except (LookupError, TypeError, ValueError):  # stored by another version
        return f"{translate(_GENERAL)} ({code})"


def _compose(code: str, params: Mapping[str, Any], translate: Callable[[str], str]) -> str:
    message = params.get("server_message")
    said = f": {message}" if message else ""
    template = _TEMPLATES[code]
    return translate(template).format_map({**params, "said": said}) if template else translate(params["reason"])


@dataclass_transform(kw_only_default=True, eq_default=False)
@dataclass(kw_only=True, eq=False, repr=False)
class OrqError(Exception):
    """The root of the tree. A subclass is a dataclass of what its message tells, and of what else its callers need."""

    retry_after: float | None = None

    code = "orq_error"
    template = _GENERAL
    retryable = False
    concerns_all = False
    """Whether what is ordered for the next conversation would fare the same."""
    private = frozenset({"retry_after"})
    """Fields that are not stored."""

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True, eq=False, repr=False)(cls)
        _TEMPLATES[cls.code] = cls.template

    def __post_init__(self) -> None:
        self.args = (_compose(self.code, self.params, str),)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **{each.name: getattr(self, each.name) for each in fields(self)}), ()

    @property
    def message(self) -> str:
        """For people, in the language that is active when it is read."""
        return explain(self.code, self.params)

    @property
    def leaves_doubt(self) -> bool:
        """Whether what was asked for may have taken effect although this error came of it."""
        return False

    @property
    def params(self) -> dict[str, Any]:
        """The values in the message, as they may be stored beside the code."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in self.private}


class APIError(OrqError):
    """Orq answered with a 4XX or 5XX.

    ``status`` is the HTTP status, ``headers`` the answer's, ``body`` the first characters of its body and
    ``server_message`` the ``message`` of a JSON body, where there is one. ``hint`` says what else may help.
    """

    code = "api_error"
    template = _("Orq answered {status} to {operation}{said}{hint}.")
    private = OrqError.private | {"headers", "body"}

    operation: str
    status: int
    headers: Mapping[str, str]
    body: str = ""
    server_message: str | None = None
    hint: str = ""


class AuthenticationFailed(APIError):
    """401: the key is not accepted."""

    code = "authentication_failed"
    concerns_all = True
    template = _("Orq does not accept the API key (401 to {operation}). Check API_KEY and BASE_URL.")


class PermissionRefused(APIError):
    """403: the key may not do this."""

    code = "permission_refused"
    concerns_all = True
    template = _("This API key may not {operation} conversations (403{said}). Check the key's permissions in Orq.")


class ConversationNotFound(APIError):
    """404 for an id: there is no such conversation, or this key has no access to it."""

    code = "conversation_not_found"
    template = _("Orq knows no conversation {remote_id}, or this API key has no access to it.")

    remote_id: str


class RateLimited(APIError):
    """429: too many requests; ``retry_after`` where Orq said how long to wait."""

    code = "rate_limited"
    template = _("Orq asks us to slow down (429 to {operation}). Try again later.")
    retryable = True


class MustWait(RateLimited):
    """Orq told an earlier request to wait until ``time`` (``HH:MM:SS``, UTC); this one waits too: nothing was sent."""

    code = "must_wait"
    template = _("Orq asks us to wait until {time} UTC.")

    time: str
    status: int = 429
    headers: Mapping[str, str] = field(default_factory=dict)


class ServerError(APIError):
    """5XX: Orq, or something before it, is in trouble."""

    code = "server_error"
    template = _("Orq is in trouble: it answered {status} to {operation}{said}. Try again later.")
    retryable = True

    @property
    def leaves_doubt(self) -> bool:
        return self.operation in _WRITES and self.status in (502, 504)


class TransportError(OrqError):
    """No complete answer came. ``sent`` tells whether the request may have reached Orq."""

    code = "transport_error"
    concerns_all = True
    template = _("Orq could not be reached to {operation} conversations: {reason}. Check the network and BASE_URL.")
    retryable = True

    operation: str
    reason: str
    sent: bool
    timed_out: bool = False

    @property
    def leaves_doubt(self) -> bool:
        return self.operation in _WRITES and self.sent


class MalformedResponse(OrqError):
    """An answer came that is not what the API promises; ``status`` is its HTTP status, if it got that far."""

    code = "malformed_response"
    template = _("Orq's answer to {operation} makes no sense: {reason}.")

    operation: str
    reason: str
    status: int | None = None

    @property
    def leaves_doubt(self) -> bool:
        refused = self.status is not None and 300 <= self.status < 400
        return self.operation in _WRITES and not refused


class CursorIgnored(MalformedResponse):
    """A page brought nothing older than the cursor: the server did not understand the query's name for it."""

    code = "cursor_ignored"
    template = _("Orq ignores the cursor: the next page brought nothing older. Change API_STYLE {api_style!r}.")

    api_style: str
    reason: str = "the cursor is ignored"


class WorkspaceDoubted(OrqError):
    """The key does not seem to see the workspace that is mirrored here; nothing was stored."""

    code = "workspace_doubted"
    template = _("This API key finds none of the newest {asked} conversations here. Check API_KEY and BASE_URL.")

    asked: int


class InvalidName(OrqError):
    """A name that Orq would refuse; nothing was sent. ``reason`` is a sentence, marked for translation."""

    code = "invalid_name"
    template = ""

    reason: str


class ConversationChanged(OrqError):
    """Somebody renamed the conversation since the caller saw it; nothing was written.

    ``display_name``, ``updated_at`` (aware) and ``updated_by_id`` are the remote values of now.
    """

    code = "conversation_changed"
    template = _("The conversation is now called “{display_name}”. Rename it again to replace that name.")

    remote_id: str
    display_name: str
    updated_at: datetime
    updated_by_id: str | None


class OutcomeUnknown(OrqError):
    """The request may have taken effect, and no answer tells. It is not sent again; the next full sync settles it."""

    code = "outcome_unknown"
    template = _("It is not known whether Orq carried out the {operation}: {reason}. The next full sync shows it.")

    operation: str
    reason: str

    @property
    def leaves_doubt(self) -> bool:
        return True


class MirrorContended(OrqError):
    """The rows kept changing under our hands; nothing was written."""

    code = "mirror_contended"
    template = _("Other writers kept changing the same conversations. Try again.")
    retryable = True


class MirrorBehind(OrqError):
    """Orq did what was asked, and its answer could not be written: it must not be asked again.

    ``remote_id`` is the conversation's, ``replaced`` the name that somebody gave it just before ours replaced that.
    """

    code = "mirror_behind"
    template = _("Orq carried out the {operation}. Do not repeat it: the next full sync updates the row here.")

    operation: str
    remote_id: str
    replaced: str | None = None

    @property
    def leaves_doubt(self) -> bool:
        return True


class _Kind(NamedTuple):
    template: str
    retryable: bool = False
    concerns_all: bool = False


PROBLEMS = {
    "pace_kept": _Kind(_("REQUESTS_PER_MINUTE allows the next request in {seconds:.0f} seconds."), retryable=True),
    "workers_crashed": _Kind(_("{crashes} processes in a row died at the same page. The system's log may say why.")),
    "database_trouble": _Kind(_("The database failed ({error}). The log says more."), retryable=True),
    "internal_error": _Kind(_("The run broke off with {error}. The log says more; the next run starts anew.")),
    "not_configured": _Kind(_("Orq is not set up in this project's settings: {problem}"), concerns_all=True),
    "row_deleted": _Kind(_("This project has deleted its row of the conversation since, so nothing was done in Orq.")),
}
"""By their codes, what keeps or ends work and is no error of Orq's."""
_TEMPLATES.update({code: kind.template for code, kind in PROBLEMS.items()})


class Problem(OrqError):
    """One of ``PROBLEMS``, where it is stored, shown or raised as an error is."""

    def __init__(self, code: str, **params: Any) -> None:
        self.code = code
        self._params = params
        self.retryable, self.concerns_all = PROBLEMS[code].retryable, PROBLEMS[code].concerns_all
        super().__init__()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Problem, self.code, **self._params), ()

    @property
    def params(self) -> dict[str, Any]:
        return self._params


class StrayWrite(TypeError):
    """Project code tried to write mirrored columns itself; the text names the verb to call instead."""

"""The exceptions that this app raises: ``OrqError`` with its subclasses, and ``StrayWrite``.

Each ``OrqError`` has a stable ``code``, a ``message`` in the active language, and ``str(error)``, the same message in
English for logs and tracebacks. ``retryable`` says whether the same call may be tried again later; ``retry_after`` is
the number of seconds that Orq asked us to wait, or ``None``. Technical details in a message, such as the ``reason`` of
a ``TransportError``, are not translated. All of these exceptions can be pickled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, dataclass_transform

from django.apps import apps
from django.utils.text import camel_case_to_spaces
from django.utils.translation import gettext

from .text import for_reader, marked as _

__all__ = ["APIError", "AuthenticationFailed", "ConversationChanged", "ConversationNotFound", "CursorIgnored"]
__all__ += ["InvalidName", "MalformedResponse", "MirrorBehind", "MirrorContended", "MustWait", "OrqError"]
__all__ += ["OutcomeUnknown", "PermissionRefused", "Problem", "RateLimited", "ServerError", "StrayWrite"]
__all__ += ["TransportError", "WorkspaceDoubted"]

_WRITES = frozenset({"create", "update", "delete"})
"""The remote operations that change something."""
_GENERAL = _("Something went wrong with Orq.")
_TEMPLATES: dict[str, str] = {"orq_error": _GENERAL}
"""The message of each code, with advice to operators on a second line; if empty, ``reason`` is the whole message."""


def explain(code: str, params: Mapping[str, Any], *, for_operator: bool = True) -> str:
    """Return the message of a stored error, from its ``code`` and ``params``, in the active language.

    Only operators read the technical advice; without ``for_operator``, readers are told to ask the administrator.
    """
    # Without Django's app registry, as in a script that uses only the service, there are no translations.
    translate = gettext if apps.ready else str
    try:
        return _compose(code, params, translate, for_operator=for_operator)
    except (LookupError, TypeError, ValueError):  # stored by another version
        return f"{translate(_GENERAL)} ({code})"


def _compose(code: str, params: Mapping[str, Any], translate: Callable[..., str], *, for_operator: bool = True) -> str:
    template, message = _TEMPLATES[code], params.get("server_message")
    if not template:
        return translate(params["reason"])
    text = for_reader(translate(template), is_operator=for_operator)
    return text.format_map({**params, "detail": f": {message}" if message else ""}).rstrip()


@dataclass_transform(kw_only_default=True, eq_default=False)
@dataclass(kw_only=True, eq=False, repr=False)
class OrqError(Exception):
    """The base class. A subclass is a dataclass of the values that its message and its callers need."""

    retry_after: float | None = None

    code = "orq_error"
    """Stable; that of a subclass is its name in snake_case."""
    template = _GENERAL
    retryable = False
    concerns_all = False
    """Whether the same request for another conversation would probably fail too, so a bulk operation should stop."""
    private = frozenset({"retry_after"})
    """Fields that are not stored in the database."""

    def __init_subclass__(cls) -> None:
        dataclass(kw_only=True, eq=False, repr=False)(cls)
        cls.code = camel_case_to_spaces(cls.__name__).replace(" ", "_")
        _TEMPLATES[cls.code] = cls.template

    def __post_init__(self) -> None:
        self.args = (_compose(self.code, self.params, str),)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **{each.name: getattr(self, each.name) for each in fields(self)}), ()

    @property
    def message(self) -> str:
        """The message, in the language that is active when it is read."""
        return explain(self.code, self.params)

    @property
    def leaves_doubt(self) -> bool:
        """Whether the operation may have taken effect in spite of this error."""
        return False

    @property
    def params(self) -> dict[str, Any]:
        """The values of the message, to be stored with the code."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in self.private}


class APIError(OrqError):
    """Orq returned a 4XX or 5XX status.

    ``status`` is the HTTP status of the response, ``headers`` are its headers, ``body`` is the beginning of its body
    (at most 500 characters), and ``server_message`` is the ``message`` of a JSON body, or ``None``.
    """

    template = _(
        "Orq returned status {status} for the {operation} request{detail}.\nCheck BASE_URL and API_STYLE. If there "
        "was a cursor, its conversation may have been deleted."
    )
    private = OrqError.private | {"headers", "body"}

    operation: str
    status: int
    headers: Mapping[str, str]
    body: str = ""
    server_message: str | None = None


class AuthenticationFailed(APIError):
    """401: Orq rejected the API key."""

    concerns_all = True
    template = _("Orq rejects this site's API key.\nCheck API_KEY and BASE_URL (401 for the {operation} request).")


class PermissionRefused(APIError):
    """403: the API key does not permit this operation."""

    concerns_all = True
    template = _("This site's API key permits no {operation} requests (403{detail}).\nCheck its permissions in Orq.")


class ConversationNotFound(APIError):
    """404 for an id: the conversation does not exist, or this API key has no access to it."""

    template = _("Orq has no conversation {remote_id}, or this site's API key has no access to it.")

    remote_id: str


class RateLimited(APIError):
    """429: too many requests. ``retry_after`` is set if Orq said how long to wait."""

    template = _("Orq received too many requests (429 for the {operation} request).")
    retryable = True


class MustWait(RateLimited):
    """Nothing was sent: Orq asked us, after an earlier request, to wait until ``time`` (``HH:MM:SS``, UTC)."""

    template = _("Orq accepts no requests until {time} UTC.")

    time: str
    status: int = 429
    headers: Mapping[str, str] = field(default_factory=dict)


class ServerError(APIError):
    """5XX: Orq, or a proxy in front of it, failed."""

    template = _("Orq failed with status {status} for the {operation} request{detail}.")
    retryable = True

    @property
    def leaves_doubt(self) -> bool:
        return self.operation in _WRITES and (self.status in (502, 504) or self.status >= 520)  # those of gateways


class TransportError(OrqError):
    """No complete response arrived. ``sent`` says whether the request may have reached Orq."""

    concerns_all = True
    template = _("The {operation} request to Orq failed: {reason}.\nCheck the network, BASE_URL and API_KEY.")
    retryable = True

    operation: str
    reason: str
    sent: bool
    timed_out: bool = False

    @property
    def leaves_doubt(self) -> bool:
        return self.operation in _WRITES and self.sent


class MalformedResponse(OrqError):
    """The response does not match Orq's API reference.

    ``status`` is its HTTP status, or ``None`` if it was not recorded.
    """

    template = _("Orq's response to the {operation} request cannot be used: {reason}.\nCheck BASE_URL and any proxy.")

    operation: str
    reason: str
    status: int | None = None

    @property
    def leaves_doubt(self) -> bool:
        is_redirect = self.status is not None and 300 <= self.status < 400
        return self.operation in _WRITES and not is_redirect


class CursorIgnored(MalformedResponse):
    """The list does not advance: a page has nothing older than its cursor, or the pages repeat.

    Usually the server does not know the query parameter of the dialect in ``API_STYLE``.
    """

    template = _("Orq's list does not advance: its pages repeat.\nCheck API_STYLE (now {api_style!r}).")

    api_style: str
    reason: str = "the cursor is ignored"


class WorkspaceDoubted(OrqError):
    """The API key does not seem to belong to the workspace that is mirrored.

    A page of the list shared no id with the mirror, and Orq found none of the ``asked`` newest mirrored conversations.
    Nothing from that page was stored.
    """

    template = _(
        "Orq has none of the mirrored conversations that were looked up ({asked}).\n"
        "Check API_KEY and BASE_URL. If the mirror is that of another workspace, such as a restarted sandbox, "
        "start with an empty database."
    )

    asked: int


class InvalidName(OrqError):
    """Orq would reject this name; nothing was sent. ``reason`` is a sentence, marked for translation."""

    template = ""

    reason: str


class ConversationChanged(OrqError):
    """The conversation was changed after the caller had read it, so it was not renamed. The mirror has been updated.

    ``display_name``, ``updated_at`` (aware) and ``updated_by_id`` are the current values in Orq.
    """

    template = _("The conversation is now called “{display_name}”. Rename it again to replace that name.")

    remote_id: str
    display_name: str
    updated_at: datetime
    updated_by_id: str | None


class OutcomeUnknown(OrqError):
    """The request may or may not have taken effect. We do not send it again; the next full sync shows the outcome."""

    template = _("Orq may have completed the {operation} request ({reason}). The next full sync will show if it did.")
    leaves_doubt = True

    operation: str
    reason: str


class MirrorContended(OrqError):
    """Other processes kept changing the same rows; nothing was written."""

    template = _("Other processes kept changing the same conversations. Try again.")
    retryable = True


class MirrorBehind(OrqError):
    """Orq completed the operation, but the mirror could not be updated. The operation must not be repeated.

    ``remote_id`` is the conversation's id. ``replaced`` is a name that someone else set in Orq and that our rename
    replaced, or ``None``.
    """

    template = _("Orq completed the {operation} request. Do not repeat it: the next full sync mirrors it if possible.")
    leaves_doubt = True

    operation: str
    remote_id: str
    replaced: str | None = None


class _Kind(NamedTuple):
    template: str
    retryable: bool = False
    concerns_all: bool = False


PROBLEMS = {
    "pace_kept": _Kind(_("This site's limit of requests per minute is reached."), retryable=True),
    "workers_crashed": _Kind(_("{crashes} attempts in a row crashed at the same point.\nCheck the system's log.")),
    "database_trouble": _Kind(_("The database failed ({error}).\nSee the log for details."), retryable=True),
    "internal_error": _Kind(_("The run failed ({error}).\nSee the log.")),
    "not_configured": _Kind(_("Orq is not configured correctly on this site.\n{problem}"), concerns_all=True),
    "row_refused": _Kind(_("The database cannot store this conversation.\n{reason}")),
    "row_deleted": _Kind(_("This conversation is no longer in the database. Nothing was changed in Orq.")),
}
"""The errors, by code, that delay or end work but do not come from Orq."""
_TEMPLATES.update({code: kind.template for code, kind in PROBLEMS.items()})


class Problem(OrqError):
    """One of ``PROBLEMS``, to be stored, shown or raised like any other error."""

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
    """Project code tried to write mirrored columns directly. The message names the function to call instead."""

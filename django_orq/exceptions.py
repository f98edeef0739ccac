"""Everything that can go wrong with Orq, as one tree of exceptions.

Each carries a stable ``code``, whether the same call may be tried again later (``retryable``), how long Orq
asked us to wait (``retry_after``, seconds) and a ``message`` for people, in the language of whoever reads it. As text,
for logs and tracebacks, they are English. All of them pickle.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from django.apps import apps
from django.utils.translation import gettext, pgettext_lazy

from .text import marked as _

__all__ = [
    "APIError",
    "AuthenticationFailed",
    "ConversationChanged",
    "ConversationNotFound",
    "CursorIgnored",
    "DatabaseTrouble",
    "InternalError",
    "InvalidName",
    "MalformedResponse",
    "MirrorBehind",
    "MirrorContended",
    "MustWait",
    "NotConfigured",
    "OrqError",
    "OutcomeUnknown",
    "PaceKept",
    "PermissionRefused",
    "RateLimited",
    "RowDeleted",
    "ServerError",
    "StrayWrite",
    "TransportError",
    "WalkersDied",
    "WorkspaceDoubted",
]

_OPERATIONS = {
    "list": pgettext_lazy("what Orq is asked to do", "list"),
    "create": pgettext_lazy("what Orq is asked to do", "create"),
    "retrieve": pgettext_lazy("what Orq is asked to do", "retrieve"),
    "update": pgettext_lazy("what Orq is asked to do", "update"),
    "delete": pgettext_lazy("what Orq is asked to do", "delete"),
}
MISFIT = (LookupError, ValueError)
"""What comes of composing a template of another version."""
_TEMPLATES = frozenset({"reason", "malformed", "said", "hint"})
"""Values that are templates of ours; never a text from elsewhere, for these can do more than stand there."""


class Words(Mapping[str, Any]):
    """The values of a text as they stand in it: the words among them translated, unless they are ``for_logs``."""

    def __init__(self, values: Mapping[str, Any], *, for_logs: bool = False) -> None:
        self._values = values
        # Where Django is not set up, as in a script that uses the service alone, there are no translations.
        self._translates = apps.ready and not for_logs

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        if name in _TEMPLATES and value:
            return self.complete(value)
        if name == "operation" and self._translates:
            return str(_OPERATIONS.get(value, value))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def compose(self, template: str) -> str:
        """One of ``MISFIT`` if it has a place for a value that is not there, or is of another kind."""
        return (gettext(template) if self._translates else template).format_map(self)

    def complete(self, template: str) -> str:
        """As ``compose``; a template that these values don't fit is left as it is."""
        try:
            return self.compose(template)
        except MISFIT:
            return template


def for_reader(template: str, values: Mapping[str, Any]) -> str:
    return Words(values).complete(template)


def for_logs(template: str, values: Mapping[str, Any]) -> str:
    return Words(values, for_logs=True).complete(template)


_WRITES = frozenset({"create", "update", "delete"})
"""Operations that have an effect."""


class OrqError(Exception):
    """The root of the tree.

    ``details`` are the values that complete the message; ``params`` are those of them that may be stored.
    """

    code: ClassVar[str] = "orq_error"
    template: ClassVar[str] = _("Something went wrong with Orq.")
    retryable: ClassVar[bool] = False
    concerns_all: ClassVar[bool] = False
    """Whether what is ordered for the next conversation would fare the same."""
    private: ClassVar[frozenset[str]] = frozenset()
    _by_code: ClassVar[dict[str, type["OrqError"]]] = {}

    def __init_subclass__(cls) -> None:
        cls._by_code[cls.code] = cls

    def __init__(self, *, retry_after: float | None = None, **details: Any) -> None:
        self.retry_after = retry_after
        self.details = details
        super().__init__(for_logs(self.template, details))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), retry_after=self.retry_after, **self.details), ()

    @property
    def message(self) -> str:
        """For people, in the language that is active when it is read."""
        return for_reader(self.template, self.details)

    @property
    def leaves_doubt(self) -> bool:
        """Whether what was asked for may have taken effect although this error came of it."""
        return False

    @property
    def params(self) -> dict[str, Any]:
        return {name: value for name, value in self.details.items() if name not in self.private}


def explain(code: str, params: Mapping[str, Any]) -> str:
    """Compose the message of a stored error from its ``code`` and ``params``, in the reader's language."""
    try:
        return Words(params).compose(OrqError._by_code[code].template)
    except MISFIT:  # stored by another version
        return f"{for_reader(OrqError.template, {})} ({code})"


class APIError(OrqError):
    """Orq answered with a 4XX or 5XX.

    ``status`` is the HTTP status, ``headers`` the answer's, ``body`` the first characters of its body and
    ``server_message`` the ``message`` of a JSON body, where there is one. ``hint`` is a template: what else may help.
    """

    code = "api_error"
    template = _("Orq answered {status} to {operation}{said}{hint}.")
    private = frozenset({"headers", "body"})

    def __init__(
        self,
        *,
        operation: str,
        status: int,
        headers: Mapping[str, str],
        body: str = "",
        server_message: str | None = None,
        hint: str = "",
        retry_after: float | None = None,
        **more: Any,
    ) -> None:
        self.operation = operation
        self.status = status
        self.headers = dict(headers)
        self.body = body
        self.server_message = server_message
        super().__init__(
            retry_after=retry_after,
            operation=operation,
            status=status,
            headers=self.headers,
            body=body,
            server_message=server_message,
            **{"said": _(": {server_message}") if server_message else "", "hint": hint, **more},
        )


class AuthenticationFailed(APIError):
    """401: the key is not accepted."""

    code = "authentication_failed"
    concerns_all = True
    template = _(
        "Orq does not accept the API key (401 to {operation}). Check API_KEY, and that BASE_URL is the key's own."
    )


class PermissionRefused(APIError):
    """403: the key may not do this."""

    code = "permission_refused"
    concerns_all = True
    template = _(
        "Orq does not let this API key {operation} conversations (403{said}). Check the key's permissions in Orq."
    )


class ConversationNotFound(APIError):
    """404 for an id: there is no such conversation, or this key has no access to it."""

    code = "conversation_not_found"
    template = _("Orq knows no conversation {remote_id}, or this API key has no access to it.")

    def __init__(self, *, remote_id: str, **answer: Any) -> None:
        self.remote_id = remote_id
        super().__init__(remote_id=remote_id, **answer)


class RateLimited(APIError):
    """429: too many requests; ``retry_after`` where Orq said how long to wait."""

    code = "rate_limited"
    template = _("Orq asks us to slow down (429 to {operation}). Try again later.")
    retryable = True


class MustWait(RateLimited):
    """Orq told an earlier request to wait until ``until`` (aware); this one waits too: nothing was sent."""

    code = "must_wait"
    template = _("Orq asks us to wait until {time} UTC.")

    def __init__(self, *, operation: str, until: datetime, retry_after: float, **more: Any) -> None:
        self.until = until
        super().__init__(
            operation=operation,
            until=until,
            retry_after=retry_after,
            **{"status": 429, "headers": {}, "time": f"{until.astimezone(UTC):%H:%M:%S}", **more},
        )

    private = APIError.private | {"until"}


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

    def __init__(self, *, operation: str, reason: str, sent: bool, timed_out: bool = False, **more: Any) -> None:
        self.operation = operation
        self.reason = for_logs(reason, more)
        self.sent = sent
        self.timed_out = timed_out
        super().__init__(operation=operation, reason=reason, sent=sent, timed_out=timed_out, **more)

    @property
    def leaves_doubt(self) -> bool:
        return self.operation in _WRITES and self.sent


class MalformedResponse(OrqError):
    """An answer came that is not what the API promises; ``status`` is its HTTP status, if it got that far."""

    code = "malformed_response"
    template = _("Orq's answer to {operation} makes no sense: {reason}.")

    def __init__(self, *, operation: str, reason: str, status: int | None = None, **more: Any) -> None:
        self.operation = operation
        self.reason = for_logs(reason, {"status": status, **more})
        self.status = status
        super().__init__(operation=operation, reason=reason, status=status, **more)

    @property
    def leaves_doubt(self) -> bool:
        refused = self.status is not None and 300 <= self.status < 400
        return self.operation in _WRITES and not refused


class CursorIgnored(MalformedResponse):
    """A page brought nothing older than the cursor: the server did not understand the query's name for it."""

    code = "cursor_ignored"
    template = _(
        "Orq answered with a page that brings nothing older than the one before, so it seems not to know the cursor's "
        "name. This workspace speaks API_STYLE {api_style!r}; try the other one, 'snake' or 'camel'."
    )

    def __init__(self, *, operation: str, api_style: str, **more: Any) -> None:
        super().__init__(operation=operation, api_style=api_style, **{"reason": _("the cursor is ignored"), **more})


class WorkspaceDoubted(OrqError):
    """The key does not seem to see the workspace that is mirrored here; nothing was stored."""

    code = "workspace_doubted"
    template = _(
        "The list shows none of the conversations that are here, and the newest {asked} of them are not to be "
        "found with this API key. Does it belong to another workspace? Nothing was stored. Check API_KEY and BASE_URL."
    )

    def __init__(self, *, asked: int, **more: Any) -> None:
        super().__init__(asked=asked, **more)


class PaceKept(OrqError):
    """``REQUESTS_PER_MINUTE`` allows no request for ``seconds``; the run waits that long."""

    code = "pace_kept"
    template = _("REQUESTS_PER_MINUTE allows the next request in {seconds:.0f} seconds.")
    retryable = True

    def __init__(self, *, seconds: float, **more: Any) -> None:
        self.seconds = seconds
        super().__init__(seconds=seconds, **more)


class WalkersDied(OrqError):
    """Process after process died at the same page."""

    code = "walkers_died"
    template = _("{deaths} processes in a row died while working on the same page. The system's log may say why.")

    def __init__(self, *, deaths: int, **more: Any) -> None:
        super().__init__(deaths=deaths, **more)


class DatabaseTrouble(OrqError):
    """The database failed in the middle of a run, which waits and goes on."""

    code = "database_trouble"
    template = _("The database failed ({error}). The log says more.")
    retryable = True

    def __init__(self, *, error: str, **more: Any) -> None:
        super().__init__(error=error, **more)


class InternalError(OrqError):
    """A defect or wrong settings ended a run; the log has the traceback."""

    code = "internal_error"
    template = _("The run broke off with {error}. The log says more; the next run starts anew.")


class NotConfigured(OrqError):
    """What ``ImproperlyConfigured`` said, where it must be stored."""

    code = "not_configured"
    concerns_all = True
    template = _("Orq is not set up in this project's settings: {problem}")

    def __init__(self, *, problem: str, **more: Any) -> None:
        super().__init__(problem=problem, **more)


class RowDeleted(OrqError):
    """The row that an order was about is no longer in the database."""

    code = "row_deleted"
    template = _("This project has deleted its row of the conversation since, so nothing was done in Orq.")


class InvalidName(OrqError):
    """A name that Orq would refuse; nothing was sent."""

    code = "invalid_name"
    template = "{reason}"

    def __init__(self, *, reason: str, **more: Any) -> None:
        self.reason = for_logs(reason, more)
        super().__init__(reason=reason, **more)


class ConversationChanged(OrqError):
    """Somebody renamed the conversation since the caller saw it; nothing was written.

    ``display_name``, ``updated_at`` (aware) and ``updated_by_id`` are the remote values of now.
    """

    code = "conversation_changed"
    template = _(
        "The conversation is now called “{display_name}”. Look at it and rename it again to replace that name."
    )

    def __init__(
        self,
        *,
        remote_id: str,
        display_name: str,
        updated_at: datetime,
        updated_by_id: str | None,
        **more: Any,
    ) -> None:
        self.remote_id = remote_id
        self.display_name = display_name
        self.updated_at = updated_at
        self.updated_by_id = updated_by_id
        super().__init__(
            remote_id=remote_id,
            display_name=display_name,
            updated_at=updated_at,
            updated_by_id=updated_by_id,
            **more,
        )


class OutcomeUnknown(OrqError):
    """The request may have taken effect, and no answer tells. It is not sent again; the next full sync settles it."""

    code = "outcome_unknown"
    template = _(
        "Nobody knows whether Orq carried out the {operation}: {reason}. It is not sent again; "
        "the next full sync shows what happened."
    )

    def __init__(self, *, operation: str, reason: str, **more: Any) -> None:
        self.operation = operation
        self.reason = for_logs(reason, more)
        super().__init__(operation=operation, reason=reason, **more)

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
    template = _(
        "Orq carried out the {operation}, but the row here could not be written. Do not repeat it: the next full sync "
        "brings the row up to date."
    )

    def __init__(self, *, operation: str, remote_id: str, replaced: str | None = None, **more: Any) -> None:
        self.operation = operation
        self.remote_id = remote_id
        self.replaced = replaced
        super().__init__(operation=operation, remote_id=remote_id, replaced=replaced, **more)

    @property
    def leaves_doubt(self) -> bool:
        return True


class StrayWrite(TypeError):
    """Project code tried to write mirrored columns itself; the text names the verb to call instead."""

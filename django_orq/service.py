"""The five remote operations on conversations, named as in the vendor's SDK.

Requests and responses are described in ``docs/remote-api.md``. This module works without the ORM; only
``for_workspace`` needs Django's settings.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self
from urllib.parse import quote

from . import conf
from .conf import ApiKey, RetryConfig
from .exceptions import CursorIgnored, MalformedResponse, OrqError, OutcomeUnknown, TransportError
from .payloads import Page, RemoteConversation, clean_display_name, parse_conversation, parse_page
from .transport.http import Call, Reply, Transport
from .transport.responses import check_reply, malformed, parse_reply

__all__ = ["ConversationService"]

_PATH = "/v2/conversations"
_WRITE_SHARE = 2 / 3
"""The share of an update's time that its PATCH may take; the rest is for the GET that resolves an unknown outcome."""
_CONFIGURED = ("api_key", "base_url", "api_style", "project_id", "connect_timeout", "read_timeout", "retries")
"""The arguments that come from the settings."""
_CURSORS = {"snake": ("starting_after", "ending_before"), "camel": ("startingAfter", "endingBefore")}


class ConversationService:
    """The conversations of one workspace in Orq. Times are in seconds.

    ``api_key`` may be a callable; it is called for each request. ``retries`` is the default for all calls. No attempt
    and no read of a body starts later than ``total_seconds`` after the beginning of a call, or ``lifetime_seconds``
    after the service was created; a response that arrives slowly can take longer. Close the service after use, or use
    it as a context manager.

    Every operation raises subclasses of ``OrqError``: ``APIError`` (any 4XX or 5XX, with ``retry_after`` if Orq sent
    it), ``TransportError`` and ``MalformedResponse``. Before anything is sent, a name that Orq would reject
    raises ``InvalidName``, other invalid arguments raise ``ValueError``, and an invalid API key raises
    ``ImproperlyConfigured``, or ``TransportError`` if it comes from a callable.
    """

    def __init__(
        self,
        *,
        api_key: str | Callable[[], str] | ApiKey,
        base_url: str = conf.DEFAULT_BASE_URL,
        api_style: str = "snake",
        project_id: str | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        retries: RetryConfig | None = None,
        total_seconds: float = conf.TOTAL_SECONDS,
        lifetime_seconds: float = math.inf,
    ) -> None:
        hidden_key = api_key if isinstance(api_key, ApiKey) else ApiKey(api_key)
        del api_key  # a debug page shows the local variables of the frame that raises
        self._base_url = base_url
        self._api_style = api_style
        for name, value in {"base_url": base_url, "api_style": api_style}.items():
            if problem := conf.problem_with(name, value):
                raise ValueError(f"{name} {problem}.")
        self._project_id = project_id
        self._retries = retries or RetryConfig()
        self._total_seconds = total_seconds
        self._until = time.monotonic() + lifetime_seconds
        self._transport = Transport(
            api_key=hidden_key, base_url=base_url, connect_timeout=connect_timeout, read_timeout=read_timeout
        )

    @classmethod
    def for_workspace(cls, alias: str = conf.DEFAULT_ALIAS, *, interactive: bool = False, **options: Any) -> Self:
        """Return the service of a configured workspace; ``options`` replace arguments that come from the settings.

        ``interactive`` is for calls that a user is waiting for: it allows one attempt each, and 15 s for all of them
        together. Raises ``ImproperlyConfigured`` if the workspace is not configured.
        """
        workspace = conf.get_workspace(alias)
        configured = {name: getattr(workspace, name) for name in _CONFIGURED}
        if interactive:
            configured |= {"retries": RetryConfig(attempts=1), "lifetime_seconds": conf.INTERACTIVE_SECONDS}
        return cls(**configured | options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base_url} {self._api_style}>"

    def close(self) -> None:
        self._transport.close()

    def list(
        self,
        *,
        limit: int = 10,
        starting_after: str | None = None,
        ending_before: str | None = None,
        retries: RetryConfig | None = None,
    ) -> Page:
        """Return one page of at most ``limit`` (1–100) conversations, newest first.

        They are older than ``starting_after`` or newer than ``ending_before``, both of which are conversation ids.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= conf.MAX_PAGE_SIZE:
            raise ValueError(f"limit must be a whole number from 1 to {conf.MAX_PAGE_SIZE}.")
        if "" in (starting_after, ending_before):
            raise ValueError("starting_after and ending_before must not be empty.")
        cursors = zip(_CURSORS[self._api_style], (starting_after, ending_before), strict=True)
        query = {name: cursor for name, cursor in cursors if cursor is not None}
        slash = "/" if self._api_style == "camel" else ""
        call = Call(operation="list", method="GET", path=_PATH + slash, query={"limit": limit, **query})
        reply = self._send(call, retries, 200)
        return replace(parse_reply(call, reply, parse_page), length=len(reply.text))

    def create(self, *, display_name: str, retries: RetryConfig | None = None) -> RemoteConversation:
        """Create a conversation and return it.

        Raises ``InvalidName``, before anything is sent, if Orq would reject the name; ``OutcomeUnknown`` if the
        conversation may or may not have been created.
        """
        body = {"displayName": clean_display_name(display_name)}
        if self._api_style == "camel" and self._project_id:
            body["projectId"] = self._project_id
        call = Call(operation="create", method="POST", path=_PATH, body=body)
        try:
            return parse_reply(call, self._send(call, retries, 200, 201), parse_conversation)
        except OrqError as error:
            if not error.leaves_doubt:
                raise
            raise _outcome_unknown(call, error, error.retry_after) from None

    def retrieve(self, *, conversation_id: str, retries: RetryConfig | None = None) -> RemoteConversation:
        """Return a conversation.

        Raises ``ConversationNotFound`` if it does not exist or this API key has no access to it.
        """
        return self._fetch(_call("retrieve", "GET", conversation_id), retries)

    def update(
        self, *, conversation_id: str, display_name: str | None = None, retries: RetryConfig | None = None
    ) -> RemoteConversation:
        """Change the given fields and return the conversation.

        Raises ``InvalidName``, before anything is sent, if Orq would reject the name; ``OutcomeUnknown`` if the update
        may have taken effect and retrieving the conversation does not confirm that.
        """
        body = {} if display_name is None else {"displayName": clean_display_name(display_name)}
        call = _call("update", "PATCH", conversation_id, body)
        seconds = self._seconds_left()
        try:
            return self._fetch(call, retries, seconds * _WRITE_SHARE)
        except OrqError as error:
            if not error.leaves_doubt:
                raise
            cause = error
        return self._resolve(call, cause, retries, seconds * (1 - _WRITE_SHARE))

    def delete(self, *, conversation_id: str, retries: RetryConfig | None = None) -> None:
        """Delete a conversation permanently.

        Raises ``ConversationNotFound`` if it does not exist, even if an earlier attempt of this call deleted it.
        """
        self._send(_call("delete", "DELETE", conversation_id), retries, 204)

    def iterate(
        self, *, limit: int = conf.MAX_PAGE_SIZE, starting_after: str | None = None, retries: RetryConfig | None = None
    ) -> Iterator[Page]:
        """Yield all pages, newest first, or those after ``starting_after``.

        Raises ``CursorIgnored`` if they do not advance, ``MalformedResponse`` if there is no id to continue from.
        """
        cursor, requested = starting_after, {starting_after}
        while True:
            page = self.list(limit=limit, starting_after=cursor, retries=retries)
            if cursor is not None and page.ids and min(page.ids) >= cursor:
                raise CursorIgnored(operation="list", api_style=self._api_style, status=200)
            yield page
            if not page.has_more:
                return
            if page.cursor is None:
                reason = "“has_more” is true, but the page has no id to continue from"
                raise MalformedResponse(operation="list", reason=reason, status=200)
            if page.cursor in requested:
                raise CursorIgnored(operation="list", api_style=self._api_style, status=200)
            cursor = page.cursor
            requested.add(cursor)

    def _fetch(self, call: Call, retries: RetryConfig | None, seconds: float | None = None) -> RemoteConversation:
        reply = self._send(call, retries, 200, seconds=seconds)
        conversation = parse_reply(call, reply, parse_conversation)
        if conversation.remote_id != call.remote_id:
            raise malformed(call, reply, "it describes a different conversation")
        return conversation

    def _send(self, call: Call, retries: RetryConfig | None, *expected: int, seconds: float | None = None) -> Reply:
        seconds = self._seconds_left() if seconds is None else seconds
        reply = self._transport.send(call, retries=retries or self._retries, seconds=seconds)
        check_reply(call, reply, expected)
        return reply

    def _seconds_left(self) -> float:
        return max(0.0, min(self._total_seconds, self._until - time.monotonic()))

    def _resolve(self, call: Call, cause: OrqError, retries: RetryConfig | None, seconds: float) -> RemoteConversation:
        """Retrieve the conversation and return it if it shows the update; otherwise raise ``OutcomeUnknown``."""
        if (retry_after := cause.retry_after) is None:  # else Orq asked us to wait
            try:
                current = self._fetch(_call("retrieve", "GET", call.remote_id or ""), retries, seconds)
                if current.display_name == (call.body or {}).get("displayName", current.display_name):
                    return current
            except OrqError as error:
                retry_after = error.retry_after
        raise _outcome_unknown(call, cause, retry_after)


def _call(operation: str, method: str, conversation_id: str, body: Mapping[str, str] | None = None) -> Call:
    # quote() does not escape dots: “..” would lead to another path.
    if not (isinstance(conversation_id, str) and conversation_id.strip(".")):
        raise ValueError(f"conversation_id {conversation_id!r} is not a conversation id.")
    path = f"{_PATH}/{quote(conversation_id, safe='')}"
    return Call(operation=operation, method=method, path=path, remote_id=conversation_id, body=body)


def _outcome_unknown(call: Call, error: OrqError, retry_after: float | None) -> OutcomeUnknown:
    reason = "a gateway responded instead of Orq"
    if isinstance(error, MalformedResponse):
        reason = f"the response was invalid ({error.reason})"
    elif isinstance(error, TransportError):
        reason = error.reason
    return OutcomeUnknown(operation=call.operation, reason=reason, retry_after=retry_after)

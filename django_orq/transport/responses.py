"""Turns Orq's responses into values, or into errors that say what went wrong and when to try again."""

import json
import math
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

from .. import exceptions
from .http import Call, Reply

Parsed = TypeVar("Parsed")
_MAX_EXCERPT = 500
_MAX_MESSAGE = 200
_KINDS = {401: exceptions.AuthenticationFailed, 403: exceptions.PermissionRefused, 429: exceptions.RateLimited}


def check_reply(call: Call, reply: Reply, expected: Collection[int]) -> None:
    """Raise ``APIError`` for a 4XX or 5XX status, ``MalformedResponse`` for any other unexpected one."""
    if 400 <= reply.status < 600:
        raise _api_error(call, reply)
    if reply.status not in expected:
        is_redirect = 300 <= reply.status < 400
        reason = "it is a redirect" if is_redirect else f"unexpected status {reply.status}"
        raise malformed(call, reply, reason)


def parse_reply(call: Call, reply: Reply, parser: Callable[[Any], Parsed]) -> Parsed:
    """Return what ``parser`` makes of the JSON body. Its ``ValueError`` is raised as ``MalformedResponse``."""
    try:
        return parser(_decode(reply.text))
    except ValueError as error:
        reason = str(error)
    raise malformed(call, reply, reason)


def malformed(call: Call, reply: Reply, reason: str) -> exceptions.MalformedResponse:
    return exceptions.MalformedResponse(operation=call.operation, reason=reason, status=reply.status)


def _decode(text: str) -> Any:
    """Return the parsed JSON, or raise ``ValueError`` if ``text`` is not JSON."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    # Python refuses to parse integers of more than 4,300 digits. If such a number is parsed as infinity, only its item
    # is invalid, not the whole page.
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= 400 else math.inf)
    raise ValueError("it is not JSON")


def _api_error(call: Call, reply: Reply) -> exceptions.APIError:
    message = _server_message(reply)
    return _kind(call, reply.status, message)(
        operation=call.operation,
        status=reply.status,
        headers=reply.headers,
        body=_printable(reply, reply.text)[:_MAX_EXCERPT],
        server_message=message,
        retry_after=_retry_after(reply.headers),
    )


def _kind(call: Call, status: int, message: str | None) -> Callable[..., exceptions.APIError]:
    # Orq's own 404 has a message. Without one it may be a proxy's, which says nothing about the conversation.
    if status == 404 and call.remote_id is not None and message is not None:
        return partial(exceptions.ConversationNotFound, remote_id=call.remote_id)
    return exceptions.ServerError if status >= 500 else _KINDS.get(status, exceptions.APIError)


def _server_message(reply: Reply) -> str | None:
    with suppress(ValueError):
        content = _decode(reply.text)
        if isinstance(content, dict) and isinstance(content.get("message"), str):
            return _printable(reply, content["message"])[:_MAX_MESSAGE]
    return None


def _printable(reply: Reply, text: str) -> str:
    """Return ``text`` without the API key and without characters that some databases or terminals can't handle."""
    return reply.redact("".join(character for character in text[:100_000] if character.isprintable()))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return seconds, at most a year, from a number or an HTTP date; ``None`` if it is neither or missing."""
    lowered = {name.lower(): value for name, value in headers.items()}
    retry_after = lowered.get("retry-after", "")
    try:
        seconds = float(retry_after)
    except ValueError:
        # Orq's time is compared with the response's ``Date``; our clock is used only if that is missing.
        until, since = _http_date(retry_after), _http_date(lowered.get("date", "")) or datetime.now(UTC)
        seconds = (until - since).total_seconds() if until else math.nan
    return min(max(0.0, seconds), 366 * 86_400.0) if math.isfinite(seconds) else None


def _http_date(text: str) -> datetime | None:
    with suppress(ValueError, OverflowError):
        moment = parsedate_to_datetime(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None

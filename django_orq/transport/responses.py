"""What Orq's answers mean: a value, or the error that says what came instead."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from ..exceptions import (
    APIError,
    AuthenticationFailed,
    ConversationNotFound,
    MalformedResponse,
    PermissionRefused,
    RateLimited,
    ServerError,
)
from ..payloads import Page, Refused, RemoteConversation, decode
from ..text import marked as _
from .http import Call, Reply

Parsed = TypeVar("Parsed", Page, RemoteConversation)
_MAX_EXCERPT = 500
_MAX_MESSAGE = 200


def check_reply(call: Call, reply: Reply, expected: frozenset[int]) -> None:
    """Raise ``APIError`` for a 4XX or 5XX, ``MalformedResponse`` for a status not expected or a body not whole."""
    if 400 <= reply.status < 600:
        raise _api_error(call, reply)
    if 300 <= reply.status < 400:
        raise malformed(call, reply, _("it sends us elsewhere; check BASE_URL"))
    if reply.status not in expected:
        raise malformed(call, reply, f"its status is {reply.status}")
    if reply.defect:
        raise malformed(call, reply, reply.defect.reason)


def parse_reply(call: Call, reply: Reply, parser: Callable[[Any], Parsed]) -> Parsed:
    try:
        return parser(decode(reply.body))
    except Refused as refusal:
        reason = str(refusal)
    except ValueError:
        reason = _("it is not JSON")
    raise malformed(call, reply, reason)


def malformed(call: Call, reply: Reply, reason: str) -> MalformedResponse:
    return MalformedResponse(operation=call.operation, reason=reason, status=reply.status)


def _api_error(call: Call, reply: Reply) -> APIError:
    message = _server_message(reply)
    kind, more = _kind(call, reply.status, message)
    return kind(
        operation=call.operation,
        status=reply.status,
        headers=reply.headers,
        body=_printable(reply, reply.body.decode(errors="replace"))[:_MAX_EXCERPT],
        server_message=message,
        hint=_hint(call) if reply.status == 404 and kind is APIError else "",
        retry_after=_retry_after(reply.headers),
        **more,
    )


def _kind(call: Call, status: int, message: str | None) -> tuple[Callable[..., APIError], dict[str, str]]:
    if status == 404 and call.remote_id is not None and message is not None:
        return ConversationNotFound, {"remote_id": call.remote_id}
    if status >= 500:
        return ServerError, {}
    return {401: AuthenticationFailed, 403: PermissionRefused, 429: RateLimited}.get(status, APIError), {}


def _hint(call: Call) -> str:
    """What may be behind a 404 that is about no conversation."""
    if call.query.keys() - {"limit"}:
        return _(" (the conversation that the page starts from may be gone)")
    return _(" (is BASE_URL right, and does API_STYLE fit it?)")


def _server_message(reply: Reply) -> str | None:
    try:
        content = decode(reply.body)
    except ValueError:
        return None
    message = content.get("message") if isinstance(content, dict) else None
    return _printable(reply, message)[:_MAX_MESSAGE] if isinstance(message, str) else None


def _printable(reply: Reply, text: str) -> str:
    """Without the key, and without characters that some database or terminal can't take."""
    return reply.redact("".join(character for character in text[:100_000] if character.isprintable()))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or an HTTP date; ``None`` if there is neither."""
    named = {name.lower(): text for name, text in headers.items()}
    asked = named.get("retry-after")
    if asked is None:
        return None
    try:
        seconds = float(asked)
    except ValueError:
        seconds = _seconds_until(asked, named.get("date", ""))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(moment: str, now: str) -> float:
    """Orq's time is compared with Orq's: ours is used only if the answer has no ``Date``."""
    until, since = _http_date(moment), _http_date(now) or datetime.now(UTC)
    return (until - since).total_seconds() if until else math.nan


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""The wire: one HTTP exchange that can't outlast its time, the retry loop around it, and what came back.

Private to ``service``. Nothing of ``requests`` or ``urllib3`` leaves this module: not an object, and not a stack
frame, since theirs hold the Authorization header and Django's debug page prints what frames hold.
"""

import html
import http.client
import random
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

import requests
import urllib3

from .. import logs
from ..conf import ApiKey, KeyCallableFailed, RetryConfig
from ..exceptions import MalformedResponse, OrqError, TransportError
from ..text import marked as _
from .bounded import MAX_BODY, MAX_WIRE, BoundSession, Exchange, current_exchange
from .decompression import NotAccepted, decompressed

_CHUNK = 16_384
_REDACTED = "[API key]"
SHORTEST_SECRET = 8
"""Characters of a key that is taken out of what a server sends back."""
_REPEATABLE_STATUSES = frozenset({500, 502, 503, 504})
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to be made."""

    operation: str
    method: str
    path: str
    remote_id: str | None = None
    """The conversation asked for, where there is one."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, str] | None = None

    @property
    def idempotent(self) -> bool:
        return self.method in ("GET", "DELETE")


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Why an answer's body is not whole."""

    reason: str
    """A template of ours."""
    broken: bool = False
    """The connection ended in the middle of it."""
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back: the body as far as it could be read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    defect: Defect | None
    redact: Callable[[str], str] = field(repr=False)
    """Takes the API key that was sent out of a text that a server may have echoed."""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class _Bearer(requests.auth.AuthBase):
    """Given as ``auth`` because requests lets a ``~/.netrc`` entry replace a header that is merely set."""

    def __init__(self, key: ApiKey) -> None:
        self._key = key.read()
        self._spellings = _spellings(self._key)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key can't be pickled")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def redact(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, _REDACTED)
        return text

    def redact_body(self, body: bytes) -> bytes:
        """Orq's own answers hold no key; what a proxy or a test server echoes must go no further."""
        body = _ESCAPED.sub(_unescape, body)
        for spelling in self._spellings:
            body = body.replace(spelling.encode(), _REDACTED.encode())
        return body


_ESCAPED = re.compile(rb"(?<!\\)((?:\\\\)*)\\u00([2-7][0-9a-fA-F])")
"""A character of ASCII that JSON could have spelled plainly, after whole pairs of backslashes."""


def _unescape(found: re.Match[bytes]) -> bytes:
    """Plainly, unless the character means something to JSON, or is none that a key can have."""
    character = bytes.fromhex(found[2].decode())
    return found[0] if character in b'"\\\x7f' else found[1] + character


def _spellings(key: str) -> list[str]:
    """The key as JSON, HTML and URLs may spell it, too; most keys look alike in all of them.

    None of a key so short that it may be a word, as for trials: what people write would be spoilt.
    """
    if len(key) < SHORTEST_SECRET:
        return []
    escaped = (key.replace("/", "\\/"), html.escape(key), quote_plus(key), quote(key), quote(key, safe=""))
    return sorted({key, *escaped}, key=len, reverse=True)


class Transport:
    """Sends calls to one base URL. Times are seconds."""

    def __init__(self, *, api_key: ApiKey, base_url: str, connect_timeout: float, read_timeout: float) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._session = BoundSession()

    def close(self) -> None:
        self._session.close()

    def send(self, call: Call, *, retries: RetryConfig, seconds: float) -> Reply:
        """Make the call, with its repetitions, within ``seconds``.

        Any whole answer is returned, whatever its status. ``TransportError`` if none came; ``MalformedResponse`` if
        what came was not HTTP.
        """
        started = time.monotonic()
        deadline = started + seconds
        latest = min(deadline, started + retries.max_elapsed)
        outcome = self._attempt(call, deadline)
        for pause in _pauses(retries):
            if not _worth_repeating(call, outcome, retries) or time.monotonic() + pause >= latest:
                break
            time.sleep(pause)
            outcome = self._attempt(call, deadline)
        if isinstance(outcome, OrqError):
            raise outcome
        return outcome

    def _attempt(self, call: Call, deadline: float) -> Reply | OrqError:
        try:
            bearer = _Bearer(self._api_key)
        except KeyCallableFailed as error:
            return TransportError(operation=call.operation, reason=str(error).rstrip("."), sent=False, timed_out=False)
        exchange = Exchange(deadline=deadline, read_timeout=self._read_timeout)
        started = time.monotonic()
        outcome = self._guarded(call, bearer, exchange)
        verdict = outcome.status if isinstance(outcome, Reply) else outcome.code
        logs.log(logs.REQUEST_ANSWERED, call=call.operation, answer=verdict, seconds=time.monotonic() - started)
        return outcome

    def _guarded(self, call: Call, bearer: _Bearer, exchange: Exchange) -> Reply | OrqError:
        token = current_exchange.set(exchange)
        try:
            reply = self._perform(call, bearer, exchange)
        except _FAILURES as error:
            return _failure(call, exchange, error)
        except BaseException as error:  # a soft time limit, Ctrl-C, a defect: without the frames that hold the key
            error.__context__ = None
            raise error.with_traceback(None) from None
        finally:
            current_exchange.reset(token)
        if reply.succeeded and reply.defect and reply.defect.timed_out:
            return TransportError(operation=call.operation, reason=reply.defect.reason, sent=True, timed_out=True)
        return reply

    def _perform(self, call: Call, bearer: _Bearer, exchange: Exchange) -> Reply:
        if call.method == "POST":
            self._session.close()  # a kept connection may be stale, and then nobody knows whether this was sent
        with self._session.request(
            call.method,
            self._base_url + call.path,
            params=call.query,
            json=call.body,
            auth=bearer,
            timeout=(min(self._connect_timeout, exchange.left()), self._read_timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            body, defect = _read_body(response.raw, exchange)
            headers = {bearer.redact(name): bearer.redact(text) for name, text in response.headers.items()}
            return Reply(
                status=response.status_code,
                headers=headers,
                body=bearer.redact_body(body),
                defect=defect,
                redact=bearer.redact,
            )


def _pauses(retries: RetryConfig) -> Iterator[float]:
    interval = retries.initial_interval
    for _number in range(retries.attempts - 1):
        yield min(interval, retries.max_interval) * random.uniform(0.5, 1)  # noqa: S311  # jitter, not a secret
        interval = min(interval * 2, retries.max_interval)


def _worth_repeating(call: Call, outcome: Reply | OrqError, retries: RetryConfig) -> bool:
    if isinstance(outcome, TransportError):
        return retries.connection_errors and (call.idempotent or not outcome.sent)
    if not isinstance(outcome, Reply) or not call.idempotent:
        return False
    if outcome.succeeded:
        return retries.connection_errors and outcome.defect is not None and outcome.defect.broken
    return outcome.status in _REPEATABLE_STATUSES and not _has_retry_after(outcome)


def _has_retry_after(reply: Reply) -> bool:
    return any(name.lower() == "retry-after" for name in reply.headers)


def _read_body(raw: Any, exchange: Exchange) -> tuple[bytes, Defect | None]:
    body = bytearray()
    raw.enforce_content_length = True  # urllib3 1.26, which requests still admits, would not
    try:
        for piece in decompressed(_pieces(raw), encoding=raw.headers.get("Content-Encoding", "")):
            body += piece
            if len(body) > MAX_BODY:
                return bytes(body[:MAX_BODY]), _TOO_LONG
    except urllib3.exceptions.ReadTimeoutError:
        return bytes(body), Defect(reason=_("the answer did not end in time"), timed_out=True)
    except NotAccepted:
        return b"", Defect(reason=_("its compression is none that was asked for"))
    except zlib.error:
        return bytes(body), Defect(reason=_("its compression is broken"))
    except (*_FAILURES, ValueError):  # ValueError: a chunk of negative length
        return bytes(body), _TOO_LONG if exchange.received > MAX_WIRE else _CUT_OFF
    return bytes(body), None


def _pieces(raw: Any) -> Iterator[bytes]:
    """As they are on the wire, framing aside."""
    while piece := raw.read(_CHUNK, decode_content=False):
        yield piece


_TOO_LONG = Defect(reason=_("it is longer than 10 MB"))
_CUT_OFF = Defect(reason=_("it is cut off"), broken=True)


def _failure(call: Call, exchange: Exchange, error: BaseException) -> OrqError:
    causes = list(_causes(error))
    if exchange.received > MAX_WIRE:
        return MalformedResponse(operation=call.operation, reason=_TOO_LONG.reason)
    if exchange.sent and any(map(_is_no_http, causes)):
        return MalformedResponse(operation=call.operation, reason=_("it is not HTTP"))
    return TransportError(
        operation=call.operation,
        reason=_explain(causes, exchange),
        sent=exchange.sent,
        timed_out=any(isinstance(cause, TimeoutError) for cause in causes),
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps: requests and urllib3 keep some as causes, some as arguments."""
    found: list[Any] = [error]
    for cause in found:
        yield cause
        inner = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
        found += [one for one in inner if isinstance(one, BaseException) and not any(one is old for old in found)]


def _is_no_http(cause: BaseException) -> bool:
    if isinstance(cause, http.client.RemoteDisconnected):
        return False
    return isinstance(cause, (http.client.HTTPException, urllib3.exceptions.InvalidHeader))


def _explain(causes: list[BaseException], exchange: Exchange) -> str:
    """The reason in our words, for the libraries' texts are long and one of them quotes headers."""
    for kind, reason in (
        (TimeoutError, _("no answer came in time") if exchange.sent else _("no connection came about in time")),
        (socket.gaierror, _("the host name is not known")),
        (ssl.SSLCertVerificationError, _("its certificate is not trusted")),
        (ssl.SSLError, _("no encrypted connection came about")),
        (ConnectionRefusedError, _("the connection was refused")),
        (urllib3.exceptions.ProxyError, _("the proxy gave no connection")),
        (ConnectionError, _("the connection broke before an answer came")),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return reason
    return f"it failed with {type(causes[-1]).__name__}"

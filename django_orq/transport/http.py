"""One HTTP exchange, with its retries. Private to ``service``.

Neither objects nor stack frames of ``requests`` and ``urllib3`` leave this module: their frames hold the Authorization
header, and Django's debug page shows the local variables of all frames.
"""

import codecs
import http.client
import random
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from requests.exceptions import InvalidSchema, InvalidURL, RequestException
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, LocationValueError, NewConnectionError

from .. import __version__, logs
from ..conf import ApiKey, KeyCallableFailed, RetryConfig
from ..exceptions import MalformedResponse, OrqError, TransportError

MAX_BODY = 10_000_000
"""The longest response body that is accepted, in bytes after decompression."""
MIN_SECRET = 8
"""The shortest API key, in characters, that is removed from responses. A shorter one may be an ordinary word."""
_HEADERS = {"User-Agent": f"django-orq/{__version__}", "Accept": "application/json", "Accept-Encoding": "gzip"}
_CHUNK = 16_384
_GZIP = 16 + zlib.MAX_WBITS
_FAILURES = (RequestException, HTTPError, http.client.HTTPException, OSError, ValueError, zlib.error)
_NO_ADDRESS = (InvalidSchema, InvalidURL, LocationValueError)
_NOT_SENT = (*_NO_ADDRESS, NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError)
"""After any other failure, except a CONNECT that the proxy refused, the request counts as sent.

A TLS peer may read all of it and then close the connection.
"""
_REASONS = (
    (InvalidSchema, "the package PySocks, which a SOCKS proxy needs, is not installed"),
    (socket.gaierror, "the host name could not be resolved"),
    (ssl.SSLCertVerificationError, "the certificate is not trusted"),
    (ssl.SSLError, "the TLS connection failed"),
    (ConnectionRefusedError, "the connection was refused"),
    (NewConnectionError, "the connection failed"),
    (ConnectTimeoutError, "the connection timed out"),
    (TimeoutError, "the request timed out"),
    (ConnectionError, "the connection was closed before the response was complete"),
)
"""The libraries' own messages are not used: they are long, and one of them quotes headers."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to send."""

    operation: str
    method: str
    path: str
    remote_id: str | None = None
    """The id of the conversation, if the request is about one."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The response. The body of an error may be incomplete."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)
    """The body, decoded as UTF-8; lone surrogates stand for invalid bytes."""
    redact: Callable[[str], str] = field(repr=False)
    """Removes the API key that was sent, in case the server echoed it."""


class _Bearer(requests.auth.AuthBase):
    """Passed as ``auth``, so that no frame of this module has the header among its local variables."""

    def __init__(self, key: ApiKey) -> None:
        self._key = ApiKey(key.read())  # its repr hides the key, and it can't be pickled

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.read()}"
        return request

    def redact(self, text: str) -> str:
        key = self._key.read()
        return text.replace(key, "[API key]") if len(key) >= MIN_SECRET else text


class Transport:
    """Sends requests to one base URL. Threads may share it: each has its own session. Times are in seconds."""

    def __init__(self, *, api_key: ApiKey, base_url: str, connect_timeout: float, read_timeout: float) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._sessions: dict[int, requests.Session] = {}

    def close(self) -> None:
        for session in list(self._sessions.values()):
            session.close()

    def send(self, call: Call, *, retries: RetryConfig, seconds: float) -> Reply:
        """Send the request, with retries, within ``seconds``, and return the response, whatever its status.

        Raises ``TransportError`` if the connection failed or timed out before the response was complete, and
        ``MalformedResponse`` if the response ends too early, is too long or is not HTTP. No attempt and no read of a
        body starts after ``seconds``. If headers arrive slowly, only the read timeout limits them, which applies to
        each read.
        """
        started = time.monotonic()
        deadline = started + seconds
        retry_until = min(deadline, started + retries.max_elapsed)
        interval = retries.initial_interval
        for retries_left in reversed(range(retries.attempts)):
            outcome = self._attempt(call, deadline)
            pause = min(interval, retries.max_interval) * random.uniform(0.5, 1)  # noqa: S311 # jitter, not a secret
            if not (retries_left and _should_retry(call, outcome, retries) and time.monotonic() + pause < retry_until):
                break
            time.sleep(pause)
            interval *= 2
        if isinstance(outcome, OrqError):
            raise outcome
        return outcome

    def _attempt(self, call: Call, deadline: float) -> Reply | OrqError:
        session, started = self._session(), time.monotonic()
        try:
            outcome = self._exchange(call, session, deadline)
        except KeyCallableFailed as error:
            return TransportError(operation=call.operation, reason=error.reason, sent=False)
        except _FAILURES as error:
            outcome = _failure(call, error, requests.utils.select_proxy(self._base_url, session.proxies))
        except BaseException as error:  # a soft time limit, Ctrl-C, a bug: raised without the frames that hold the key
            error.__context__ = None
            raise error.with_traceback(None) from None
        answer = outcome.status if isinstance(outcome, Reply) else outcome.code
        logs.log(logs.REQUEST_ANSWERED, call=call.operation, answer=answer, seconds=time.monotonic() - started)
        return outcome

    def _session(self) -> requests.Session:
        """Return this thread's session, with the environment's proxy and CA bundle for the base URL."""
        if (thread := threading.get_ident()) not in self._sessions:
            session = self._sessions[thread] = requests.Session()
            session.headers.update(_HEADERS)
            environment = session.merge_environment_settings(self._base_url, {}, None, None, None)
            session.proxies, session.verify = environment["proxies"], environment["verify"]
            session.trust_env = False  # else each request would read the environment again, and ~/.netrc
        return self._sessions[thread]

    def _exchange(self, call: Call, session: requests.Session, deadline: float) -> Reply | OrqError:
        bearer = _Bearer(self._api_key)
        url, proxies = self._base_url + call.path, session.proxies
        request = requests.Request(call.method, url, params=call.query, json=call.body, auth=bearer)
        if call.method == "POST":
            session.close()  # a reused connection may be stale; then it would be unknown whether the request was sent
        if (seconds_left := deadline - time.monotonic()) <= 0:
            raise ConnectTimeoutError from TimeoutError()
        timeout = (min(self._connect_timeout, seconds_left), min(self._read_timeout, seconds_left))
        # Through the adapter, because a session would keep cookies and read a redirect's body to its end.
        send, prepared = session.get_adapter(url).send, session.prepare_request(request)
        with send(prepared, stream=True, timeout=timeout, verify=session.verify or True, proxies=proxies) as response:
            body: list[str] = []
            try:
                _read_body(call, response.raw, deadline, into=body)
            except (*_FAILURES, OrqError):
                if 200 <= response.status_code < 300:
                    raise
        return Reply(
            status=response.status_code,
            headers={bearer.redact(name): bearer.redact(value) for name, value in response.headers.items()},
            text=bearer.redact("".join(body)),
            redact=bearer.redact,
        )


def _read_body(call: Call, raw: Any, deadline: float, *, into: list[str]) -> None:
    # Decoded piece by piece, so that a long body and its text are not in memory together.
    length, decoder = 0, codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    # Decompressed here, since urllib3 before 2.6 does not limit the size of a decompressed chunk.
    gzip = zlib.decompressobj(_GZIP) if raw.headers.get("Content-Encoding", "").lower() == "gzip" else None
    while chunk := raw.read1(_CHUNK, decode_content=False):  # read() would wait until the chunk is full, however slow
        octets = gzip.decompress(chunk, MAX_BODY + 1 - length) if gzip else chunk
        length += len(octets)
        into.append(decoder.decode(octets))
        if length > MAX_BODY:
            raise MalformedResponse(operation=call.operation, reason="it is longer than 10 MB")
        if time.monotonic() >= deadline:
            raise TimeoutError
    into.append(decoder.decode(b"", final=True))
    if gzip and raw.tell() and not gzip.eof:
        raise zlib.error


def _should_retry(call: Call, outcome: Reply | OrqError, retries: RetryConfig) -> bool:
    idempotent = call.method in ("GET", "DELETE")
    if isinstance(outcome, Reply):
        # Waiting for Retry-After is left to the caller: here a server could block a worker for any length of time.
        must_wait = "retry-after" in map(str.lower, outcome.headers)
        return idempotent and not must_wait and outcome.status in {500, 502, 503, 504}
    not_sent = isinstance(outcome, TransportError) and not outcome.sent
    return retries.connection_errors and (idempotent or not_sent)


def _failure(call: Call, error: BaseException, proxy: str | None) -> OrqError:
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    via_proxy = f" (proxy {proxy.rpartition('@')[2].rpartition('//')[2].rstrip('/')})" if proxy else ""
    if caused_by(http.client.HTTPException, InvalidHeader, zlib.error) and not caused_by(ConnectionError):
        return MalformedResponse(operation=call.operation, reason=f"it is incomplete, damaged or not HTTP{via_proxy}")
    # Only this message of the standard library says that a proxy refused a CONNECT, and with which status.
    proxy_status = str(causes[-1]).partition("Tunnel connection failed: ")[2][:3]
    unexpected = f"an unexpected {type(causes[-1]).__name__} occurred"
    reason = next((reason for kind, reason in _REASONS if caused_by(kind)), unexpected)
    return TransportError(
        operation=call.operation,
        reason=(f"the proxy returned status {proxy_status}" if proxy_status else reason) + via_proxy,
        sent=not proxy_status and not caused_by(*_NOT_SENT),
        timed_out=caused_by(TimeoutError),
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and those that it wraps. requests and urllib3 keep them as ``reason``, argument or cause."""
    while error is not None:
        yield error
        inner = (getattr(error, "reason", None), *error.args, error.__cause__)
        error = next((one for one in inner if isinstance(one, BaseException)), None)

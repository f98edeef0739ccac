"""One HTTP exchange with its repetitions, and what came back. Private to ``service``.

Nothing of ``requests`` or ``urllib3`` leaves this module: not an object, and not a stack frame, since theirs hold the
Authorization header and Django's debug page prints what frames hold.
"""

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
from requests.exceptions import InvalidSchema, RequestException
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InvalidHeader, NewConnectionError

from .. import __version__, logs
from ..conf import ApiKey, KeyCallableFailed, RetryConfig
from ..exceptions import MalformedResponse, OrqError, TransportError

MAX_BODY = 10_000_000
"""Bytes of an answer's body, decompressed, above which reading stops."""
SHORTEST_SECRET = 8
"""Characters of a key that is removed from answers. A shorter one, as for trials, may be a word that people write."""
_HEADERS = {"User-Agent": f"django-orq/{__version__}", "Accept": "application/json", "Accept-Encoding": "gzip"}
_PIECE = 16_384
_GZIP = 16 + zlib.MAX_WBITS
_FAILURES = (RequestException, HTTPError, http.client.HTTPException, OSError, ValueError, zlib.error)
_NOT_SENT = (NewConnectionError, ConnectTimeoutError, ssl.SSLCertVerificationError, InvalidSchema)
"""All other failures count as sent: a TLS peer, for one, can read the whole request and then break the connection."""
_REASONS = (
    (InvalidSchema, "SOCKS needs the package PySocks; run pip install 'requests[socks]'"),
    (socket.gaierror, "the host name is not known"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "the encrypted connection failed"),
    (ConnectionRefusedError, "the connection was refused"),
    (NewConnectionError, "no connection came about"),
    (ConnectTimeoutError, "no connection came about in time"),
    (TimeoutError, "no answer came in time"),
    (ConnectionError, "the connection broke before an answer came"),
)
"""In our words, for the libraries' texts are long and one of them quotes headers."""


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


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back: of an error the body as far as it could be read, else the whole of it."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)
    """The body. Half surrogate pairs stand for bytes that are not UTF-8, in which JSON is."""
    redact: Callable[[str], str] = field(repr=False)
    """Removes the API key that was sent from a text, since a server may have echoed it."""


class _Bearer(requests.auth.AuthBase):
    """Given as ``auth``, so that no frame of ours has the header among its variables."""

    def __init__(self, key: ApiKey) -> None:
        self._key = ApiKey(key.read())  # which nothing prints and nothing pickles

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.read()}"
        return request

    def redact(self, text: str) -> str:
        key = self._key.read()
        return text.replace(key, "[API key]") if len(key) >= SHORTEST_SECRET else text


class Transport:
    """Sends calls to one base URL. Threads may share it: each has a session of its own. Times are seconds."""

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
        """Make the call, with its repetitions, within ``seconds``.

        Any whole answer is returned, whatever its status. ``TransportError`` if none came; ``MalformedResponse`` if
        what came was no HTTP, cut off, or too long. An attempt begins with the time that is left for each of its
        reads, and no piece of a body is asked for later; a server that sends its headers in bits is bounded by the
        read timeout alone.
        """
        started = time.monotonic()
        deadline = started + seconds
        latest = min(deadline, started + retries.max_elapsed)
        interval = retries.initial_interval
        for left in reversed(range(retries.attempts)):
            outcome = self._attempt(call, deadline)
            pause = min(interval, retries.max_interval) * random.uniform(0.5, 1)  # noqa: S311 # jitter, not a secret
            if not (left and _worth_repeating(call, outcome, retries) and time.monotonic() + pause < latest):
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
            return TransportError(operation=call.operation, reason=str(error).rstrip("."), sent=False)
        except _FAILURES as error:
            outcome = _failure(call, error, requests.utils.select_proxy(self._base_url, session.proxies))
        except BaseException as error:  # a soft time limit, Ctrl-C, a defect: without the frames that hold the key
            error.__context__ = None
            raise error.with_traceback(None) from None
        answer = outcome.status if isinstance(outcome, Reply) else outcome.code
        logs.log(logs.REQUEST_ANSWERED, call=call.operation, answer=answer, seconds=time.monotonic() - started)
        return outcome

    def _session(self) -> requests.Session:
        """This thread's session, with the environment's proxy and certificates for the base URL."""
        thread = threading.get_ident()
        if thread not in self._sessions:
            session = self._sessions[thread] = requests.Session()
            session.headers.update(_HEADERS)
            found = session.merge_environment_settings(self._base_url, {}, None, None, None)
            session.proxies, session.verify = found["proxies"], found["verify"]
            session.trust_env = False  # else each request would look there anew, and into ~/.netrc
        return self._sessions[thread]

    def _exchange(self, call: Call, session: requests.Session, deadline: float) -> Reply | OrqError:
        bearer = _Bearer(self._api_key)
        url, proxies = self._base_url + call.path, session.proxies
        request = requests.Request(call.method, url, params=call.query, json=call.body, auth=bearer)
        if call.method == "POST":
            session.close()  # a kept connection may be stale, and then nobody knows whether this was sent
        left = deadline - time.monotonic()
        if left <= 0:
            raise ConnectTimeoutError from TimeoutError()
        timeout = (min(self._connect_timeout, left), min(self._read_timeout, left))
        # By the adapter: a session would keep cookies, and read a redirect's body to its end.
        send, prepared = session.get_adapter(url).send, session.prepare_request(request)
        with send(prepared, stream=True, timeout=timeout, verify=session.verify or True, proxies=proxies) as response:
            body = bytearray()
            try:
                _read_body(call, response.raw, deadline, into=body)
            except (*_FAILURES, OrqError):
                if 200 <= response.status_code < 300:
                    raise
        return Reply(
            status=response.status_code,
            headers={bearer.redact(name): bearer.redact(value) for name, value in response.headers.items()},
            text=bearer.redact(body.decode("utf-8-sig", "surrogateescape")),
            redact=bearer.redact,
        )


def _read_body(call: Call, raw: Any, deadline: float, *, into: bytearray) -> None:
    # urllib3 before 2.6 would decompress a piece to whatever size it has.
    gzip = zlib.decompressobj(_GZIP) if raw.headers.get("Content-Encoding", "").lower() == "gzip" else None
    while piece := raw.read1(_PIECE, decode_content=False):  # read would wait for a whole piece, however slow
        into += gzip.decompress(piece, MAX_BODY + 1 - len(into)) if gzip else piece
        if len(into) > MAX_BODY:
            raise MalformedResponse(operation=call.operation, reason="it is longer than 10 MB")
        if time.monotonic() >= deadline:
            raise TimeoutError
    if gzip and raw.tell() and not gzip.eof:
        raise zlib.error


def _worth_repeating(call: Call, outcome: Reply | OrqError, retries: RetryConfig) -> bool:
    idempotent = call.method in ("GET", "DELETE")
    if isinstance(outcome, Reply):
        # Who was told to wait waits, and not here: a server could hold a worker for as long as it likes.
        can_try_now = "retry-after" not in map(str.lower, outcome.headers)
        return idempotent and can_try_now and outcome.status in {500, 502, 503, 504}
    not_sent = isinstance(outcome, TransportError) and not outcome.sent
    return retries.connection_errors and (idempotent or not_sent)


def _failure(call: Call, error: BaseException, proxy: str | None) -> OrqError:
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    by_way_of = f" (proxy {proxy.rpartition('@')[2].rpartition('//')[2].rstrip('/')})" if proxy else ""
    if caused_by(http.client.HTTPException, InvalidHeader, zlib.error) and not caused_by(ConnectionError):
        return MalformedResponse(operation=call.operation, reason=f"it is cut off, damaged or no HTTP{by_way_of}")
    # The standard library says by this text alone that a proxy answered a CONNECT, and with which status.
    refusal = str(causes[-1]).partition("Tunnel connection failed: ")[2][:3]
    reason = next(
        (reason for kind, reason in _REASONS if caused_by(kind)), f"it failed with {type(causes[-1]).__name__}"
    )
    return TransportError(
        operation=call.operation,
        reason=(f"the proxy answered {refusal}" if refusal else reason) + by_way_of,
        sent=not refusal and not caused_by(*_NOT_SENT),
        timed_out=caused_by(TimeoutError),
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it wraps, which requests and urllib3 keep as a ``reason``, an argument or a cause."""
    while error is not None:
        yield error
        inner = (getattr(error, "reason", None), *error.args, error.__cause__)
        error = next((one for one in inner if isinstance(one, BaseException)), None)

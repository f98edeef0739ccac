"""What the wire can do to us: every malformed answer, every pause, over real sockets."""

import gzip
import html
import json
import logging
import pickle
import re
import signal
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import urllib3
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.views.debug import ExceptionReporter

from django_orq import __version__
from django_orq.conf import RetryConfig
from django_orq.exceptions import (
    APIError,
    AuthenticationFailed,
    ConversationNotFound,
    MalformedResponse,
    OrqError,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    TransportError,
)
from django_orq.service import ConversationService
from django_orq.testing import OrqSandbox
from django_orq.transport.bounded import MAX_BODY

QUICK = RetryConfig(initial_interval=0.01, max_interval=0.02)
ONCE = RetryConfig(attempts=1)
ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
LIBRARY = str(Path(urllib3.__file__).parent)
SECRET = "sk-orq-" + "x7" * 12

Talk = Callable[[socket.socket, int], None]


def connect(server: "OrqSandbox | ScriptedServer", **options: object) -> ConversationService:
    defaults = {"api_key": "sandbox-key", "base_url": server.base_url, "retries": QUICK, "total_seconds": 5.0}
    return ConversationService(**(defaults | options))  # type: ignore[arg-type]


@pytest.fixture
def service(orq_sandbox: OrqSandbox) -> Iterator[ConversationService]:
    with connect(orq_sandbox) as service:
        yield service


class ScriptedServer:
    """Calls ``talk(socket, number)`` for each connection, in turn; for what no HTTP server would do."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            with sock:
                sock.settimeout(3)
                if not sock.recv(1, socket.MSG_PEEK):
                    return
                self.connections += 1
                with suppress(OSError):
                    self._talk(sock, self.connections)

    def close(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


@contextmanager
def scripted(talk: Talk) -> Iterator[ScriptedServer]:
    server = ScriptedServer(talk)
    try:
        yield server
    finally:
        server.close()


def read_request(sock: socket.socket) -> bytes:
    """All of it: closing a socket that holds unread bytes resets the connection, and the answer may be lost."""
    request = b""
    while not _is_whole(request):
        more = sock.recv(65_536)
        if not more:
            return request
        request += more
    return request


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return f"{head}\r\n\r\n".encode() + body


def always(content: bytes) -> Talk:
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(content)

    return talk


# Malformed answers


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(answer(b"<html>Log in to the hotel's network"), "not JSON", id="a captive portal's page"),
        pytest.param(answer(b""), "not JSON", id="nothing"),
        pytest.param(answer(b'{"data": [], "has_more": fal'), "not JSON", id="JSON cut off by the server"),
        pytest.param(answer(b'\xff\xfe{"data"'), "not JSON", id="no text"),
        pytest.param(answer(b"[" * 100_000), "not JSON", id="nested without end"),
        pytest.param(answer(b"[]"), "not a JSON object", id="a list"),
        pytest.param(answer(b"null"), "not a JSON object", id="null"),
        pytest.param(answer(b'{"has_more": false}'), "no list “data”", id="without data"),
        pytest.param(answer(b'{"data": {}, "has_more": false}'), "no list “data”", id="data is an object"),
        pytest.param(answer(b'{"data": []}'), "“has_more”", id="without has_more"),
        pytest.param(answer(b'{"data": [], "has_more": 1}'), "“has_more”", id="has_more is a number"),
        pytest.param(
            answer(b"not gzip at all", "Content-Encoding: gzip"), "compression is broken", id="broken compression"
        ),
        pytest.param(
            answer(gzip.compress(b'{"data": [], "has_more": false}')[:20], "Content-Encoding: gzip"),
            "not JSON",
            id="compression cut off",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "cut off", id="Content-Length not met"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "cut off", id="a chunk that breaks off"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", "cut off", id="a chunk of no length"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n", "cut off", id="a negative chunk"
        ),
        pytest.param(answer(b"{}", "Location: /x", status="301 Moved"), "elsewhere", id="a redirect"),
        pytest.param(answer(b"{}", "Location: http://[", status="302 Found"), "elsewhere", id="a redirect to nowhere"),
        pytest.param(answer(b"", status="304 Not Modified"), "elsewhere", id="not modified"),
        pytest.param(answer(b"{}", status="202 Accepted"), "status is 202", id="another 2XX"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "status is 204", id="a 204 to a list"),
        pytest.param(answer(b"{}", status="999 What"), "status is 999", id="a status without a meaning"),
        pytest.param(b"\x16\x03\x01 rubbish\r\n\r\n", "not HTTP", id="rubbish"),
        pytest.param(b"220 mail.example ESMTP\r\n", "not HTTP", id="a mail server"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "not HTTP", id="headers without end"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 70_000, "not HTTP", id="a status line without end"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
            "not HTTP",
            id="two lengths",
        ),
    ],
)
def test_malformed_list_is_named(content: bytes, reason: str) -> None:
    with (
        scripted(always(content)) as server,
        connect(server) as service,
        pytest.raises(MalformedResponse, match=reason) as caught,
    ):
        service.list()
    assert not caught.value.retryable


def test_body_over_10_mb_is_not_read_to_its_end(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("list", oversize=MAX_BODY * 20)
    with pytest.raises(MalformedResponse, match="longer than 10 MB"):
        service.list()


def test_body_of_just_10_mb_is_read(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("list", oversize=MAX_BODY)
    assert service.list().entries == ()


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
def test_decompression_stops_at_10_mb(encoding: str) -> None:
    bomb = gzip.compress(b" " * MAX_BODY * 10)
    if encoding == "gzip, gzip":
        bomb = gzip.compress(bomb)
    content = answer(bomb, f"Content-Encoding: {encoding}")
    with (
        scripted(always(content)) as server,
        connect(server) as service,
        pytest.raises(MalformedResponse, match="longer than 10 MB"),
    ):
        service.list()


@pytest.mark.volume
def test_small_answer_does_not_fill_the_memory() -> None:
    """Some hundred bytes that would be 200 megabytes."""
    content = answer(nested_bomb(), "Content-Encoding: gzip, gzip")
    tracemalloc.start()
    try:
        with scripted(always(content)) as server, connect(server) as service, pytest.raises(MalformedResponse):
            service.list()
        assert tracemalloc.get_traced_memory()[1] < 5 * MAX_BODY
    finally:
        tracemalloc.stop()


def nested_bomb() -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [compressor.compress(b" " * MAX_BODY) for _ in range(20)]
    bomb = gzip.compress(b"".join([*parts, compressor.flush()]))
    assert len(bomb) < 1_000
    return bomb


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, br", "gzip, gzip, gzip, gzip", "nonsense"])
def test_compression_that_was_not_asked_for_is_not_undone(encoding: str) -> None:
    content = answer(b'{"data": [], "has_more": false}', f"Content-Encoding: {encoding}")
    with (
        scripted(always(content)) as server,
        connect(server) as service,
        pytest.raises(MalformedResponse, match="none that was asked for"),
    ):
        service.list()


def test_answer_without_a_body_may_name_any_compression() -> None:
    with (
        scripted(always(b"HTTP/1.1 204 No Content\r\nContent-Encoding: br\r\n\r\n")) as server,
        connect(server) as service,
    ):
        service.delete(conversation_id="conv_01jj1hdhn79xas7a01wb3hysdb")


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "GZip", "x-gzip", "gzip, gzip"])
def test_compressed_answers_are_read(encoding: str) -> None:
    body = b'{"data": [], "has_more": false}'
    for _ in range(encoding.lower().count("gzip")):
        body = gzip.compress(body)
    content = answer(body, f"Content-Encoding: {encoding}")
    with scripted(always(content)) as server, connect(server) as service:
        assert service.list().entries == ()


@pytest.mark.parametrize(
    "stream", [b"-1\r\n" + b"x" * 100_000, b"1;" + b"x" * 60_000 + b"\r\ny\r\n"], ids=["negative", "extensions"]
)
def test_chunked_flood_stops(stream: bytes) -> None:
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sock.sendall(stream)

    with scripted(talk) as server, connect(server) as service, pytest.raises(MalformedResponse, match="10 MB"):
        service.list()


def test_headers_without_end_stop() -> None:
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        while True:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)

    with scripted(talk) as server, connect(server) as service, pytest.raises(MalformedResponse, match="10 MB"):
        service.list()


def test_redirect_is_not_followed_nor_its_body_read_without_end(orq_sandbox: OrqSandbox) -> None:
    endless = f"HTTP/1.1 302 Found\r\nLocation: {orq_sandbox.base_url}/v2/conversations\r\n\r\n".encode()

    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(endless)
        while True:
            sock.sendall(b"x" * 65_536)

    with scripted(talk) as server, connect(server) as service, pytest.raises(MalformedResponse, match="elsewhere"):
        service.list()
    assert orq_sandbox.count() == 0


def test_answer_about_another_conversation_is_malformed(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    other = json.dumps(orq_sandbox.add())
    for operation in ("retrieve", "update"):
        orq_sandbox.fail(operation, status=200, body=other)
    with pytest.raises(MalformedResponse, match="another conversation"):
        service.retrieve(conversation_id=ABSENT)
    with pytest.raises(OutcomeUnknown, match="another conversation"):
        service.update(conversation_id=ABSENT, display_name="Parcel")


@pytest.mark.parametrize("time_text", ["NaN", "Infinity", "1e999", "-1", '"1700000000000"', "null", "true"])
def test_time_that_is_none_is_malformed(orq_sandbox: OrqSandbox, service: ConversationService, time_text: str) -> None:
    remote_id = orq_sandbox.add()["_id"]
    body = f'{{"_id": "{remote_id}", "displayName": "x", "createdAt": {time_text}, "updatedAt": 1}}'
    orq_sandbox.fail("retrieve", status=200, body=body)
    with pytest.raises(MalformedResponse, match=r"number|time"):
        service.retrieve(conversation_id=remote_id)


def test_delete_answered_by_a_captive_portal_is_no_delete(
    orq_sandbox: OrqSandbox, service: ConversationService
) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", status=200, body="<html>Log in")
    with pytest.raises(MalformedResponse, match="status is 200"):
        service.delete(conversation_id=remote_id)
    assert orq_sandbox.get(remote_id)


# Time


@pytest.mark.parametrize("retries", [QUICK, ONCE])
def test_dripping_answer_ends_with_the_total_time(orq_sandbox: OrqSandbox, retries: RetryConfig) -> None:
    orq_sandbox.add()
    orq_sandbox.fail("list", drip=0.05, times=None)
    with connect(orq_sandbox, total_seconds=0.5, retries=retries) as service:
        started = time.monotonic()
        with pytest.raises(TransportError) as caught:
            service.list()
    assert time.monotonic() - started < 1
    assert caught.value.timed_out
    assert caught.value.sent


@pytest.mark.parametrize("framing", ["Content-Length: 9000", "Transfer-Encoding: chunked", "X-Until: closed"])
def test_dripping_body_ends_with_the_total_time(framing: str) -> None:
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        while True:
            sock.sendall(b"1\r\n \r\n" if "chunked" in framing else b" ")
            time.sleep(0.02)

    with scripted(talk) as server, connect(server, total_seconds=0.4) as service:
        started = time.monotonic()
        with pytest.raises(TransportError, match="in time") as caught:
            service.list()
    assert time.monotonic() - started < 0.8
    assert caught.value.timed_out


def test_body_of_an_error_that_drips_keeps_the_status() -> None:
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 9000\r\n\r\nbecause")
        time.sleep(0.5)

    with scripted(talk) as server, connect(server, total_seconds=0.3) as service, pytest.raises(APIError) as caught:
        service.list()
    assert caught.value.status == 403


def test_server_that_does_not_read_ends_with_the_time_that_is_left() -> None:
    """On a connection that is kept, whose earlier exchange had more time. No request is as long as this one's key."""
    keys = iter(["k", "k" * 8_000_000])
    over = threading.Event()

    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(answer(b'{"data": [], "has_more": false}'))
        over.wait(10)

    with scripted(talk) as server:
        started = time.monotonic()
        options: dict[str, object] = {"lifetime_seconds": 2.5, "connect_timeout": 60, "read_timeout": 60}
        with connect(server, api_key=lambda: next(keys), retries=ONCE, **options) as service:
            service.list()
            time.sleep(1.5)
            with pytest.raises(TransportError, match="in time"):
                service.list()
        elapsed = time.monotonic() - started
        over.set()
        assert elapsed < 3.3  # 4 with the time that the first had
        assert server.connections == 1


def test_silence_ends_with_the_read_timeout(orq_sandbox: OrqSandbox) -> None:
    orq_sandbox.latency = 5
    with connect(orq_sandbox, read_timeout=0.1, retries=ONCE) as service:
        started = time.monotonic()
        with pytest.raises(TransportError, match="no answer came in time") as caught:
            service.list()
    assert time.monotonic() - started < 0.5
    assert (caught.value.timed_out, caught.value.sent) == (True, True)


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that takes no connection and refuses none, as behind a firewall that drops packets."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.socket() as first,
        socket.socket() as more,
    ):
        address = listener.getsockname()
        first.connect(address)
        more.settimeout(0)
        more.connect_ex(address)
        yield address[1]


def test_connection_that_does_not_come_about_ends_with_the_connect_timeout() -> None:
    with full_backlog() as port:
        service = ConversationService(
            api_key="k", base_url=f"http://127.0.0.1:{port}", connect_timeout=0.1, retries=ONCE
        )
        started = time.monotonic()
        with service, pytest.raises(TransportError, match="no connection came about in time") as caught:
            service.list()
    assert time.monotonic() - started < 0.5
    assert (caught.value.timed_out, caught.value.sent) == (True, False)


def test_many_dead_addresses_of_a_host_end_with_the_total_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_backlog() as port:
        real = socket.getaddrinfo
        dead = real("127.0.0.1", port, type=socket.SOCK_STREAM) * 20
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *more: dead if "example" in host else real(host, *more)
        )
        service = ConversationService(
            api_key="k", base_url="http://orq.example", connect_timeout=0.2, retries=ONCE, total_seconds=0.5
        )
        started = time.monotonic()
        with service, pytest.raises(TransportError) as caught:
            service.list()
    assert time.monotonic() - started < 0.9
    assert not caught.value.sent


# Repetitions


def test_get_is_repeated_after_a_cut_a_reset_and_a_503(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.add()
    orq_sandbox.fail("list", cut=True)
    orq_sandbox.fail("list", drop="reset")
    orq_sandbox.fail("list", status=503)
    page = service.list(retries=RetryConfig(attempts=4, initial_interval=0.01))
    assert len(page.ids) == 1
    assert orq_sandbox.count("list") == 4


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_delete_is_repeated_after_a_5xx(orq_sandbox: OrqSandbox, service: ConversationService, status: int) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", status=status)
    service.delete(conversation_id=remote_id)
    assert orq_sandbox.count("delete") == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 501, 505, 599])
def test_other_statuses_are_raised_at_once(orq_sandbox: OrqSandbox, service: ConversationService, status: int) -> None:
    orq_sandbox.fail("list", status=status, times=None)
    with pytest.raises(APIError) as caught:
        service.list()
    assert (caught.value.status, orq_sandbox.count("list")) == (status, 1)


def test_no_more_attempts_than_configured(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("list", drop="before", times=None)
    with pytest.raises(TransportError):
        service.list()
    assert orq_sandbox.count("list") == 3


def test_connection_errors_are_not_repeated_where_the_configuration_says_so(
    orq_sandbox: OrqSandbox, service: ConversationService
) -> None:
    orq_sandbox.fail("list", drop="before")
    with pytest.raises(TransportError):
        service.list(retries=RetryConfig(connection_errors=False))
    orq_sandbox.fail("list", cut=True)
    with pytest.raises(MalformedResponse):
        service.list(retries=RetryConfig(connection_errors=False))
    assert orq_sandbox.count("list") == 2


def test_no_attempt_begins_after_max_elapsed(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("list", status=503, times=None)
    with pytest.raises(ServerError):
        service.list(retries=RetryConfig(attempts=100, initial_interval=0.05, max_interval=0.05, max_elapsed=0.12))
    assert 2 <= orq_sandbox.count("list") <= 5


def test_pause_that_would_pass_the_deadline_is_not_made(orq_sandbox: OrqSandbox) -> None:
    orq_sandbox.fail("list", status=503, times=None)
    with connect(orq_sandbox, total_seconds=0.3, retries=RetryConfig(initial_interval=5)) as service:
        started = time.monotonic()
        with pytest.raises(ServerError):
            service.list()
    assert time.monotonic() - started < 0.3


@pytest.mark.parametrize("operation", ["create", "update"])
def test_writes_are_repeated_if_nothing_was_sent(orq_sandbox: OrqSandbox, operation: str) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.stop()
    back = threading.Timer(0.15, orq_sandbox.start)
    back.start()
    patient = RetryConfig(attempts=50, initial_interval=0.05, max_interval=0.05)
    with connect(orq_sandbox, retries=patient) as service:
        if operation == "create":
            service.create(display_name="Parcel")
        else:
            service.update(conversation_id=remote_id, display_name="Parcel")
    back.join()
    assert orq_sandbox.count(operation) == 1


def test_failed_tls_handshake_counts_as_not_sent() -> None:
    def talk(sock: socket.socket, _: int) -> None:
        sock.recv(1)
        sock.sendall(b"HTTP/1.1 400 This port speaks no TLS\r\n\r\n")

    with scripted(talk) as server:
        secure = server.base_url.replace("http:", "https:")
        with connect(server, base_url=secure) as service, pytest.raises(TransportError) as caught:
            service.create(display_name="Parcel")
    assert not caught.value.sent
    assert server.connections == 3


def test_certificate_that_is_not_trusted_gets_no_request() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
    received: list[bytes] = []

    def talk(sock: socket.socket, _: int) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            received.append(secure.recv(65_536))

    with scripted(talk) as server:
        with (
            connect(server, base_url=server.base_url.replace("http:", "https:"), retries=ONCE) as service,
            pytest.raises(TransportError, match="certificate is not trusted") as caught,
        ):
            service.create(display_name="Parcel")
        assert (caught.value.sent, server.connections) == (False, 1)
    assert received == []


def test_proxy_that_refuses_a_tunnel_counts_as_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(always(b"HTTP/1.1 407 Who are you?\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
        service = ConversationService(api_key=SECRET, base_url="https://orq.example", retries=QUICK)
        with service, pytest.raises(TransportError, match="proxy") as caught:
            service.create(display_name="Parcel")
    assert not caught.value.sent
    assert proxy.connections == 3


def test_request_through_a_proxy_counts_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)

    with scripted(talk) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        service = ConversationService(api_key="k", base_url="http://orq.example", retries=QUICK)
        with service, pytest.raises(OutcomeUnknown):
            service.create(display_name="Parcel")
    assert proxy.connections == 1


def test_host_name_that_nobody_knows_is_said() -> None:
    service = ConversationService(api_key="k", base_url="http://no-such-host.invalid", retries=ONCE)
    with service, pytest.raises(TransportError, match="host name") as caught:
        service.list()
    assert not caught.value.sent


def test_failure_that_nobody_foresaw_is_named() -> None:
    service = ConversationService(api_key="k", base_url="http://orq..example", retries=ONCE)
    with service, pytest.raises(TransportError, match=r"it failed with Unicode(Encode)?Error") as caught:
        service.create(display_name="Parcel")
    assert not caught.value.sent


def test_post_does_not_go_out_on_a_kept_connection() -> None:
    def talk(sock: socket.socket, number: int) -> None:
        read_request(sock)
        if number == 1:
            sock.sendall(answer(b'{"data": [], "has_more": false}'))
            read_request(sock)  # a second request here would get no answer
        else:
            created = {"_id": ABSENT, "displayName": "Parcel", "createdAt": 1, "updatedAt": 1}
            sock.sendall(answer(json.dumps(created).encode(), status="201 Created"))

    with scripted(talk) as server, connect(server) as service:
        service.list()
        assert service.create(display_name="Parcel").remote_id == ABSENT
    assert server.connections == 2


def test_reads_share_one_connection(orq_sandbox: OrqSandbox) -> None:
    def talk(sock: socket.socket, _: int) -> None:
        for _ in range(3):
            read_request(sock)
            sock.sendall(answer(b'{"data": [], "has_more": false}'))

    with scripted(talk) as server, connect(server) as service:
        for _ in range(3):
            service.list()
    assert server.connections == 1


# Retry-After


def http_date(**ahead: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(**ahead), usegmt=True)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_answer_with_retry_after_is_raised_at_once(
    orq_sandbox: OrqSandbox, service: ConversationService, status: int
) -> None:
    orq_sandbox.fail("list", status=status, headers={"Retry-After": "7"})
    with pytest.raises(APIError) as caught:
        service.list()
    assert caught.value.retry_after == 7
    assert orq_sandbox.count("list") == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    orq_sandbox: OrqSandbox, service: ConversationService, text: str, seconds: float | None
) -> None:
    orq_sandbox.fail("list", status=429, headers={"Retry-After": text})
    with pytest.raises(RateLimited) as caught:
        service.list()
    assert caught.value.retry_after == seconds
    assert orq_sandbox.count("list") == 1


def test_retry_after_date_is_counted_from_the_answers_own_date() -> None:
    headers = ("Date: Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After: Wed, 21 Oct 2015 07:28:30 GMT")
    with (
        scripted(always(answer(b"", *headers, status="503 Later"))) as server,
        connect(server) as service,
        pytest.raises(ServerError) as caught,
    ):
        service.list()
    assert caught.value.retry_after == 30


def test_retry_after_date_is_counted_from_now_without_one() -> None:
    content = answer(b"", f"Retry-After: {http_date(seconds=60)}", status="503 Later")
    with scripted(always(content)) as server, connect(server) as service, pytest.raises(ServerError) as caught:
        service.list()
    assert caught.value.retry_after == pytest.approx(60, abs=3)


# Unknown outcomes


@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"drop": "before"},
        {"drop": "reset"},
        {"cut": True},
        {"status": 502, "applied": True},
        {"status": 504},
        {"raw": b"rubbish\r\n"},
        {"status": 201, "body": "<html>"},
        {"status": 202, "body": "{}"},
        {"oversize": MAX_BODY * 2},
    ],
    ids=str,
)
def test_create_without_a_usable_answer_is_unknown_and_not_sent_again(
    orq_sandbox: OrqSandbox, service: ConversationService, fault: dict[str, object]
) -> None:
    orq_sandbox.fail("create", **fault)
    with pytest.raises(OutcomeUnknown):
        service.create(display_name="Parcel")
    assert orq_sandbox.count("create") == 1


def test_create_without_an_answer_in_time_is_unknown(orq_sandbox: OrqSandbox) -> None:
    orq_sandbox.fail("create", delay=2)
    with connect(orq_sandbox, total_seconds=0.3) as service, pytest.raises(OutcomeUnknown, match="in time"):
        service.create(display_name="Parcel")
    assert orq_sandbox.count("create") == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_create_answered_by_the_server_is_no_unknown_outcome(
    orq_sandbox: OrqSandbox, service: ConversationService, status: int
) -> None:
    orq_sandbox.fail("create", status=status)
    with pytest.raises(APIError):
        service.create(display_name="Parcel")
    assert orq_sandbox.count("create") == 1


def test_create_that_is_sent_elsewhere_did_not_happen(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("create", status=307, headers={"Location": "/elsewhere"})
    with pytest.raises(MalformedResponse):
        service.create(display_name="Parcel")


def test_create_unknown_with_retry_after_says_so(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("create", status=502, headers={"Retry-After": "9"})
    with pytest.raises(OutcomeUnknown) as caught:
        service.create(display_name="Parcel")
    assert caught.value.retry_after == 9


@pytest.mark.parametrize(
    "fault",
    [{"drop": "after"}, {"cut": True}, {"status": 504, "applied": True}, {"raw": b"?\r\n", "applied": True}],
    ids=str,
)
def test_update_that_took_effect_is_settled_by_a_look(
    orq_sandbox: OrqSandbox, service: ConversationService, fault: dict[str, object]
) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", **fault)
    updated = service.update(conversation_id=remote_id, display_name=" Parcel ")
    assert updated.display_name == "Parcel"
    assert (orq_sandbox.count("update"), orq_sandbox.count("retrieve")) == (1, 1)


def test_update_that_took_no_effect_is_unknown(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", drop="before")
    with pytest.raises(OutcomeUnknown):
        service.update(conversation_id=remote_id, display_name="Parcel")
    assert (orq_sandbox.count("update"), orq_sandbox.count("retrieve")) == (1, 1)


def test_update_is_unknown_if_the_look_fails_too(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", drop="after")
    orq_sandbox.fail("retrieve", status=429, headers={"Retry-After": "4"})
    with pytest.raises(OutcomeUnknown) as caught:
        service.update(conversation_id=remote_id, display_name="Parcel")
    assert caught.value.retry_after == 4


def test_update_does_not_look_while_orq_asks_us_to_wait(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", status=502, applied=True, headers={"Retry-After": "4"})
    with pytest.raises(OutcomeUnknown) as caught:
        service.update(conversation_id=remote_id, display_name="Parcel")
    assert caught.value.retry_after == 4
    assert orq_sandbox.count("retrieve") == 0


def test_update_that_takes_too_long_leaves_time_for_the_look(orq_sandbox: OrqSandbox) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", delay=3)
    with connect(orq_sandbox, total_seconds=0.9) as service:
        started = time.monotonic()
        assert service.update(conversation_id=remote_id, display_name="Parcel").display_name == "Parcel"
    assert time.monotonic() - started < 0.85


def test_delete_without_an_answer_raises_what_happened(orq_sandbox: OrqSandbox) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", drop="after")
    with connect(orq_sandbox, retries=ONCE) as service, pytest.raises(TransportError) as caught:
        service.delete(conversation_id=remote_id)
    assert caught.value.sent


def test_delete_that_took_effect_before_its_repetition_is_not_found(
    orq_sandbox: OrqSandbox, service: ConversationService
) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", drop="after")
    with pytest.raises(ConversationNotFound):
        service.delete(conversation_id=remote_id)
    assert orq_sandbox.get(remote_id) is None


# What is sent


def test_requests_name_us_and_carry_the_key(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    service.list()
    headers = orq_sandbox.requests[0].headers
    assert headers["user-agent"] == f"django-orq/{__version__}"
    assert headers["authorization"] == "Bearer sandbox-key"
    assert headers["accept"] == "application/json"


def test_netrc_does_not_replace_the_key(
    orq_sandbox: OrqSandbox, service: ConversationService, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    service.list()
    assert orq_sandbox.requests[0].headers["authorization"] == "Bearer sandbox-key"


def test_callable_key_is_read_for_each_attempt(orq_sandbox: OrqSandbox) -> None:
    keys = iter(["old", " sandbox-key\n"])
    orq_sandbox.fail("list", status=503)
    with connect(orq_sandbox, api_key=lambda: next(keys)) as service:
        service.list()
    assert [request.headers["authorization"] for request in orq_sandbox.requests] == [
        "Bearer old",
        "Bearer sandbox-key",
    ]


def test_cookies_are_not_kept() -> None:
    requests: list[bytes] = []

    def talk(sock: socket.socket, _: int) -> None:
        for _ in range(2):
            requests.append(read_request(sock))
            sock.sendall(answer(b'{"data": [], "has_more": false}', "Set-Cookie: a=b; Path=/"))

    with scripted(talk) as server, connect(server) as service:
        service.list()
        service.list()
    assert b"cookie" not in requests[1].lower()


@pytest.mark.parametrize("key", ["", "  ", "two\nlines", "Schlüssel", None])
def test_key_that_no_header_can_carry_is_refused_unsaid(orq_sandbox: OrqSandbox, key: object) -> None:
    with connect(orq_sandbox, api_key=key) as service, pytest.raises(ImproperlyConfigured, match="API_KEY"):
        service.list()
    assert orq_sandbox.count() == 0


# The key appears nowhere


def echo(sock: socket.socket, _: int) -> None:
    """Says the Authorization header back in all places of the answer."""
    line = next(line for line in read_request(sock).decode().splitlines() if line.startswith("Authorization"))
    body = json.dumps({"message": f"I got {line}", "raw": line})
    head = f"HTTP/1.1 418 {line}\r\nX-Echo: {line}\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall((head + body).encode())


def utf16_echo(sock: socket.socket, _: int) -> None:
    read_request(sock)
    body = json.dumps({"message": SECRET}).encode("utf-16-le")
    sock.sendall(answer(body, status="500 Oops"))


def silence(sock: socket.socket, _: int) -> None:
    read_request(sock)


def stall(sock: socket.socket, _: int) -> None:
    read_request(sock)
    time.sleep(0.3)


def renderings(error: BaseException) -> Iterator[str]:
    """All that Django's debug page, a log, Celery or a person may show of an exception."""
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
    yield reporter.get_traceback_html()
    yield reporter.get_traceback_text()
    yield "".join(traceback.format_exception(error))
    yield repr(error)
    yield repr(vars(error))
    yield pickle.dumps((error, traceback.format_exc())).decode("latin-1")
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield repr(frame.f_locals)
    if error.__context__:
        yield from renderings(error.__context__)


def call_all(service: ConversationService) -> Iterator[BaseException]:
    for call in (
        service.list,
        lambda: service.create(display_name="Parcel"),
        lambda: service.retrieve(conversation_id=ABSENT),
        lambda: service.update(conversation_id=ABSENT, display_name="Parcel"),
        lambda: service.delete(conversation_id=ABSENT),
    ):
        try:
            call()
        except OrqError as error:
            yield error


@pytest.mark.parametrize("talk", [echo, utf16_echo, silence, stall, always(b"rubbish\r\n"), always(answer(b"<p>"))])
def test_key_appears_nowhere(
    talk: Talk, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(HTTPConnection, "debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    errors = []
    with scripted(talk) as server, connect(server, api_key=SECRET, retries=ONCE, total_seconds=0.2) as service:
        for error in call_all(service):
            errors.append(error)
            for rendering in renderings(error):
                assert SECRET not in rendering
                assert LIBRARY not in rendering
    assert len(errors) == 5
    assert SECRET not in caplog.text + repr([vars(record) for record in caplog.records]) + repr(service)
    assert SECRET not in "".join(capsys.readouterr())
    assert any(record.name == "django_orq" for record in caplog.records)


def in_codes(text: str) -> str:
    """As JSON may spell any character, after a backslash that is one itself."""
    return "\\\\" + "".join(f"\\u{ord(character):04X}" for character in text)


@pytest.mark.parametrize(
    "spell",
    [lambda key: key.replace("/", "\\/"), html.escape, quote_plus, quote, lambda key: quote(key, safe=""), in_codes],
    ids=["JSON", "HTML", "form", "path", "segment", "codes"],
)
def test_key_is_not_shown_in_the_spelling_of_another_language(spell: Callable[[str], str]) -> None:
    key = "sk/orq+x7'<&>=" * 2
    body = f'{{"message": "I got {spell(key)}"}}'.encode()
    with (
        scripted(always(answer(body, "Connection: close", status="500 Oops"))) as server,
        connect(server, api_key=key, retries=ONCE) as service,
    ):
        errors = list(call_all(service))
    assert len(errors) == 5
    for error in errors:
        shown = " ".join(map(str, [error, *vars(error).values()]))
        assert "[API key]" in shown
        assert key not in shown
        assert spell(key) not in shown


def test_refused_connection_shows_no_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with ConversationService(api_key=SECRET, base_url=f"http://127.0.0.1:{port}", retries=ONCE) as service:
        errors = list(call_all(service))
    assert len(errors) == 5
    for error in errors:
        assert SECRET not in "".join(renderings(error))


def test_debug_page_with_the_settings_shows_no_key(orq_sandbox: OrqSandbox) -> None:
    workspaces = {"default": orq_sandbox.settings()["default"] | {"API_KEY": SECRET}}
    with (
        override_settings(ORQ_WORKSPACES=workspaces, ORQ_API_KEY=SECRET),
        ConversationService.for_workspace() as service,
    ):
        errors = list(call_all(service))
        assert {type(error) for error in errors} == {AuthenticationFailed}
        for error in errors:
            assert_hidden(renderings(error))


def assert_hidden(texts: Iterator[str]) -> None:
    assert SECRET not in "".join(texts)


def test_wrong_key_is_not_shown_by_the_error_about_it() -> None:
    service = ConversationService(api_key=SECRET + "\n" + SECRET)
    with service, pytest.raises(ImproperlyConfigured, match="API_KEY") as caught:
        service.list()
    assert SECRET not in "".join(renderings(caught.value))


def test_wrong_argument_beside_the_key_shows_no_key() -> None:
    with pytest.raises(ValueError, match="base_url") as caught:
        ConversationService(api_key=SECRET, base_url="ftp://orq.example")
    assert SECRET not in "".join(renderings(caught.value))


class TimeLimit(Exception):
    """Stands for what interrupts a worker, such as Celery's soft time limit."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_interruption_leaves_without_the_frames_that_hold_the_key(orq_sandbox: OrqSandbox) -> None:
    def interrupt(*_: object) -> None:
        raise TimeLimit

    orq_sandbox.latency = 2
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with connect(orq_sandbox, api_key=SECRET) as service, pytest.raises(TimeLimit) as caught:
            service.list()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for rendering in renderings(caught.value):
        assert SECRET not in rendering
        assert LIBRARY not in rendering


def test_error_says_what_the_server_said_in_bounds(orq_sandbox: OrqSandbox, service: ConversationService) -> None:
    orq_sandbox.fail("list", status=401, body=json.dumps({"message": "No\0 " + "x" * 900, "y": "z" * 900}))
    with pytest.raises(AuthenticationFailed) as caught:
        service.list()
    assert caught.value.server_message is not None
    assert caught.value.server_message.startswith("No x")
    assert len(caught.value.server_message) == 200
    assert len(caught.value.body) == 500


@pytest.mark.parametrize("body", ["<html>", "[]", '{"message": 5}', '{"message"', '"message"'])
def test_no_server_message_without_a_text_of_that_name(
    orq_sandbox: OrqSandbox, service: ConversationService, body: str
) -> None:
    orq_sandbox.fail("list", status=400, body=body)
    with pytest.raises(APIError) as caught:
        service.list()
    assert (caught.value.server_message, caught.value.body) == (None, body)


@pytest.mark.parametrize("fault", [{"oversize": MAX_BODY * 2}, {"cut": True}], ids=str)
def test_error_with_a_spoiled_body_keeps_its_status(
    orq_sandbox: OrqSandbox, service: ConversationService, fault: dict[str, object]
) -> None:
    orq_sandbox.fail("list", status=403, body="because of this", **fault)
    with pytest.raises(APIError) as caught:
        service.list()
    assert caught.value.status == 403


@pytest.mark.parametrize("name", ["Retry-After", "Date"])
@pytest.mark.parametrize(
    "moment", ["Mon, 01 Jan 99999999999999 00:00:00 GMT", "Mon, 01 Jan 2026 00:00:00 +99999999999999"]
)
def test_time_that_no_calendar_has_is_no_time(orq_sandbox: OrqSandbox, name: str, moment: str) -> None:
    headers = {"Retry-After": "Mon, 01 Jan 2026 00:00:00 GMT"} | {name: moment}
    orq_sandbox.fail("list", status=503, headers=headers)

    with connect(orq_sandbox) as service, pytest.raises(ServerError) as caught:
        service.list()
    assert caught.value.retry_after is None or caught.value.retry_after >= 0


@pytest.mark.parametrize("body", ["<html>nginx</html>", "", "{}", '{"message": 5}'])
def test_404_that_is_not_orqs_own_says_nothing_of_the_conversation(orq_sandbox: OrqSandbox, body: str) -> None:
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", status=404, body=body)

    with connect(orq_sandbox) as service, pytest.raises(APIError, match="BASE_URL") as caught:
        service.delete(conversation_id=remote_id)
    assert not isinstance(caught.value, ConversationNotFound)


def test_broken_header_that_echoes_the_key_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nAuthorization Bearer {SECRET}\r\n\r\n".encode()
            + b'{"data": [], "has_more": false}'
        )

    with scripted(talk) as server, connect(server) as service, suppress(OrqError):
        service.list()
    assert SECRET not in caplog.text

"""What can go wrong in HTTP, over real sockets: malformed responses, silence, proxies, TLS, echoes."""

import gzip
import importlib.util
import json
import logging
import os
import pickle
import re
import signal
import socket
import ssl
import struct
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import urllib3
from django.core.exceptions import ImproperlyConfigured
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
from django_orq.transport.http import MAX_BODY

from ..threads import in_thread

QUICK = RetryConfig(initial_interval=0.01, max_interval=0.02)
ONCE = RetryConfig(attempts=1)
ABSENT = "conv_01jj1hdhn79xas7a01wb3hysdb"
LIBRARY = str(Path(urllib3.__file__).parent)
SECRET = "sk-orq-" + "x7" * 12
CERTIFICATE = str(Path(__file__).with_name("untrusted.pem"))
EMPTY = b'{"data": [], "has_more": false}'

Talk = Callable[[socket.socket, int], None]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def connect(server: "OrqSandbox | ScriptedServer", **options: object) -> ConversationService:
    defaults = {"api_key": "sandbox-key", "base_url": server.base_url, "retries": QUICK, "total_seconds": 30.0}
    return ConversationService(**(defaults | options))  # type: ignore[arg-type]


@pytest.fixture
def service(orq_sandbox: OrqSandbox) -> Iterator[ConversationService]:
    with connect(orq_sandbox) as service:
        yield service


class ScriptedServer:
    """Calls ``talk(socket, number)`` for each connection, to do what no HTTP server would."""

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


@contextmanager
def answering(talk: Talk | bytes, **options: object) -> Iterator[ConversationService]:
    """A service whose server talks like this, or always sends this."""
    with scripted(always(talk) if isinstance(talk, bytes) else talk) as server, connect(server, **options) as service:
        yield service


def read_request(sock: socket.socket) -> bytes:
    """Read all of it: closing a socket with unread bytes resets the connection, and the response may be lost."""
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


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# Malformed answers


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(answer(b"<html>Log in to the hotel's network"), "not JSON", id="a captive portal's page"),
        pytest.param(answer(b""), "not JSON", id="nothing"),
        pytest.param(answer(b'\xff\xfe{"data"'), "not JSON", id="no text"),
        pytest.param(answer(b"[" * 100_000), "not JSON", id="nested without end"),
        pytest.param(answer(b"[]"), "not a JSON object", id="a list"),
        pytest.param(answer(b'{"data": {}, "has_more": false}'), "no list named “data”", id="data is an object"),
        pytest.param(answer(b'{"data": [], "has_more": 1}'), "“has_more”", id="has_more is a number"),
        pytest.param(answer(b"no gzip", "Content-Encoding: gzip"), "damaged", id="broken compression"),
        pytest.param(answer(gzip.compress(EMPTY)[:20], "Content-Encoding: gzip"), "incomplete", id="gzip cut off"),
        pytest.param(
            answer(gzip.compress(gzip.compress(EMPTY)), "Content-Encoding: gzip, gzip"), "not JSON", id="twice"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "incomplete", id="Content-Length not met"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "incomplete", id="a chunk cut off"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", "incomplete", id="a chunk of zz"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}", "incomplete", id="a negative chunk"
        ),
        pytest.param(answer(b"{}", "Location: http://[", status="302 Found"), "redirect", id="a redirect to nowhere"),
        pytest.param(answer(b"", status="304 Not Modified"), "redirect", id="not modified"),
        pytest.param(answer(b"{}", status="202 Accepted"), "unexpected status 202", id="another 2XX"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", "unexpected status 204", id="a 204 to a list"),
        pytest.param(answer(b"{}", status="999 What"), "unexpected status 999", id="a status without a meaning"),
        pytest.param(b"\x16\x03\x01 rubbish\r\n\r\n", "not HTTP", id="rubbish"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "not HTTP", id="headers without end"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 70_000, "not HTTP", id="a status line without end"),
        pytest.param(answer(b"hello", "Content-Length: 7"), "not HTTP", id="two lengths"),
    ],
)
def test_malformed_list_is_named(content, reason):
    with answering(content) as service, pytest.raises(MalformedResponse, match=reason) as caught:
        service.list()
    assert not caught.value.retryable


def test_body_over_10_mb_is_not_read_to_its_end(orq_sandbox, service):
    orq_sandbox.fail("list", oversize=MAX_BODY * 20)
    with pytest.raises(MalformedResponse, match="longer than 10 MB"):
        service.list()
    orq_sandbox.fail("list", oversize=MAX_BODY)
    assert service.list().items == ()
    assert orq_sandbox.count("list") == 2


def test_decompression_stops_at_10_mb():
    bomb = answer(gzip.compress(b" " * MAX_BODY * 20), "Content-Encoding: gzip")
    tracemalloc.start()
    try:
        with answering(bomb) as service, pytest.raises(MalformedResponse, match="longer than 10 MB"):
            service.list()
        assert tracemalloc.get_traced_memory()[1] < 5 * MAX_BODY
    finally:
        tracemalloc.stop()


def test_long_body_and_its_text_are_not_in_memory_together():
    body = b'{"data": [], "has_more": false, "text": "' + b"x" * (MAX_BODY - 100) + '", "sign": "€"}'.encode()
    tracemalloc.start()
    try:
        with answering(answer(body)) as service:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            service.list()
        assert tracemalloc.get_traced_memory()[1] - before < 3.5 * MAX_BODY  # the text has two bytes per character
    finally:
        tracemalloc.stop()


def test_characters_whose_octets_arrive_one_by_one_are_read(orq_sandbox, service):
    name = orq_sandbox.add("Größe – 🧾")["displayName"]
    orq_sandbox.fail("list", times=1, drip=0.0001)
    (found,) = service.list().conversations
    assert found.display_name == name


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "GZip"])
def test_compressed_answers_are_read(encoding):
    body = gzip.compress(EMPTY) if encoding.lower() == "gzip" else EMPTY
    with answering(answer(body, f"Content-Encoding: {encoding}")) as service:
        assert service.list().items == ()


def test_answer_without_a_body_may_name_a_compression():
    with answering(b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n") as service:
        service.delete(conversation_id=ABSENT)


def test_redirect_is_not_followed_nor_its_body_read_without_end(orq_sandbox):
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(f"HTTP/1.1 302 Found\r\nLocation: {orq_sandbox.base_url}/v2/conversations\r\n\r\n".encode())
        while True:
            sock.sendall(b"x" * 65_536)

    with answering(talk) as service, pytest.raises(MalformedResponse, match="redirect"):
        service.list()
    assert orq_sandbox.count() == 0


def test_answer_about_another_conversation_is_malformed(orq_sandbox, service):
    other = json.dumps(orq_sandbox.add())
    for operation in ("retrieve", "update"):
        orq_sandbox.fail(operation, status=200, body=other)
    with pytest.raises(MalformedResponse, match="different conversation"):
        service.retrieve(conversation_id=ABSENT)
    with pytest.raises(OutcomeUnknown, match="different conversation"):
        service.update(conversation_id=ABSENT, display_name="Parcel")


@pytest.mark.parametrize(
    ("place", "value"),
    [(b'"HERE"', b"9" * 5_000), (b"HERE", b"Caf\xe9")],
    ids=["a number of 5,000 digits", "no UTF-8"],
)
def test_value_that_can_not_be_read_spoils_its_item_and_not_the_page(orq_sandbox, service, place, value):
    good, bad = orq_sandbox.add(), orq_sandbox.add() | {"odd": "HERE"}
    body = json.dumps({"data": [good, bad], "has_more": False}).encode().replace(place, value)
    orq_sandbox.fail("list", status=200, body=body)
    page = service.list()
    assert [one.remote_id for one in page.conversations] == [good["_id"]]
    assert [one.remote_id for one in page.rejected] == [bad["_id"]]


def test_delete_answered_by_a_captive_portal_is_no_delete(orq_sandbox, service):
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", status=200, body="<html>Log in")
    with pytest.raises(MalformedResponse, match="unexpected status 200"):
        service.delete(conversation_id=remote_id)
    assert orq_sandbox.get(remote_id)


# Time


@pytest.mark.parametrize("framing", ["Content-Length: 9000", "Transfer-Encoding: chunked", "X-Until: closed"])
@pytest.mark.parametrize("retries", [QUICK, ONCE], ids=["repeated", "once"])
def test_dripping_body_ends_with_the_total_time(framing, retries):
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        while True:
            sock.sendall(b"1\r\n \r\n" if "chunked" in framing else b" ")
            time.sleep(0.02)

    started = time.monotonic()
    with answering(talk, total_seconds=0.4, retries=retries) as service:
        with pytest.raises(TransportError, match="timed out") as caught:
            service.list()
        assert time.monotonic() - started < 0.8
    assert (caught.value.timed_out, caught.value.sent) == (True, True)


def test_body_of_an_error_that_drips_keeps_the_status():
    def talk(sock: socket.socket, _: int) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 9000\r\n\r\nbecause")
        time.sleep(0.5)

    with answering(talk, total_seconds=0.3) as service, pytest.raises(APIError) as caught:
        service.list()
    assert (caught.value.status, caught.value.body) == (403, "because")


@pytest.mark.parametrize("limit", ["read_timeout", "total_seconds"])
def test_silence_ends_with_the_read_timeout_or_the_total_time(orq_sandbox, limit):
    orq_sandbox.latency = 5
    with connect(orq_sandbox, retries=ONCE, **{limit: 0.1}) as service:
        started = time.monotonic()
        with pytest.raises(TransportError, match="the request timed out") as caught:
            service.list()
    assert time.monotonic() - started < 0.5
    assert (caught.value.timed_out, caught.value.sent) == (True, True)


def test_without_time_left_nothing_is_sent(orq_sandbox):
    with connect(orq_sandbox, lifetime_seconds=0) as service, pytest.raises(TransportError) as caught:
        service.create(display_name="Parcel")
    assert (caught.value.timed_out, caught.value.sent, orq_sandbox.count()) == (True, False, 0)


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that neither accepts nor refuses connections, like a firewall that drops packets."""
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


def test_connection_that_does_not_come_about_ends_with_the_connect_timeout():
    with full_backlog() as port:
        service = ConversationService(
            api_key="k", base_url=f"http://127.0.0.1:{port}", connect_timeout=0.1, retries=ONCE
        )
        started = time.monotonic()
        with service, pytest.raises(TransportError, match="the connection timed out") as caught:
            service.list()
    assert time.monotonic() - started < 0.5
    assert (caught.value.timed_out, caught.value.sent) == (True, False)


# Repetitions


def test_get_is_repeated_after_a_cut_a_reset_and_a_503(orq_sandbox, service):
    orq_sandbox.add()
    orq_sandbox.fail("list", cut=True)
    orq_sandbox.fail("list", drop="reset")
    orq_sandbox.fail("list", status=503)
    page = service.list(retries=RetryConfig(attempts=4, initial_interval=0.01))
    assert len(page.ids) == 1
    assert orq_sandbox.count("list") == 4


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        *((status, 3) for status in (500, 502, 503, 504)),
        *((status, 1) for status in (400, 401, 404, 422, 429, 501, 599)),
    ],
)
def test_reads_and_deletes_are_repeated_after_some_statuses(orq_sandbox, service, status, attempts):
    orq_sandbox.fail(status=status, times=None)
    for call in (service.list, lambda: service.delete(conversation_id=ABSENT)):
        with pytest.raises(APIError) as caught:
            call()
        assert caught.value.status == status
    assert (orq_sandbox.count("list"), orq_sandbox.count("delete")) == (attempts, attempts)


@pytest.mark.parametrize(("repeated", "attempts"), [(True, 3), (False, 1)])
@pytest.mark.parametrize("fault", [{"drop": "before"}, {"cut": True}], ids=str)
def test_connection_errors_are_repeated_as_configured(orq_sandbox, service, fault, repeated, attempts):
    orq_sandbox.fail("list", times=None, **fault)
    with pytest.raises((TransportError, MalformedResponse)):
        service.list(retries=RetryConfig(initial_interval=0.01, connection_errors=repeated))
    assert orq_sandbox.count("list") == attempts


@pytest.mark.parametrize(("interval", "attempts"), [(0.05, {2, 3, 4, 5}), (5, {1})])
def test_no_attempt_begins_after_max_elapsed(orq_sandbox, service, interval, attempts):
    orq_sandbox.fail("list", status=503, times=None)
    started = time.monotonic()
    with pytest.raises(ServerError):
        service.list(
            retries=RetryConfig(attempts=100, initial_interval=interval, max_interval=interval, max_elapsed=0.12)
        )
    assert orq_sandbox.count("list") in attempts
    assert time.monotonic() - started < 0.3


@pytest.mark.parametrize("operation", ["create", "update"])
def test_writes_are_repeated_if_nothing_was_sent(orq_sandbox, operation):
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


def test_post_does_not_go_out_on_a_kept_connection():
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


def test_reads_of_a_thread_share_one_connection_which_no_other_thread_uses():
    def talk(sock: socket.socket, number: int) -> None:
        for _ in range(3 if number == 1 else 1):
            read_request(sock)
            sock.sendall(answer(EMPTY))

    with scripted(talk) as server, connect(server) as service:
        for _ in range(2):
            service.list()
        assert server.connections == 1
        service.list()
        in_thread(service.list).join()
        assert server.connections == 2


# Sent or not


def secure_talk(talk: Talk, *, connect_first: bool = False) -> Talk:
    """The same over TLS, after a proxy's CONNECT if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    def talk_securely(sock: socket.socket, number: int) -> None:
        if connect_first:
            read_request(sock)
            sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with context.wrap_socket(sock, server_side=True) as secure:
            talk(secure, number)

    return talk_securely


def break_tls(sock: socket.socket, _: int) -> None:
    """Read the whole request, then send something that is not TLS."""
    assert b"Parcel" in read_request(sock)
    with socket.socket(fileno=os.dup(sock.fileno())) as below:
        below.sendall(b"this is no record of TLS")


def reset(sock: socket.socket, _: int) -> None:
    """Read the whole request, then reset the connection."""
    assert b"Parcel" in read_request(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("talk", "scheme", "by_proxy"),
    [
        pytest.param(secure_talk(break_tls), "https", False, id="TLS that breaks"),
        pytest.param(secure_talk(reset), "https", False, id="reset"),
        pytest.param(reset, "http", True, id="a proxy's reset"),
        pytest.param(secure_talk(reset, connect_first=True), "https", True, id="a tunnel's reset"),
        pytest.param(secure_talk(break_tls, connect_first=True), "https", True, id="TLS that breaks in a tunnel"),
    ],
)
def test_request_that_was_read_whole_is_of_unknown_outcome_and_not_sent_again(talk, scheme, by_proxy, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", CERTIFICATE)
    with scripted(talk) as server:
        base_url = server.base_url.replace("http:", f"{scheme}:")
        if by_proxy:
            monkeypatch.setenv(f"{scheme}_proxy", server.base_url)
            base_url = f"{scheme}://localhost"
        with connect(server, base_url=base_url) as service, pytest.raises(OutcomeUnknown) as caught:
            service.create(display_name="Parcel")
        assert server.connections == 1
        assert (server.base_url.removeprefix("http://") in str(caught.value)) == by_proxy


def not_sent(service: ConversationService, match: str) -> None:
    with service, pytest.raises(TransportError, match=match) as caught:
        service.create(display_name="Parcel")
    assert not caught.value.sent


def test_address_that_is_none_gets_no_request():
    not_sent(
        ConversationService(api_key="k", base_url=f"http://{'a' * 64}.example", retries=ONCE), "LocationParseError"
    )


def test_certificate_that_is_not_trusted_gets_no_request():
    received: list[bytes] = []
    with scripted(secure_talk(lambda sock, _: received.append(sock.recv(65_536)))) as server:
        not_sent(
            connect(server, base_url=server.base_url.replace("http:", "https:")), "the certificate is not trusted"
        )
        assert server.connections == 3
    assert received == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("by_proxy", [False, True])
@pytest.mark.parametrize("is_known", [False, True])
def test_host_or_proxy_that_is_not_there_gets_no_request(scheme, by_proxy, is_known, monkeypatch):
    host = f"127.0.0.1:{unused_port()}" if is_known else "nobody.invalid:3128"
    if by_proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://someone:password@{host}/")
    base_url = f"{scheme}://orq.example" if by_proxy else f"{scheme}://{host}"
    reason = "the connection was refused" if is_known else "the host name could not be resolved"
    match = rf"{reason} \(proxy {host}\)" if by_proxy else rf"{reason}\."
    not_sent(ConversationService(api_key="k", base_url=base_url, retries=ONCE), match)


def test_proxy_that_refuses_a_tunnel_is_named(monkeypatch):
    with scripted(always(b"HTTP/1.1 407 Who are you?\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.base_url)
        match = rf"proxy returned status 407 \(proxy {proxy.base_url.removeprefix('http://')}\)"
        not_sent(connect(proxy, api_key=SECRET, base_url="https://orq.example"), match)
        assert proxy.connections == 3


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is installed")
def test_socks_proxy_without_its_library_names_what_is_missing(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://proxy.example:1080")
    not_sent(ConversationService(api_key="k", retries=ONCE), r"PySocks.*proxy\.example:1080")


def test_no_proxy_is_honoured(orq_sandbox, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with connect(orq_sandbox) as service:
        assert service.list().items == ()


# Retry-After


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_answer_with_retry_after_is_raised_at_once(orq_sandbox, service, status):
    orq_sandbox.fail("list", status=status, headers={"Retry-After": "7"})
    with pytest.raises(APIError) as caught:
        service.list()
    assert caught.value.retry_after == 7
    assert orq_sandbox.count("list") == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1e300", 366 * 86_400),  # no more than a length of time can hold
        ("0", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(orq_sandbox, service, text, seconds):
    orq_sandbox.fail("list", status=429, headers={"Retry-After": text})
    with pytest.raises(RateLimited) as caught:
        service.list()
    assert caught.value.retry_after == seconds
    assert orq_sandbox.count("list") == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Date: Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After: Wed, 21 Oct 2015 07:28:30 GMT"], 30),
        (["Retry-After: {in a minute}"], 60),
        (["Date: Mon, 01 Jan 2026 00:00:00 +99999999999999", "Retry-After: {in a minute}"], 60),
    ],
    ids=["the answer's own date", "none", "none that a calendar has"],
)
def test_retry_after_date_is_counted_from_the_answers_own_date_or_from_now(headers, seconds):
    headers = [header.replace("{in a minute}", in_a_minute()) for header in headers]
    with answering(answer(b"", *headers, status="503 Later")) as service, pytest.raises(ServerError) as caught:
        service.list()
    assert caught.value.retry_after == pytest.approx(seconds, abs=3)


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
        {"status": 502, "headers": {"Retry-After": "9"}},
        {"delay": 3},
        {"raw": b"rubbish\r\n"},
        {"status": 201, "body": "<html>"},
        {"status": 202, "body": "{}"},
        {"oversize": MAX_BODY * 2},
    ],
    ids=str,
)
def test_create_without_a_usable_answer_is_unknown_and_not_sent_again(orq_sandbox, fault):
    orq_sandbox.fail("create", **fault)
    with connect(orq_sandbox, total_seconds=1.0) as service, pytest.raises(OutcomeUnknown) as caught:
        service.create(display_name="Parcel")
    assert caught.value.retry_after == (9 if "headers" in fault else None)
    assert orq_sandbox.count("create") == 1


@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 429, 500, 503])
def test_create_answered_by_the_server_is_no_unknown_outcome(orq_sandbox, service, status):
    orq_sandbox.fail("create", status=status)
    with pytest.raises((APIError, MalformedResponse)):
        service.create(display_name="Parcel")
    assert orq_sandbox.count("create") == 1


@pytest.mark.parametrize(
    "fault",
    [{"drop": "after"}, {"cut": True}, {"status": 504, "applied": True}, {"raw": b"?\r\n", "applied": True}],
    ids=str,
)
def test_update_that_took_effect_is_settled_by_a_look(orq_sandbox, service, fault):
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", **fault)
    updated = service.update(conversation_id=remote_id, display_name=" Parcel ")
    assert updated.display_name == "Parcel"
    assert (orq_sandbox.count("update"), orq_sandbox.count("retrieve")) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "look", "looks", "retry_after"),
    [
        ({"drop": "before"}, None, 1, None),
        ({"drop": "after"}, {"status": 429, "headers": {"Retry-After": "4"}}, 1, 4),
        ({"status": 502, "applied": True, "headers": {"Retry-After": "4"}}, None, 0, 4),
    ],
    ids=["no effect", "the look fails", "Orq asks to wait"],
)
def test_update_is_unknown_if_no_look_helps(orq_sandbox, service, fault, look, looks, retry_after):
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", **fault)
    if look:
        orq_sandbox.fail("retrieve", **look)
    with pytest.raises(OutcomeUnknown) as caught:
        service.update(conversation_id=remote_id, display_name="Parcel")
    assert caught.value.retry_after == retry_after
    assert (orq_sandbox.count("update"), orq_sandbox.count("retrieve")) == (1, looks)


def test_update_that_takes_too_long_leaves_time_for_the_look(orq_sandbox):
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("update", delay=3)
    with connect(orq_sandbox, total_seconds=0.9) as service:
        started = time.monotonic()
        assert service.update(conversation_id=remote_id, display_name="Parcel").display_name == "Parcel"
    assert time.monotonic() - started < 2


def test_delete_without_an_answer_raises_what_happened(orq_sandbox):
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", drop="after")
    with connect(orq_sandbox) as service:
        with pytest.raises(TransportError) as caught:
            service.delete(conversation_id=remote_id, retries=ONCE)
        assert caught.value.sent
        with pytest.raises(ConversationNotFound):  # as a repetition would
            service.delete(conversation_id=remote_id)


# What is sent


def test_requests_name_us_and_a_netrc_does_not_replace_the_key(orq_sandbox, service, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    service.list()
    headers = orq_sandbox.requests[0].headers
    assert headers["authorization"] == "Bearer sandbox-key"
    assert (headers["user-agent"], headers["accept"]) == (f"django-orq/{__version__}", "application/json")


def test_callable_key_is_read_for_each_attempt(orq_sandbox):
    keys = iter(["old", " sandbox-key\n"])
    orq_sandbox.fail("list", status=503)
    with connect(orq_sandbox, api_key=lambda: next(keys)) as service:
        service.list()
    assert [request.headers["authorization"] for request in orq_sandbox.requests] == [
        "Bearer old",
        "Bearer sandbox-key",
    ]


def test_cookies_are_not_kept():
    requests: list[bytes] = []

    def talk(sock: socket.socket, _: int) -> None:
        for _ in range(2):
            requests.append(read_request(sock))
            sock.sendall(answer(EMPTY, "Set-Cookie: a=b; Path=/"))

    with answering(talk) as service:
        service.list()
        service.list()
    assert b"cookie" not in requests[1].lower()


@pytest.mark.parametrize("key", ["", "  \n", None, 5, b"sk", "two\nlines", "Schlüssel", "a\0b", '"sk-1"', "sk\\1"])
def test_key_that_no_header_can_carry_is_refused_unsaid(orq_sandbox, key):
    with connect(orq_sandbox, api_key=key) as service, pytest.raises(ImproperlyConfigured, match="API_KEY"):
        service.list()
    assert orq_sandbox.count() == 0


# The key appears nowhere


def echo(sock: socket.socket, _: int) -> None:
    """Send the Authorization header back in all parts of the response."""
    line = next(line for line in read_request(sock).decode().splitlines() if line.startswith("Authorization"))
    body = json.dumps({"message": f"I got {line}", "raw": line})
    head = f"HTTP/1.1 418 {line}\r\nX-Echo: {line}\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall((head + body).encode())


def utf16_echo(sock: socket.socket, _: int) -> None:
    read_request(sock)
    sock.sendall(answer(json.dumps({"message": SECRET}).encode("utf-16-le"), status="500 Oops"))


def coded_echo(sock: socket.socket, _: int) -> None:
    read_request(sock)
    codes = "".join(f"\\u{ord(character):04x}" for character in SECRET)
    sock.sendall(answer(f'{{"message": "{codes}"}}'.encode(), status="500 Oops"))


def silence(sock: socket.socket, _: int) -> None:
    read_request(sock)


def stall(sock: socket.socket, _: int) -> None:
    read_request(sock)
    time.sleep(0.3)


def renderings(error: BaseException) -> Iterator[str]:
    """Everything that Django's debug page, a log or Celery may show of an exception."""
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


@pytest.mark.parametrize(
    "talk", [echo, utf16_echo, coded_echo, silence, stall, always(b"rubbish\r\n"), always(answer(b"<p>")), None]
)
def test_key_appears_nowhere(talk, caplog):
    caplog.set_level(logging.DEBUG)
    with scripted(talk or silence) as server:
        base_url = server.base_url if talk else f"http://127.0.0.1:{unused_port()}"
        with connect(server, api_key=SECRET, base_url=base_url, retries=ONCE, total_seconds=0.2) as service:
            errors = list(call_all(service))
    assert len(errors) == 5
    for rendering in (text for error in errors for text in renderings(error)):
        assert SECRET not in rendering
        assert LIBRARY not in rendering
    assert SECRET not in caplog.text + repr([vars(record) for record in caplog.records]) + repr(service)
    assert any(record.name == "django_orq" for record in caplog.records)


class TimeLimit(Exception):
    """Stands for an exception that interrupts a worker, such as Celery's soft time limit."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_interruption_leaves_without_the_frames_that_hold_the_key(orq_sandbox):
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


# What errors keep of an answer


def test_error_says_what_the_server_said_in_bounds(orq_sandbox, service):
    orq_sandbox.fail("list", status=401, body=json.dumps({"message": "No\0 " + "x" * 900, "y": "z" * 900}))
    with pytest.raises(AuthenticationFailed) as caught:
        service.list()
    assert caught.value.server_message is not None
    assert caught.value.server_message.startswith("No x")
    assert len(caught.value.server_message) == 200
    assert len(caught.value.body) == 500


@pytest.mark.parametrize("body", ["<html>", "[]", '{"message": 5}', '{"message"', '"message"'])
def test_no_server_message_without_a_text_of_that_name(orq_sandbox, service, body):
    orq_sandbox.fail("list", status=400, body=body)
    with pytest.raises(APIError) as caught:
        service.list()
    assert (caught.value.server_message, caught.value.body) == (None, body)


@pytest.mark.parametrize("fault", [{"oversize": MAX_BODY * 2}, {"cut": True}], ids=str)
def test_error_with_a_spoiled_body_keeps_its_status(orq_sandbox, service, fault):
    orq_sandbox.fail("list", status=403, body="because of this", **fault)
    with pytest.raises(APIError) as caught:
        service.list()
    assert caught.value.status == 403


@pytest.mark.parametrize("body", ["<html>nginx</html>", "", "{}", '{"message": 5}'])
def test_404_that_is_not_orqs_own_says_nothing_of_the_conversation(orq_sandbox, body):
    remote_id = orq_sandbox.add()["_id"]
    orq_sandbox.fail("delete", status=404, body=body)

    with connect(orq_sandbox) as service, pytest.raises(APIError, match="BASE_URL") as caught:
        service.delete(conversation_id=remote_id)
    assert not isinstance(caught.value, ConversationNotFound)

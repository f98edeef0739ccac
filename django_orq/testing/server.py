"""HTTP/1.1 over sockets of 127.0.0.1, down to the single byte."""

import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, parse_headers, responses
from io import BufferedReader
from urllib.parse import parse_qsl, urlsplit

from .faults import Fault
from .protocol import Answer, Request

HOST = "127.0.0.1"
_GRACE = 5.0  # seconds that closing waits for a request under way
_LONGEST_LINE = 65_536


class Wire:
    """One client's connection, from the moment its request is read."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def drip(self, octets: bytes, pause: float) -> None:
        for octet in octets:
            self.send(bytes([octet]))
            self.pause(pause)

    def pause(self, seconds: float) -> None:
        """Wait; raises ConnectionError as soon as the client or the sandbox hangs up."""
        if seconds <= 0:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            if selector.select(seconds) and not self._socket.recv(1, socket.MSG_PEEK):
                raise ConnectionError("hung up")

    def reset(self) -> None:
        """Make the close that follows a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Respond = Callable[[Request, Wire], bool]
"""Answers a request; returns whether the connection can be used again."""


class SandboxServer:
    """Accepts connections, a thread each. Raises OSError when the port cannot be had."""

    def __init__(self, *, port: int, respond: Respond) -> None:
        self._respond = respond
        self._listener = socket.create_server((HOST, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._closing = False
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Close every socket; requests under way are cut short."""
        self._closing = True
        with suppress(OSError):  # wakes the thread that accepts
            socket.create_connection((HOST, self.port), timeout=1).close()
        self._accepting.join()
        self._listener.close()
        with self._lock:
            connections = dict(self._connections)
        for thread, sock in connections.items():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join(_GRACE)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing:
                sock.close()
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            with self._lock:
                self._connections[thread] = sock
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, sock.makefile("rb") as reader, suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._converse(reader, Wire(sock))
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    def _converse(self, reader: BufferedReader, wire: Wire) -> None:
        while True:
            try:
                request = read_request(reader)
            except (ValueError, HTTPException):
                return wire.send(render_head(Answer(400), length=0, close=True))
            if request is None or not self._respond(request, wire) or not request.keep_alive:
                return None


def read_request(reader: BufferedReader) -> Request | None:
    """The next request, None at the end of the connection; ValueError for what is none."""
    line = reader.readline(_LONGEST_LINE)
    if not line.strip():
        return None
    method, target, version = line.decode("latin-1").split()
    headers = {name.lower(): value for name, value in parse_headers(reader).items()}
    if "transfer-encoding" in headers:
        raise ValueError("only bodies with a Content-Length are read")
    split = urlsplit(target)
    return Request(
        method=method,
        path=split.path,
        query=dict(parse_qsl(split.query)),
        headers=headers,
        body=reader.read(int(headers.get("content-length", 0))),
        keep_alive=version == "HTTP/1.1" and headers.get("connection", "").lower() != "close",
    )


def render_head(answer: Answer, *, length: int | None, close: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif answer.status not in (204, 304):
        lines.append(f"Content-Length: {length}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def deliver(answer: Answer, wire: Wire) -> bool:
    wire.send(render_head(answer, length=len(answer.body)) + answer.body)
    return True


def deliver_faulty(answer: Answer, fault: Fault, wire: Wire) -> bool:
    """Send the answer as the fault has it; returns whether the connection can be used again."""
    wire.pause(fault.delay)
    if fault.drop == "reset":
        wire.reset()
    if fault.drop:
        return False
    octets = _spoiled(answer, fault) if fault.raw is None else fault.raw
    if fault.drip:
        wire.drip(octets, fault.drip)
    else:
        wire.send(octets)
    return fault.raw is None and not fault.cut


def _spoiled(answer: Answer, fault: Fault) -> bytes:
    # Blanks after a JSON value leave it valid: only its size is wrong.
    body = answer.body.ljust(fault.oversize)
    head = render_head(answer, length=None if fault.chunked else len(body))
    if fault.chunked:
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    return head + (body[: len(body) // 2] if fault.cut else body)

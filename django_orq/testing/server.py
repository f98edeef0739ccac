"""An HTTP/1.1 server on 127.0.0.1 that controls every byte it sends."""

import json
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .faults import Fault
from .protocol import Answer, Request

HOST = "127.0.0.1"
_GRACE = 5.0  # seconds that close() waits for each request in progress
_MAX_LINE = 65_536


class Wire(BaseHTTPRequestHandler):
    """One client's connection: reads requests and has the sandbox answer them."""

    protocol_version = default_request_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "SandboxServer"

    def handle_one_request(self) -> None:
        # Instead of the base class's `do_GET` and so on: the protocol decides which methods exist.
        self.raw_requestline = self.rfile.readline(_MAX_LINE)
        if not self.raw_requestline.strip():
            self.close_connection = True
        elif self.parse_request():
            self._respond()

    def _respond(self) -> None:
        try:
            request = self._request()
        except ValueError as error:
            self.send_error(400, str(error))  # which closes the connection
        else:
            self.close_connection |= not self.server.respond(request, self)

    def _request(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "transfer-encoding" in headers:
            raise ValueError("Request bodies need a Content-Length")
        split = urlsplit(self.path)
        return Request(
            method=self.command,
            path=split.path,
            query=dict(parse_qsl(split.query)),
            headers=headers,
            body=_parsed(self.rfile.read(int(headers.get("content-length", 0)))),
        )

    def log_message(self, *_: object) -> None:
        """Log nothing; requests are recorded in `OrqSandbox.requests`."""

    def send(self, octets: bytes) -> None:
        self.connection.sendall(octets)

    def drip(self, octets: bytes, pause: float) -> None:
        for octet in octets:
            self.send(bytes([octet]))
            self.pause(pause)

    def pause(self, seconds: float) -> None:
        """Wait. Raises ConnectionError as soon as the client or the sandbox closes the connection."""
        if seconds <= 0:
            return
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            if selector.select(seconds) and not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionError("connection closed")

    def reset(self) -> None:
        """Make the next close of the connection a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body


class SandboxServer(ThreadingTCPServer):
    """Handles each connection in its own thread. Raises OSError if the port is not available.

    ``respond`` answers a request and returns whether the connection can be reused.
    """

    allow_reuse_address = os.name == "posix"  # on Windows it would also take ports that are in use
    request_queue_size = 128

    def __init__(self, *, port: int, respond: Callable[[Request, Wire], bool]) -> None:
        super().__init__((HOST, port), Wire)
        self.respond = respond
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._accepting = threading.Thread(target=self.serve_forever, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Close all sockets, including those of requests in progress."""
        with suppress(OSError):  # wakes the accepting thread; if it fails, that thread notices within half a second
            self.socket.shutdown(socket.SHUT_RDWR)
        self.shutdown()
        self._accepting.join()
        self.server_close()
        for thread, sock in list(self._connections.items()):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join(_GRACE)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connections[thread] = request
        thread.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):  # the client or the sandbox closed the connection
            super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Unlike the base class, do not shut it down first: then the client would see the stream end, not a reset.
        request.close()
        self._connections.pop(threading.current_thread(), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # So that an exception in a hook reaches threading.excepthook, which pytest reports. The base class would only
        # print it.
        raise


def render_head(answer: Answer, *, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif answer.status not in (204, 304):
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def deliver(answer: Answer, fault: Fault, wire: Wire) -> bool:
    """Send the answer, changed by the fault; return whether the connection can be reused."""
    wire.pause(fault.delay)
    if fault.drop == "reset":
        wire.reset()
    if fault.drop:
        return False
    octets = _render(answer, fault) if fault.raw is None else fault.raw
    if fault.drip:
        wire.drip(octets, fault.drip)
    else:
        wire.send(octets)
    return fault.raw is None and not fault.cut


def _render(answer: Answer, fault: Fault) -> bytes:
    # A JSON value followed by spaces is still valid, so only its size is wrong.
    body = answer.body.ljust(fault.oversize)
    head = render_head(answer, length=None if fault.chunked else len(body))
    if fault.chunked:
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    return head + (body[: len(body) // 2] if fault.cut else body)

"""Connections that can't outlast the exchange they serve, and that know whether its request went out.

requests' timeouts bound one read, not all of them: headers or a body that drip a byte at a time go on for ever. Here
every read and write is given no more than what the exchange has left. A name's look-up in the DNS is not bounded.
"""

import http.client
import io
import socket
import time
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.connection import allowed_gai_family, create_connection

from .. import __version__
from .decompression import ACCEPTED

MAX_BODY = 10_000_000
"""Bytes of an answer's body, decompressed, above which reading stops."""
MAX_WIRE = MAX_BODY + 1_000_000
"""Bytes of one answer on the wire, with its headers and framing."""


@dataclass(kw_only=True)
class Exchange:
    """The state of the request under way: ``sent`` turns true just before its first byte goes out."""

    deadline: float
    read_timeout: float
    sent: bool = False
    received: int = 0

    def left(self) -> float:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the operation's total time is over")
        return seconds


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")


class _BoundReader(io.RawIOBase):
    """A socket's bytes, each read no longer than the exchange may still last: dripping headers end too."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(min(self._exchange.read_timeout, self._exchange.left()))
        count = self._raw.readinto(buffer)
        self._exchange.received += count or 0
        if self._exchange.received > MAX_WIRE:
            raise OSError("the answer is too long")
        return count

    def close(self) -> None:
        super().close()
        self._raw.close()


class _BoundSocket:
    """What ``http.client.HTTPResponse`` wants of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundReader(self._sock, current_exchange.get()))


class _BoundResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_BoundSocket(sock), *args, **kwargs)  # type: ignore[arg-type]  # only makefile is used

    def begin(self) -> None:
        super().begin()
        self.headers.defects.clear()  # urllib3 would log the broken lines, whatever they hold
        self.headers.set_payload("")


class _BoundConnection:
    """Mixed into urllib3's connections, those for proxies too."""

    response_class = _BoundResponse
    debuglevel = 0  # http.client.HTTPConnection.debuglevel would print the Authorization header
    sock: Any
    _connecting = False

    def connect(self) -> None:
        self._connecting = True
        try:
            super().connect()  # type: ignore[misc] # of the class that this is mixed into
        finally:
            self._connecting = False

    def send(self, content: Any) -> None:
        if self.sock is None:
            self.connect()
        exchange = current_exchange.get()
        self.sock.settimeout(exchange.left())
        if not self._connecting:  # a proxy's CONNECT is not the request
            exchange.sent = True
        super().send(content)  # type: ignore[misc] # of the class that this is mixed into


class _DirectConnection(_BoundConnection):
    """Mixed into those that resolve the host themselves, which is all but SOCKS."""

    timeout: Any
    source_address: Any
    socket_options: Any
    port: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        try:
            return self._connect_any()
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that the DNS can't have
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error  # type: ignore[arg-type] # it is one

    def _connect_any(self) -> socket.socket:
        """Each address of the host gets the connect timeout, as in urllib3, but only while the exchange lasts."""
        failure = OSError("the host has no address")
        for *_, address in socket.getaddrinfo(self._dns_host, self.port, allowed_gai_family(), socket.SOCK_STREAM):
            timeout = min(self.timeout, current_exchange.get().left())
            try:
                return create_connection(
                    (str(address[0]), int(address[1])), timeout, self.source_address, self.socket_options
                )
            except OSError as error:
                failure = error
        raise failure


class _BoundAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _bind(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            _bind(manager)
        return manager


def _bind(manager: Any) -> None:
    manager.pool_classes_by_scheme = {
        scheme: _bound_pool(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _bound_pool(pool: Any) -> Any:
    kind = pool.ConnectionCls
    direct = kind in (urllib3.connection.HTTPConnection, urllib3.connection.HTTPSConnection)
    connection = type(kind.__name__, (_DirectConnection if direct else _BoundConnection, kind), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class BoundSession(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.headers = requests.structures.CaseInsensitiveDict(
            {
                "User-Agent": f"django-orq/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": ACCEPTED,
            }
        )
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundAdapter(max_retries=0))

    def get_redirect_target(self, _response: requests.Response) -> None:
        """None: where it doesn't follow, requests still prepares the next request and stumbles over a bad URL."""

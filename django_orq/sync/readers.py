"""Threads that send requests, so that several are under way while the slice's own thread checks and writes.

A reader makes one attempt and touches neither the database nor the settings. The slice's thread takes the key and the
slot for each request, and decides on repeats.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread, local
from typing import Any

from ..conf import TOTAL_SECONDS, ApiKey, KeyCallableFailed, RetryConfig
from ..exceptions import ConversationNotFound, MalformedResponse, OrqError, ServerError, TransportError
from ..payloads import RemoteConversation
from ..service import ConversationService
from ..store import rate_limits
from ..store.database import DatabaseClock
from .claim import Claim

PATIENCE = TOTAL_SECONDS + 5
"""Seconds after which a request counts as timed out although its thread still waits: headers can arrive slowly."""
_ONE_ATTEMPT = RetryConfig(attempts=1)
_REPEATABLE = {500, 502, 503, 504}
_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_SEND = 0.0005
"""A pause that lets a reader send its request: otherwise a busy thread keeps the interpreter for up to 5 ms."""

Send = Callable[[ConversationService, RetryConfig], Any]


class Request:
    """A request that is waiting for its outcome.

    ``asked_at`` and ``received_at`` are from the database's clock, the other times from the monotonic one.
    """

    asked_at: datetime
    received_at: datetime
    outcome: Any = None
    """What Orq returned, or the exception that was raised."""

    key: ApiKey
    key_changes: int
    """How often the key had changed when the request was handed out."""

    def __init__(self, owner: Any, operation: str, send: Send) -> None:
        self.owner, self.operation, self.send = owner, operation, send
        self.attempts = 0
        self.begun_at = self.due_at = DatabaseClock.monotonic()
        self.sent_at = math.inf

    @property
    def seconds(self) -> float:
        """How long Orq took, once there is an outcome."""
        return (self.received_at - self.asked_at).total_seconds()


class Readers:
    """At most ``count`` requests at a time. Only the thread of the slice calls these methods."""

    def __init__(self, claim: Claim, *, count: int) -> None:
        self._claim = claim
        self._count = count
        self._started = self._given_up = 0
        self.key_changes = 0
        self._key: ApiKey | None = None
        self._keys = local()
        key = ApiKey(lambda: self._keys.key.read())
        self._service = ConversationService.for_workspace(claim.run.workspace, api_key=key)
        self._to_send: SimpleQueue[Request | None] = SimpleQueue()
        self._done: SimpleQueue[Request] = SimpleQueue()
        self._under_way: set[Request] = set()
        self._to_repeat: list[Request] = []
        self._ready: deque[Request] = deque()

    def close(self) -> None:
        for _thread in range(self._started):
            self._to_send.put(None)
        self._service.close()

    def request(self, owner: Any, operation: str, send: Send) -> None:
        """Hand out a request. Raises ``MustWait`` or ``Problem`` if it has to wait for longer than this thread can."""
        self._hand_out(Request(owner, operation, send))

    def ask(self, operation: str, send: Send) -> Any:
        """Send a request, wait for its outcome, and return or raise it."""
        owner = object()
        self.request(owner, operation, send)
        others: list[Request] = []
        try:
            while (request := self.next()).owner is not owner:
                others.append(request)
        finally:
            self._ready.extendleft(reversed(others))
        if isinstance(request.outcome, Exception):
            raise request.outcome
        return request.outcome

    def finds(self, remote_id: str) -> bool:
        """Whether Orq returns this conversation, rather than a 404 of its own or one that cannot be mirrored."""
        self._claim.renew()  # also to find out whether another worker has the run
        try:
            self.ask("retrieve", partial(retrieve, remote_id))
        except (ConversationNotFound, MalformedResponse) as error:
            if isinstance(error, MalformedResponse) and error.status != 200:
                raise
            return False
        return True

    def ask_all(self, operation: str, sends: Iterable[tuple[Any, Send]]) -> Iterator[Request]:
        """Send several requests, and yield each when its outcome is known."""
        for owner, send in sends:
            if len(self._under_way) + len(self._to_repeat) >= self._count:
                yield self.next()
            self.request(owner, operation, send)
        while self._under_way or self._to_repeat or self._ready:
            yield self.next()

    def next(self) -> Request:
        """Wait for the next outcome."""
        while (request := self.poll()) is None:
            pass
        return request

    def poll(self) -> Request | None:
        """Wait a moment for the next outcome, renew the lease, and repeat what failed if that may help."""
        if not self._ready:
            for request in [each for each in self._to_repeat if each.due_at <= DatabaseClock.monotonic()]:
                self._to_repeat.remove(request)
                self._hand_out(request)
            self._claim.renew_in_time()
            self._receive()
        return self._ready.popleft() if self._ready else None

    def drain(self) -> Iterator[Request]:
        """Yield the outcomes of all requests that are under way, without repeating any."""
        self._to_repeat.clear()
        while self._under_way or self._ready:
            if not self._ready:
                self._claim.renew_in_time()
                self._receive(may_repeat=False)
            while self._ready:
                yield self._ready.popleft()

    def _hand_out(self, request: Request) -> None:
        self._claim.renew_in_time()
        self._claim.acquire_slot(request.operation)
        self._set_key(request)
        self._claim.run.requests += 1
        request.attempts += 1
        request.sent_at, request.asked_at = math.inf, self._claim.clock.now()
        self._under_way.add(request)
        if len(self._under_way) > self._started - self._given_up:
            self._started += 1
            Thread(target=self._read, daemon=True).start()
        self._to_send.put(request)
        time.sleep(_SECONDS_TO_SEND)

    def _set_key(self, request: Request) -> None:
        try:
            key = ApiKey(self._claim.workspace.api_key.read())
        except KeyCallableFailed as error:
            raise TransportError(operation=request.operation, reason=error.reason, sent=False) from None
        self.key_changes += self._key is not None and self._key.read() != key.read()
        self._key = request.key = key
        request.key_changes = self.key_changes

    def check_key(self, key_changes: int) -> None:
        """Raise ``TransportError`` if the key is not the one of a request any more.

        Call this after a request that proves that the key belongs to the workspace: what another key returned before
        that is not proved.
        """
        if key_changes != self.key_changes:
            raise TransportError(operation="retrieve", reason="the API key changed at the same time", sent=True)

    def _receive(self, *, may_repeat: bool = True) -> None:
        with suppress(Empty):
            request = self._done.get(timeout=_SECONDS_BETWEEN_LOOKS if not self._to_repeat else 0.05)
            while True:  # all that have arrived, before any counts as timed out
                if request in self._under_way:  # else it was given up
                    self._under_way.remove(request)
                    self._sort(request, may_repeat=may_repeat)
                request = self._done.get_nowait()
        for request in [each for each in self._under_way if DatabaseClock.monotonic() - each.sent_at > PATIENCE]:
            self._under_way.remove(request)
            self._given_up += 1  # its thread may never come back
            request.received_at = self._claim.clock.latest()
            late: Any = {"operation": request.operation, "reason": "the request timed out"}
            request.outcome = TransportError(**late, sent=True, timed_out=True)
            self._ready.append(request)

    def _sort(self, request: Request, *, may_repeat: bool) -> None:
        if isinstance(request.outcome, OrqError):
            rate_limits.record_retry_after(self._claim.run.workspace, request.outcome, clock=self._claim.clock)
        retries = self._claim.workspace.retries
        pause = min(retries.initial_interval * 2 ** (request.attempts - 1), retries.max_interval)
        request.due_at = DatabaseClock.monotonic() + pause * random.uniform(0.5, 1)  # noqa: S311 # jitter, not a secret
        in_time = request.attempts < retries.attempts and request.due_at < request.begun_at + retries.max_elapsed
        if may_repeat and in_time and _may_pass(request.outcome, retries):
            self._to_repeat.append(request)
        else:
            self._ready.append(request)

    def _read(self) -> None:
        """Send requests, in a thread of its own."""
        while (request := self._to_send.get()) is not None:
            self._keys.key = request.key
            request.sent_at = DatabaseClock.monotonic()
            try:
                request.outcome = request.send(self._service, _ONE_ATTEMPT)
            except Exception as error:  # raised by the slice's thread
                request.outcome = error
            request.received_at = self._claim.clock.latest()
            self._done.put(request)
            del request  # its page, which an idle thread would keep


def retrieve(remote_id: str, service: ConversationService, once: RetryConfig) -> RemoteConversation:
    """Request one conversation. With ``remote_id`` bound by ``partial``, this is a ``Send``."""
    return service.retrieve(conversation_id=remote_id, retries=once)


def _may_pass(outcome: object, retries: RetryConfig) -> bool:
    if isinstance(outcome, ServerError):
        return outcome.status in _REPEATABLE and outcome.retry_after is None
    return isinstance(outcome, TransportError) and retries.connection_errors

"""The sandbox: a server with the conversations of one workspace, faults to inject, and a record of the requests."""

import math
import random
import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from .faults import Fault, FaultPlan
from .ids import IdClock
from .protocol import OPERATIONS, Answer, Behaviour, Operation, RemoteApi, Request, Style, now_ms, route, touched
from .server import HOST, SandboxServer, Wire, deliver
from .store import Conversation, ConversationStore, SeededConversations, realistic_conversation

_REQUESTS_KEPT = 10_000
_clock = IdClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRequest(Request):
    """A request that the sandbox received, recorded just before its response was sent."""

    operation: Operation | None
    """None if the API has no such route."""
    status: int | None
    """The status of the response; None if no HTTP response was sent."""


class OrqSandbox(Behaviour):
    """An Orq workspace on a port of 127.0.0.1 (by default a free one), for tests and trials.

    Use it as a context manager, or call `start` and `stop`. A stopped sandbox can be started
    again, on the same port with the same conversations, to simulate an outage.

    It starts with `conversations` realistic conversations. The same `seed` produces the same
    names, metadata and intervals between times, counted back from `newest_at` (Unix
    milliseconds; None: now). `style` is the dialect: "snake" (the default) or "camel" (that of
    the vendor's SDK 4.3.20). The attributes that change how it behaves are described in
    `django_orq.testing`.
    """

    def __init__(
        self,
        *,
        conversations: int = 0,
        api_key: str = "sandbox-key",
        style: Style = "snake",
        port: int = 0,
        latency: float = 0.0,
        seed: int = 1,
        newest_at: int | None = None,
    ) -> None:
        super().__init__(api_key=api_key, latency=latency)
        self.style = style
        self.port = port
        seeded = SeededConversations(count=conversations, seed=seed, newest_at=newest_at or now_ms() - 1)
        self._store = ConversationStore(seeded)
        last = seeded.ulid_at(conversations - 1) if conversations else 0
        self._api = RemoteApi(store=self._store, clock=IdClock(last), style=style, behaviour=self)
        self._faults = FaultPlan()
        self._server: SandboxServer | None = None
        self._recording = threading.Lock()
        self.clear_requests()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def __len__(self) -> int:
        return len(self._store)

    def __bool__(self) -> bool:
        return True  # an empty workspace is a workspace

    def start(self) -> None:
        """Start serving. Raises OSError if the port is in use."""
        self._server = SandboxServer(port=self.port, respond=self._respond)
        self.port = self._server.server_address[1]

    def stop(self) -> None:
        """Close all sockets. Conversations, recorded requests and faults are kept."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def settings(self) -> dict[str, dict[str, str]]:
        """Return a value for ORQ_WORKSPACES in which this sandbox is the workspace `default`."""
        workspace = {"API_KEY": self.api_key, "BASE_URL": self.base_url}
        camel = {"API_STYLE": "camel", "PROJECT_ID": "sandbox"}  # in this dialect a create request must name a project
        return {"default": workspace | (camel if self.style == "camel" else {})}

    # Changes made by other users of the workspace: immediate, without a request, not validated.

    def add(self, display_name: str = "Untitled", **fields: Any) -> Conversation:
        """Create a conversation and return it. `fields` replace or add keys, named as in the API's JSON."""
        return self._api.add({"displayName": display_name, **fields})

    def rename(self, remote_id: str, name: str) -> Conversation:
        """Rename a conversation and return it. Raises KeyError if there is none with this id."""
        with self._store.lock:
            conversation = self._store.get(remote_id)
            if conversation is None:
                raise KeyError(remote_id)
            return self._store.put(touched(conversation | {"displayName": name}))

    def remove(self, remote_id: str) -> None:
        """Delete a conversation. Raises KeyError if there is none with this id."""
        if not self._store.remove(remote_id):
            raise KeyError(remote_id)

    def get(self, remote_id: str) -> Conversation | None:
        return self._store.get(remote_id)

    @property
    def conversations(self) -> list[Conversation]:
        """Copies of all conversations, newest first."""
        with self._store.lock:
            return list(self._store.older_than(None))

    def fail(
        self,
        operation: Operation | None = None,
        *,
        times: int | None = 1,
        after: int = 0,
        **kinds: Any,
    ) -> None:
        """Make the next `times` requests (None: all) of this operation (None: any) fail.

        The first `after` requests are handled normally. `kinds` are fields of `Fault`, described
        in `django_orq.testing`. Faults are applied in the order in which they were added.
        """
        if operation not in (None, *OPERATIONS):
            raise ValueError(f"operation must be one of {', '.join(OPERATIONS)}, or None, not {operation!r}.")
        if not kinds.keys() - {"applied"}:
            raise ValueError("Specify a fault: status, drop, cut, delay, drip, raw, …")
        self._faults.add(Fault(operation=operation, **kinds), skip=after, times=math.inf if times is None else times)

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The newest 10,000 requests since the last `clear_requests`, oldest first."""
        with self._recording:
            return list(self._requests)

    def count(self, operation: Operation | None = None) -> int:
        """Return how many requests of this operation (None: all) arrived since the last `clear_requests`."""
        with self._recording:
            return self._counts.total() if operation is None else self._counts[operation]

    def clear_requests(self) -> None:
        with self._recording:
            self._requests: deque[RecordedRequest] = deque(maxlen=_REQUESTS_KEPT)
            self._counts: Counter[Operation | None] = Counter()

    def _respond(self, request: Request, wire: Wire) -> bool:
        operation, remote_id = route(self.style, request.method, request.path)
        fault = self._faults.take(operation)
        wire.pause(self.latency)
        self._call_hook(operation, "before")
        real = self._api.answer(operation, remote_id, request) if fault.applies else Answer(500)
        self._call_hook(operation, "after")
        answer = fault.answer(real)
        self._record(operation, request, answer.status if fault.answers else None)
        return deliver(answer, fault, wire)

    def _call_hook(self, operation: Operation | None, phase: Literal["before", "after"]) -> None:
        if self.on_request is not None:
            self.on_request(operation, phase)

    def _record(self, operation: Operation | None, request: Request, status: int | None) -> None:
        recorded = RecordedRequest(**asdict(request), operation=operation, status=status)
        with self._recording:
            self._requests.append(recorded)
            self._counts[operation] += 1


def make_conversation(**overrides: Any) -> Conversation:
    """Return one realistic conversation as in the API's JSON; `overrides` replace or add keys."""
    value = _clock.next(now_ms())
    return realistic_conversation(value, random.getrandbits(128), latest_update=value >> 80) | overrides

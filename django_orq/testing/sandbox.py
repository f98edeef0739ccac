"""The sandbox itself: a server, its workspace, and what tests ask of both."""

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
from .store import Conversation, ConversationStore, SeededConversations, believable_conversation

_REQUESTS_KEPT = 10_000
_clock = IdClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedRequest(Request):
    """A request that the sandbox received, recorded just before its answer went out."""

    operation: Operation | None
    """None: no route of the API."""
    status: int | None
    """What was answered; None when no HTTP answer was sent."""


class OrqSandbox(Behaviour):
    """An Orq workspace on a free port of 127.0.0.1, for tests and trials.

    A context manager; `start` and `stop` do the same by hand, and a stopped sandbox starts again
    on the same port with the same conversations: an outage.

    `conversations` believable ones are there from the start; the same `seed` gives the same
    names, metadata and gaps between times, counted back from `newest_at` (Unix milliseconds;
    None: now). `style` is the dialect: "snake" (the default one) or "camel" (that of the
    vendor's SDK 4.3.20). The other attributes make it misbehave: `django_orq.testing` has the
    table.
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
        """Serve; OSError when the port is taken."""
        self._server = SandboxServer(port=self.port, respond=self._respond)
        self.port = self._server.server_address[1]

    def stop(self) -> None:
        """Close every socket. Conversations, requests and faults stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def settings(self) -> dict[str, dict[str, str]]:
        """A value for the setting ORQ_WORKSPACES whose `default` workspace is this one."""
        workspace = {"API_KEY": self.api_key, "BASE_URL": self.base_url}
        camel = {"API_STYLE": "camel", "PROJECT_ID": "sandbox"}  # a create is refused without a project there
        return {"default": workspace | (camel if self.style == "camel" else {})}

    # What somebody else does in the workspace: no request, no check, at once.

    def add(self, display_name: str = "Untitled", **fields: Any) -> Conversation:
        """Create a conversation. `fields` replaces or adds any key of it, as on the wire."""
        return self._api.add({"displayName": display_name, **fields})

    def rename(self, remote_id: str, name: str) -> Conversation:
        """Raises KeyError when no such conversation exists."""
        with self._store.lock:
            conversation = self._store.get(remote_id)
            if conversation is None:
                raise KeyError(remote_id)
            return self._store.put(touched(conversation | {"displayName": name}))

    def remove(self, remote_id: str) -> None:
        """Raises KeyError when no such conversation exists."""
        if not self._store.remove(remote_id):
            raise KeyError(remote_id)

    def get(self, remote_id: str) -> Conversation | None:
        return self._store.get(remote_id)

    @property
    def conversations(self) -> list[Conversation]:
        """Copies of all of them, newest first."""
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
        """Spoil the next `times` requests (None: all) of this operation (None: any request).

        The first `after` of them still pass. `kinds` are fields of `Fault`; `django_orq.testing`
        has the table. Faults strike in the order in which they were asked for.
        """
        if operation not in (None, *OPERATIONS):
            raise ValueError(f"No operation {operation!r}: one of {', '.join(OPERATIONS)}, or None.")
        if not kinds.keys() - {"applied"}:
            raise ValueError("Say what goes wrong: status, drop, cut, delay, drip, raw, …")
        self._faults.add(
            Fault(operation=operation, **kinds), let_through=after, times=math.inf if times is None else times
        )

    def clear_faults(self) -> None:
        self._faults.clear()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The newest 10,000 requests since the last `clear_requests`, oldest first."""
        with self._recording:
            return list(self._requests)

    def count(self, operation: Operation | None = None) -> int:
        """How many requests of this operation came (None: of any kind), those forgotten too."""
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
    """One believable remote conversation, as on the wire; `overrides` replaces or adds keys."""
    value = _clock.next(now_ms())
    chance = random.getrandbits(128)
    return believable_conversation(value, chance, latest_update=value >> 80) | overrides

"""Faults that affect a limited number of requests."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .protocol import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What goes wrong with one request; by default nothing. The fields are described in `django_orq.testing`."""

    operation: str | None = None
    status: int | None = None
    body: bytes | str = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False
    drop: Literal["before", "after", "reset"] | None = None
    cut: bool = False
    delay: float = 0.0
    drip: float = 0.0
    raw: bytes | None = None
    oversize: int = 0
    chunked: bool = False

    @property
    def applies(self) -> bool:
        """Whether the operation takes effect in spite of the fault."""
        replaced = self.status is not None or self.raw is not None
        return self.applied or not (replaced or self.drop in ("before", "reset"))

    @property
    def answers(self) -> bool:
        """Whether an HTTP response is sent."""
        return self.drop is None and self.raw is None

    def answer(self, real: Answer) -> Answer:
        if self.status is None:
            return real
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = dict(self.headers)
        if "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return Answer(self.status, body, headers)


@dataclass(slots=True)
class _Planned:
    fault: Fault
    skip: int
    times: float


class FaultPlan:
    """The planned faults, in the order in which they were added."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault, *, skip: int, times: float) -> None:
        with self._lock:
            self._planned += [_Planned(fault, skip, times)] if times > 0 else []

    def take(self, operation: str | None) -> Fault:
        """Return the fault that affects this request and count it as used; without one, a fault that does nothing."""
        with self._lock:
            for planned in self._planned:
                if planned.fault.operation not in (None, operation):
                    continue
                if not planned.skip:
                    return self._use(planned)
                planned.skip -= 1
            return Fault()

    def _use(self, planned: _Planned) -> Fault:
        planned.times -= 1
        if not planned.times:
            self._planned.remove(planned)
        return planned.fault

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()

"""Faults that strike a limited number of requests."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .protocol import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What goes wrong with one request, nothing by default; `django_orq.testing` has the table of the fields."""

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
        """Whether the operation takes effect all the same."""
        replaced = self.status is not None or self.raw is not None
        return self.applied or not (replaced or self.drop in ("before", "reset"))

    @property
    def answers(self) -> bool:
        """Whether what is sent is an HTTP answer."""
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
    let_through: int
    times: float


class FaultPlan:
    """The faults to come, in the order they were asked for."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault, *, let_through: int, times: float) -> None:
        with self._lock:
            self._planned.append(_Planned(fault, let_through, times))

    def take(self, operation: str | None) -> Fault:
        """The fault that strikes this request, used up by it; one of nothing lets it pass."""
        with self._lock:
            for planned in self._planned:
                if planned.fault.operation not in (None, operation):
                    continue
                if not planned.let_through:
                    return self._used(planned)
                planned.let_through -= 1
            return Fault()

    def _used(self, planned: _Planned) -> Fault:
        planned.times -= 1
        if not planned.times:
            self._planned.remove(planned)
        return planned.fault

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()

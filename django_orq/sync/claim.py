"""A worker's claim on a run: its lease, and the fence, which is the first statement of each transaction."""

import math
from datetime import datetime
from typing import Any, Self

from django.db.models import Case, F, Q, When

from ..conf import Workspace
from ..models import SyncRun
from ..store import leases, rate_limits
from ..store.database import DatabaseClock, all_runs
from ..store.leases import Lease, LeaseLost

SECONDS_BETWEEN_CHECKS = SECONDS_BETWEEN_CHECKPOINTS = 1.0
CLAIMABLE = (SyncRun.State.QUEUED, SyncRun.State.RUNNING, SyncRun.State.WAITING)


class Claim(Lease[SyncRun]):
    """The right to work on one run. ``run`` has the values last saved, except for counters and ``deferred``."""

    def __init__(self, run: SyncRun, *, workspace: Workspace, clock: DatabaseClock) -> None:
        super().__init__(run, seconds=workspace.lease_seconds, clock=clock)
        self.run = run
        self.workspace = workspace
        self.deferred: dict[str, Any] = {}
        """Columns that the next checkpoint or the release saves."""
        self._saved_at = self._renewed_at = DatabaseClock.monotonic()
        self._wait_checked_at = -math.inf

    @classmethod
    def take(cls, run_id: int, *, workspace: Workspace, clock: DatabaseClock) -> Self | None:
        """Claim a run. Returns ``None`` if it is finished or paused or has to wait, or if another worker has it."""
        out_of_budget = Q(state=SyncRun.State.WAITING, wait=SyncRun.Wait.BUDGET)
        run = leases.take(
            all_runs().filter(~out_of_budget, pk=run_id, state__in=CLAIMABLE),
            seconds=workspace.lease_seconds,
            now=clock.now(),
            crashes=F("crashes") + Case(When(lease_until__isnull=False, then=1), default=0),
            state=SyncRun.State.RUNNING,
            wait="",
        )
        return cls(run, workspace=workspace, clock=clock) if run else None

    def acquire_slot(self, operation: str) -> None:
        """Sleep until ``REQUESTS_PER_MINUTE`` allows the next request.

        Raises ``MustWait`` while a Retry-After of Orq is in force, and a ``Problem`` if the sleep would be too long.
        To limit queries, the database is asked for a Retry-After at most once a second.
        """
        rate_limits.keep_pace(self.workspace, clock=self.clock)
        if DatabaseClock.monotonic() - self._wait_checked_at >= SECONDS_BETWEEN_CHECKS:  # also after a long sleep
            rate_limits.check(self.run.workspace, operation=operation, clock=self.clock)
            self._wait_checked_at = DatabaseClock.monotonic()

    def renew_in_time(self) -> None:
        """Renew the lease if a third of it has passed since the last time, and save what was deferred for a second."""
        self._save_deferred()
        if DatabaseClock.monotonic() - self._renewed_at > self.workspace.lease_seconds / 3:
            self.renew()
            self._renewed_at = DatabaseClock.monotonic()

    def checkpoint(self, now: datetime) -> dict[str, Any]:
        """The columns that each checkpoint sets."""
        counters = {"checkpoint": self.run.checkpoint + 1, "requests": self.run.requests}
        times = {"checkpoint_at": now, "lease_until": now + self._length, "trouble_since": None}
        return {**counters, **times, **dict.fromkeys(("failures", "malformed", "crashes"), 0)}

    def save(self, values: dict[str, Any]) -> None:
        """The fence: save a checkpoint, or raise ``LeaseLost`` if the lease has run out or another worker has the run.

        The run's attributes do not change until ``apply``, so that they are still correct after a rollback.
        """
        ours = self.ours.filter(checkpoint=self.run.checkpoint, lease_until__gte=self.clock.now())
        if not ours.update(**self.deferred | values):
            raise LeaseLost

    def apply(self, values: dict[str, Any]) -> None:
        """Set the run's attributes to what was saved."""
        self.deferred, self._saved_at = {}, DatabaseClock.monotonic()
        self._renewed_at = self._saved_at
        self._set(values)

    def save_now(self, **values: Any) -> None:
        """Save a checkpoint with these columns, in a statement of its own."""
        values = self.checkpoint(self.clock.now()) | values
        self.save(values)
        self.apply(values)

    def save_soon(self, values: dict[str, Any]) -> None:
        """Save a checkpoint that may be lost without harm; within a second of the last one, leave it to the next."""
        del values["checkpoint"], values["lease_until"]
        self.deferred |= values
        self._set(values)
        self._save_deferred()

    def _save_deferred(self) -> None:
        if self.deferred and DatabaseClock.monotonic() - self._saved_at >= SECONDS_BETWEEN_CHECKPOINTS:
            self.save_now()

    def release(self, **values: Any) -> None:
        super().release(**{"requests": self.run.requests, **self.deferred, **values})

    def _set(self, values: dict[str, Any]) -> None:
        for column, value in values.items():
            setattr(self.run, column, value)


def end_of(claim: Claim) -> datetime:
    """The current time, but not before the run's last checkpoint, which may have marked rows as missing."""
    now = claim.clock.latest()
    return now if claim.run.checkpoint_at is None else max(now, claim.run.checkpoint_at)

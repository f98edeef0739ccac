"""A walker's claim on a run: a token, a lease, and the fence that every write of a walk begins with."""

import math
import os
import re
import socket
import time
import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.db.models import Case, F, Q, QuerySet, When
from django.db.models.functions import Coalesce
from django.utils.translation import gettext

from . import waits
from .clock import DatabaseClock
from .conf import Workspace
from .models import SyncRun
from .primary import all_runs

SECONDS_BETWEEN_CHECKS = 2.0
_PROCESS = re.compile(r"process (?P<number>[0-9]+) on (?P<host>.+)")
CLAIMABLE = (SyncRun.State.QUEUED, SyncRun.State.RUNNING, SyncRun.State.WAITING)


class LeaseLost(Exception):
    """The run is no longer this walker's: nothing was written."""


class Claim:
    """The right to walk one run; the run's attributes are what was last saved."""

    def __init__(self, run: SyncRun, *, workspace: Workspace, clock: DatabaseClock) -> None:
        self.run = run
        self.workspace = workspace
        self.clock = clock
        self._wait_checked_at = -math.inf

    @classmethod
    def take(cls, run_id: int, *, workspace: Workspace, clock: DatabaseClock) -> Self | None:
        """``None`` if the run is finished, paused or waiting, or if somebody else walks it."""
        now = clock.now()
        token = uuid.uuid4().hex
        free = Q(lease_until=None) | Q(lease_until__lt=now)
        due = (Q(resume_at=None) | Q(resume_at__lte=now)) & ~Q(state=SyncRun.State.WAITING, wait=SyncRun.Wait.BUDGET)
        taken = (
            all_runs()
            .filter(free, due, pk=run_id, state__in=CLAIMABLE)
            .update(
                state=SyncRun.State.RUNNING,
                token=token,
                walker=this_process(),
                deaths=F("deaths") + Case(When(lease_until__isnull=False, then=1), default=0),
                lease_until=now + timedelta(seconds=workspace.lease_seconds),
                started_at=Coalesce(F("started_at"), now),
                resume_at=None,
                enqueued_at=None,
                wait="",
                error_code="",
                error_params={},
            )
        )
        run = all_runs().get(pk=run_id, token=token) if taken else None
        return cls(run, workspace=workspace, clock=clock) if run else None

    def await_turn(self, operation: str) -> None:
        """Before each request: ``MustWait`` if Orq asked to wait (looked up every few seconds), and the pace."""
        if time.monotonic() - self._wait_checked_at >= SECONDS_BETWEEN_CHECKS:
            waits.check(self.run.workspace, operation=operation, clock=self.clock)
            self._wait_checked_at = time.monotonic()
        waits.keep_pace(self.workspace, clock=self.clock)

    @property
    def rows(self) -> QuerySet[SyncRun]:
        """The run, while it is ours."""
        return all_runs().filter(pk=self.run.pk, token=self.run.token)

    def checkpoint(self, now: datetime) -> dict[str, Any]:
        """The columns that every page written sets."""
        lease = timedelta(seconds=self.workspace.lease_seconds)
        return {
            "requests": self.run.requests,
            "checkpoint_at": now,
            "lease_until": now + lease,
            "failures": 0,
            "malformed": 0,
            "trouble_since": None,
            "deaths": 0,
        }

    def save(self, values: dict[str, Any]) -> None:
        """The fence: writes only while the run is still ours and where we left it. ``LeaseLost`` otherwise.

        The run's attributes stay as they are until ``adopt``, so that a transaction that rolls back leaves them right.
        """
        if not self.rows.filter(cursor=self.run.cursor).update(**values):
            raise LeaseLost

    def renew(self) -> None:
        """Keep the lease while no page is written; ``LeaseLost`` if it is gone."""
        until = self.clock.now() + timedelta(seconds=self.workspace.lease_seconds)
        if not self.rows.update(lease_until=until):
            raise LeaseLost

    def adopt(self, values: dict[str, Any]) -> None:
        for column, value in values.items():
            setattr(self.run, column, value)

    def release(self, **values: Any) -> None:
        """Let others walk on, or end the run."""
        values |= {"token": "", "lease_until": None, "requests": self.run.requests}
        if self.rows.update(**values):
            self.adopt(values)


def this_process() -> str:
    """As people can find it; stored, so in English."""
    return f"process {os.getpid()} on {socket.gethostname()}"[:150]


def process_in_words(walker: str) -> str:
    """What ``this_process`` has stored, in the reader's language."""
    found = _PROCESS.fullmatch(walker)
    return gettext("process %(number)s on %(host)s") % found.groupdict() if found else walker

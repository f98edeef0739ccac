"""Which process works on a run or an operation: it has a lease that expires, and a token that its writes require."""

import os
import socket
import uuid
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from ..conf import Workspace, get_workspace, workspace_aliases
from ..models import Operation, Work
from .database import DatabaseClock, all_items, all_operations, write_database

W = TypeVar("W", bound=Work)
MAX_AHEAD = timedelta(days=1)
"""All leases and waits are shorter. What ends later was stored while the database's clock was ahead, and is over."""


class LeaseLost(Exception):
    """This process no longer holds the lease; nothing was written."""


class Lease(Generic[W]):
    """The right to work on a run or an operation. ``work`` is its row as read when the lease was taken or released."""

    def __init__(self, work: W, *, seconds: float, clock: DatabaseClock) -> None:
        self.work = work
        self.clock = clock
        self._length = timedelta(seconds=seconds)
        self._token = work.token

    @property
    def ours(self) -> QuerySet[W]:
        """The row, as long as this process holds its lease."""
        rows: QuerySet[W] = type(self.work)._default_manager.using(write_database())
        return rows.filter(pk=self.work.pk, token=self._token)

    def renew(self, **values: Any) -> None:
        """Extend the lease and save these columns, or raise ``LeaseLost`` if this process no longer has it."""
        if not self.ours.update(lease_until=self.clock.now() + self._length, **values):
            raise LeaseLost

    def release(self, **values: Any) -> None:
        """Give the lease back and save these columns, or raise ``LeaseLost`` if this process no longer has it."""
        if not self.ours.update(token="", lease_until=None, **values):
            raise LeaseLost
        self.work.refresh_from_db(using=write_database())


def take(rows: QuerySet[W], *, seconds: float, now: datetime, **values: Any) -> W | None:
    """Take the lease of the one row in ``rows``, set these columns, and return the row.

    Returns ``None`` if there is no such row, if another process holds its lease, or if it has to wait.
    """
    ours = claimed(seconds=seconds, now=now)
    # These values come first: they may depend on the previous lease, and MariaDB assigns from left to right.
    columns = {**values, **ours, "started_at": Coalesce("started_at", now)}
    taken = rows.filter(unclaimed(now), due(now)).update(**columns)
    return rows.filter(token=ours["token"]).first() if taken else None


def claimed(*, seconds: float, now: datetime) -> dict[str, Any]:
    """The columns to save in a row whose lease this process takes, or in a new row that it creates with a lease."""
    cleared: dict[str, Any] = {"resume_at": None, "enqueued_at": None, "error_code": "", "error_params": {}}
    until = now + timedelta(seconds=seconds)
    worker = f"process {os.getpid()} on {socket.gethostname()}"[:150]  # in English, because it is stored
    return {"token": uuid.uuid4().hex, "worker": worker, "lease_until": until, **cleared}


def unclaimed(now: datetime) -> Q:
    """Selects work that has no lease, or whose lease has expired."""
    return Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_until__gt=now + MAX_AHEAD)


def due(now: datetime) -> Q:
    """Selects work that does not have to wait, or whose wait is over."""
    return Q(resume_at=None) | Q(resume_at__lte=now) | Q(resume_at__gt=now + MAX_AHEAD)


def issue(work: type[Work], pk: int, *, delay: float) -> str:
    """Record that a message is about to be enqueued, to run in ``delay`` seconds, and return the message's ticket."""
    now = DatabaseClock(write_database()).now()
    ticket = uuid.uuid4().hex
    _row(work, pk).update(ticket=ticket, enqueued_at=now + timedelta(seconds=delay))
    return ticket


def void(work: type[Work], pk: int, ticket: str) -> None:
    """Undo ``issue``, because the message could not be enqueued."""
    _row(work, pk).filter(ticket=ticket).update(ticket="", enqueued_at=None)


def is_newest(work: type[Work], pk: int, ticket: str) -> bool:
    """Whether the message with this ticket is the newest one that was enqueued for the work.

    Also ``True`` if the message has no ticket, as when the task is called by hand, or if the row has none.
    """
    return not ticket or _row(work, pk).filter(ticket__in=("", ticket)).exists()


def waiting(work: type[W], pk: int) -> W | None:
    """The work if it still has to wait. A message for it arrives early if the clocks of two machines differ."""
    return _row(work, pk).filter(resume_at__gt=DatabaseClock(write_database()).now()).first()


def idle(now: datetime, *, patience: timedelta) -> Q:
    """Selects work that no process works on, that does not have to wait, and for which no message is expected.

    A message is expected until ``patience`` has passed since the time at which a worker should have taken it.
    """
    unannounced = Q(enqueued_at=None) | Q(enqueued_at__lt=now - patience) | Q(enqueued_at__gt=now + MAX_AHEAD)
    return unclaimed(now) & due(now) & unannounced


def max_lease() -> float:
    """The longest lease of all workspaces, in seconds, for operations, whose items may be in several workspaces."""
    try:
        return max([get_workspace(one).lease_seconds for one in workspace_aliases()] or [Workspace.lease_seconds])
    except ImproperlyConfigured:  # reported by the code that sends the request
        return Workspace.lease_seconds


def idle_operations(workspace: str | None = None, *, overdue_at: datetime | None = None) -> QuerySet[Operation]:
    """Unfinished operations that could continue, the oldest first; if a workspace is given, those with items in it.

    They need not wait, no process works on them, and no message is expected: none was sent within the longest lease.
    With ``overdue_at``, they could already continue then, and any message for them was sent before.
    """
    now = overdue_at or DatabaseClock(write_database()).now()
    free = idle(now, patience=timedelta(seconds=0 if overdue_at else max_lease()))
    operations = all_operations().filter(free, finished_at=None).order_by("pk")
    if workspace is None:
        return operations
    return operations.filter(Exists(all_items().filter(operation=OuterRef("pk"), workspace=workspace)))


def _row(work: type[W], pk: int) -> QuerySet[W]:
    rows: QuerySet[W] = work._default_manager.using(write_database()).filter(pk=pk)
    return rows

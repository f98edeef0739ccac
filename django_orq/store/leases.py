"""Who works on a run or an operation: a lease that runs out, and a token that every write of its holder asks for."""

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


class LeaseLost(Exception):
    """The work is no longer this process's: nothing was written."""


class Lease(Generic[W]):
    """The right to do a piece of work; ``work`` is its row as last saved."""

    def __init__(self, work: W, *, seconds: float, clock: DatabaseClock) -> None:
        self.work = work
        self.clock = clock
        self._length = timedelta(seconds=seconds)
        self._token = work.token

    @property
    def ours(self) -> QuerySet[W]:
        """The row, while it is ours."""
        rows: QuerySet[W] = type(self.work)._default_manager.using(write_database())
        return rows.filter(pk=self.work.pk, token=self._token)

    def renew(self, **values: Any) -> None:
        """Keep the lease, and save these columns; ``LeaseLost`` if it is gone."""
        if not self.ours.update(lease_until=self.clock.now() + self._length, **values):
            raise LeaseLost

    def release(self, **values: Any) -> None:
        """Let others work on, or end the work, and save these columns; ``LeaseLost`` if it is gone."""
        if not self.ours.update(token="", lease_until=None, **values):
            raise LeaseLost
        self.work.refresh_from_db(using=write_database())


def take(rows: QuerySet[W], *, seconds: float, now: datetime, **values: Any) -> W | None:
    """The one of these rows, for this process, and with these columns set; ``None`` if it may not be had now."""
    ours = claimed(seconds=seconds, now=now)
    # The values come first, for MariaDB assigns from left to right: they may depend on the lease before ours.
    columns = {**values, **ours, "started_at": Coalesce("started_at", now)}
    taken = rows.filter(unclaimed(now), due(now)).update(**columns)
    return rows.filter(token=ours["token"]).first() if taken else None


def claimed(*, seconds: float, now: datetime) -> dict[str, Any]:
    """The columns of work that this process has, a new row's too."""
    return {
        "token": uuid.uuid4().hex,
        "worker": this_process(),
        "lease_until": now + timedelta(seconds=seconds),
        "resume_at": None,
        "enqueued_at": None,
        "error_code": "",
        "error_params": {},
    }


def unclaimed(now: datetime) -> Q:
    """Work that nobody has, or whose lease has run out."""
    return Q(lease_until=None) | Q(lease_until__lt=now)


def due(now: datetime) -> Q:
    """Work whose wait is over."""
    return Q(resume_at=None) | Q(resume_at__lte=now)


def this_process() -> str:
    """As people can find it; stored, so in English."""
    return f"process {os.getpid()} on {socket.gethostname()}"[:150]


def issue(work: type[Work], pk: int, *, delay: float) -> str:
    """A message for this work is about to be enqueued, for ``delay`` seconds from now; returns its ticket."""
    now = DatabaseClock(write_database()).now()
    ticket = uuid.uuid4().hex
    _row(work, pk).update(ticket=ticket, enqueued_at=now + timedelta(seconds=delay))
    return ticket


def void(work: type[Work], pk: int, ticket: str) -> None:
    """The message could not be enqueued."""
    _row(work, pk).filter(ticket=ticket).update(ticket="", enqueued_at=None)


def is_newest(work: type[Work], pk: int, ticket: str) -> bool:
    """Whether no newer message than the one with this ticket was enqueued for the work."""
    return not ticket or _row(work, pk).filter(ticket__in=("", ticket)).exists()


def idle(now: datetime, *, patience: timedelta) -> Q:
    """Work that nobody does, whose wait is over, and that no message younger than ``patience`` is under way for."""
    uncalled = Q(enqueued_at=None) | Q(enqueued_at__lt=now - patience)
    return unclaimed(now) & due(now) & uncalled


def max_lease() -> float:
    """Seconds, for an operation, which may be about several workspaces."""
    try:
        return max(
            (get_workspace(alias).lease_seconds for alias in workspace_aliases()), default=Workspace.lease_seconds
        )
    except ImproperlyConfigured:  # it is told to whoever asks Orq for something
        return Workspace.lease_seconds


def unfinished_operations(workspace: str | None = None) -> QuerySet[Operation]:
    """The first requested first; of those about conversations of that workspace, if one is given."""
    operations = all_operations().filter(finished_at=None).order_by("pk")
    if workspace is None:
        return operations
    return operations.filter(Exists(all_items().filter(operation=OuterRef("pk"), workspace=workspace)))


def idle_operations(workspace: str | None = None) -> QuerySet[Operation]:
    """Those of them that nobody works on, and for which no message is under way that a worker may still take."""
    patience = timedelta(seconds=max_lease())
    return unfinished_operations(workspace).filter(idle(DatabaseClock(write_database()).now(), patience=patience))


def _row(work: type[Work], pk: int) -> QuerySet[Work]:
    rows: QuerySet[Work] = work._default_manager.using(write_database()).filter(pk=pk)
    return rows

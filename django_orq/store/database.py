"""The database that the mirror is written to: ours are read from there too, never from a replica that lags behind."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import InterfaceError, InternalError, OperationalError, connections, router, transaction
from django.db.models import QuerySet

from ..models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun, WorkspaceWait

DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError)
"""What may pass. ``InternalError``: among others, a database that can only be read, as while servers change places."""


def write_database() -> str:
    """Its alias."""
    alias: str = router.db_for_write(Conversation)
    return alias


def leave_broken_connection() -> None:
    """After a failure: what is written next goes by a connection that works, if this one does not.

    Within a transaction of the caller's it is the caller's to leave.
    """
    connection = connections[write_database()]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def all_rows() -> QuerySet[Conversation]:
    """Conversations, through the one query set that may write them."""
    return QuerySet(Conversation, using=write_database())


def kept_rows(workspace: str) -> QuerySet[Conversation]:
    """Those of a workspace that are not tombstones."""
    return all_rows().filter(workspace=workspace, deleted_at=None)


def all_runs() -> QuerySet[SyncRun]:
    return SyncRun.objects.using(write_database())


def all_operations() -> QuerySet[Operation]:
    return Operation.objects.using(write_database())


def all_items() -> QuerySet[OperationItem]:
    """Of all operations."""
    return OperationItem.objects.using(write_database())


def all_payloads() -> QuerySet[RejectedPayload]:
    """The rejected ones."""
    return RejectedPayload.objects.using(write_database())


def all_waits() -> QuerySet[WorkspaceWait]:
    return WorkspaceWait.objects.using(write_database())


_QUESTIONS = {
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
}


class DatabaseClock:
    """One read of the database's clock, carried on by this machine's monotonic one.

    The database read its clock at some moment between our question and its answer, so a time is known as two: a
    question was asked at ``now`` at the earliest, an answer was here at ``latest`` at the latest. Whoever compares
    the one with the other, across processes, errs on the side of taking an answer for older than it is.
    """

    def __init__(self, using: str) -> None:
        connections[using].ensure_connection()  # what it takes to connect is no part of the question
        self._asked = time.monotonic()
        self._base = _read(using)
        self._answered = time.monotonic()

    def now(self) -> datetime:
        """Aware, UTC; not after the true time."""
        return self._base + timedelta(seconds=time.monotonic() - self._answered)

    def latest(self) -> datetime:
        """Aware, UTC; not before the true time."""
        return self._base + timedelta(seconds=time.monotonic() - self._asked)


def _read(using: str) -> datetime:
    connection = connections[using]
    if connection.vendor not in _QUESTIONS:  # SQLite has no clock but the machine's
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS[connection.vendor])
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def never_atomic(view: Callable[..., Any]) -> None:
    """Have this view called outside of ``ATOMIC_REQUESTS``, whichever database it uses."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)

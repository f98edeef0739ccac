"""The database that the mirror is written to.

This app reads its tables there too, because a replica may lag behind. Only the lists of conversations in the admin and
the REST API, and the admin's autocompletion, are read from the database that the project's router returns for reading.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from django import db
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from ..models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun, WorkspaceWait

DATABASE_TROUBLE = (db.OperationalError, db.InterfaceError, db.InternalError)
"""Errors that may pass. ``InternalError`` includes a database that is read-only for a while, as during a failover."""

_CONTENTION = {"40001", "40P01", "55P03", 1205, 1213, "database is locked", "database table is locked"}
"""Serialization failures, deadlocks and lock timeouts of PostgreSQL, MariaDB and SQLite."""
_REFUSALS = {"P0001", 1366, 1644}
"""Besides ``IntegrityError`` and ``DataError``: triggers that raise, and a character that MariaDB can't store."""
_SECONDS_FOR_LOCKS = 5
_LOCK_TIMEOUTS = {
    "postgresql": (f"SET LOCAL lock_timeout = '{_SECONDS_FOR_LOCKS}s'", ""),
    "mysql": (
        f"SET @orq = COALESCE(@orq, @@innodb_lock_wait_timeout), innodb_lock_wait_timeout = {_SECONDS_FOR_LOCKS}",
        "SET innodb_lock_wait_timeout = CAST(COALESCE(@orq, @@innodb_lock_wait_timeout) AS UNSIGNED), @orq = NULL",
    ),
}
"""Statements that begin and end a limit of the time that a transaction waits for locks. SQLite has its own.

They may be nested: a receiver that runs after the commit can begin a transaction before the first one's limit ends.
"""


def write_database() -> str:
    """The alias of the database that the mirror is written to."""
    alias: str = router.db_for_write(Conversation)
    return alias


def leave_broken_connection() -> None:
    """Close the connection after a failure if it is no longer usable, so that the next statement opens a new one.

    Call it after an interruption, too: a statement may have been under way. Does nothing inside a transaction of the
    caller, who has to end it first.
    """
    connection = connections[write_database()]
    if not connection.in_atomic_block:
        connection.errors_occurred = True  # Django does not know of interruptions, and would not check
        connection.close_if_unusable_or_obsolete()


@contextmanager
def short_transaction() -> Iterator[BaseDatabaseWrapper]:
    """A transaction that waits at most five seconds for each lock.

    Inside a transaction of the caller it is a savepoint, without this limit.
    """
    connection = connections[write_database()]
    begin, end = ("", "") if connection.in_atomic_block else _LOCK_TIMEOUTS.get(connection.vendor, ("", ""))
    try:
        with transaction.atomic(using=write_database()):
            if begin:
                connection.cursor().execute(begin)
            yield connection
    finally:
        with suppress(DatabaseError):  # the connection may be lost; the error that says so is being raised already
            if end:
                connection.cursor().execute(end)


def locked(rows: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """The rows, locked in the order in which all writers lock them, without blocking new references to them."""
    no_key = connections[write_database()].features.has_select_for_no_key_update
    return rows.select_for_update(no_key=no_key).order_by("remote_id")


def is_contention(error: db.Error) -> bool:
    """Whether another writer was in the way, so that the same work is likely to succeed at the next attempt."""
    return _code(error) in _CONTENTION


def is_refusal(error: DatabaseError) -> bool:
    """Whether the database refused a value: a constraint, a trigger, or a character that it can't store."""
    return isinstance(error, (db.IntegrityError, db.DataError)) or _code(error) in _REFUSALS


def reason_of(error: DatabaseError) -> str:
    """The first line of the error, in English; the lines below it may contain the values of the row."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _code(error: db.Error) -> object:
    """PostgreSQL's SQLSTATE, MariaDB's number, or SQLite's message."""
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return state or (error.args[0] if error.args else None)


def all_rows() -> QuerySet[Conversation]:
    """All conversations, in a query set that can write them; the model's manager returns one that refuses to."""
    return QuerySet(Conversation, using=write_database())


def kept_rows(workspace: str) -> QuerySet[Conversation]:
    """The conversations of a workspace that are not tombstones."""
    return all_rows().filter(workspace=workspace, deleted_at=None)


def all_runs() -> QuerySet[SyncRun]:
    return SyncRun.objects.using(write_database())


def all_operations() -> QuerySet[Operation]:
    return Operation.objects.using(write_database())


def all_items() -> QuerySet[OperationItem]:
    """The items of all operations."""
    return OperationItem.objects.using(write_database())


def all_payloads() -> QuerySet[RejectedPayload]:
    """All rejected payloads."""
    return RejectedPayload.objects.using(write_database())


def all_waits() -> QuerySet[WorkspaceWait]:
    return WorkspaceWait.objects.using(write_database())


_QUERIES = {"mysql": "SELECT UTC_TIMESTAMP(6)", "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'"}


class DatabaseClock:
    """The database's clock, read once and then continued with this machine's monotonic clock.

    The database read its clock at some moment between our query and its answer, so each time has two bounds: a
    request was sent at ``now`` or later, and an answer arrived at ``latest`` or earlier. Comparing these bounds across
    processes can make an answer look older than it is, never newer.
    """

    # Attributes of a class, because freezegun does not replace these: it would freeze both, but not in all threads.
    monotonic = staticmethod(time.monotonic)
    machine_time = staticmethod(datetime.now)

    def __init__(self, using: str) -> None:
        connections[using].ensure_connection()  # first, so that connecting does not widen the bounds
        self._asked = self.monotonic()
        self._base = _read(using)
        self._answered = self.monotonic()

    def now(self) -> datetime:
        """The lower bound of the current time, aware, UTC."""
        return self._base + timedelta(seconds=self.monotonic() - self._answered)

    def latest(self) -> datetime:
        """The upper bound of the current time, aware, UTC."""
        return self._base + timedelta(seconds=self.monotonic() - self._asked)


def _read(using: str) -> datetime:
    connection = connections[using]
    if connection.vendor not in _QUERIES:  # SQLite uses the clock of this machine
        return DatabaseClock.machine_time(UTC)
    with connection.cursor() as cursor:
        cursor.execute(_QUERIES[connection.vendor])
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def never_atomic(view: Callable[..., Any]) -> None:
    """Exempt this view from ``ATOMIC_REQUESTS`` on every database."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)

"""The database's clock: the one that all times of ours are compared on, whichever process wrote them."""

import time
from datetime import UTC, datetime, timedelta

from django.db import connections

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
    question = _QUESTIONS.get(connection.vendor)
    if question is None:  # SQLite has no clock but the machine's
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(question)
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

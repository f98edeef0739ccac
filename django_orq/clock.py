"""The database's clock: the one that all times of ours are compared on, whichever process wrote them."""

import time
from datetime import UTC, datetime, timedelta

from django.db import connections

_QUESTIONS = {
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
}


class DatabaseClock:
    """One read of the database's clock, carried on by this machine's monotonic one."""

    def __init__(self, using: str) -> None:
        self._started = time.monotonic()
        self._base = _read(using)

    def now(self) -> datetime:
        """Aware, UTC."""
        return self._base + timedelta(seconds=time.monotonic() - self._started)


def _read(using: str) -> datetime:
    connection = connections[using]
    question = _QUESTIONS.get(connection.vendor)
    if question is None:  # SQLite has no clock but the machine's
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(question)
        moment: datetime = cursor.fetchone()[0]
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

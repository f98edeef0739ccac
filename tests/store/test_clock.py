import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from django_orq.store import database
from django_orq.store.database import DatabaseClock

pytestmark = pytest.mark.django_db


def test_clock_is_aware_and_in_utc():
    moment = DatabaseClock("default").now()

    assert moment.utcoffset() == timedelta(0)
    assert abs(moment - datetime.now(UTC)) < timedelta(seconds=5)


def test_clock_goes_forward():
    ours = DatabaseClock("default")
    moments = [ours.now() for _time in range(100)]

    assert moments == sorted(moments)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has no clock but the machine's")
def test_clock_is_read_from_the_database_once(statements):
    with statements() as executed:
        ours = DatabaseClock("default")
        ours.now()
        ours.now()

    assert len(executed) == 1


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite keeps no session time zone")
def test_time_zone_of_the_database_session_does_not_matter():
    with connection.cursor() as cursor:
        cursor.execute({"mysql": "SET time_zone = '+09:00'"}.get(connection.vendor, "SET TIME ZONE 'Asia/Tokyo'"))
    try:
        assert abs(DatabaseClock("default").now() - datetime.now(UTC)) < timedelta(seconds=5)
    finally:
        connection.close()


def test_times_enclose_the_true_one_however_slow_the_database_is(monkeypatch):
    """A request is not dated too late, nor a response too early."""
    read = database._read
    lag = timedelta(seconds=0.2)

    def slow(using: str) -> datetime:
        time.sleep(lag.total_seconds())
        moment = read(using)
        time.sleep(lag.total_seconds())
        return moment

    monkeypatch.setattr(database, "_read", slow)
    ours = DatabaseClock("default")
    true = read("default")

    assert ours.now() - timedelta(seconds=0.05) <= true <= ours.latest()
    assert ours.latest() - ours.now() >= 2 * lag

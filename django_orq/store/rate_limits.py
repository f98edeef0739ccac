"""Limits that all users of a workspace's key share: Orq's Retry-After, and the pace of background work."""

import time
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from ..conf import MAX_SLEEP, Workspace
from ..exceptions import MustWait, OrqError, Problem
from .database import DatabaseClock, all_waits

MAX_WAIT = timedelta(hours=1)
_AHEAD = 2 * MAX_WAIT
"""A wait that ends later was stored while the database's clock was ahead, and is over."""


def check(workspace: str, *, operation: str, clock: DatabaseClock) -> None:
    """Raise ``MustWait`` as long as a Retry-After that Orq sent is in force."""
    now = clock.now()
    in_force = all_waits().filter(workspace=workspace, until__range=(now, now + _AHEAD))
    if until := in_force.values_list("until", flat=True).first():
        time_of_day = f"{until.astimezone(UTC):%H:%M:%S}"
        raise MustWait(operation=operation, time=time_of_day, retry_after=(until - now).total_seconds())


def record_retry_after(workspace: str, error: OrqError, *, clock: DatabaseClock) -> None:
    """Store the error's Retry-After, if it has one, for all users of the workspace: at most an hour."""
    if error.retry_after is None or isinstance(error, MustWait):
        return
    until = clock.now() + min(timedelta(seconds=min(error.retry_after, 86_400)), MAX_WAIT)
    wait, _created = all_waits().get_or_create(workspace=workspace)
    all_waits().filter(Q(until=None) | Q(until__lt=until), pk=wait.pk).update(until=until)


def acquire(workspace: str, *, per_minute: float, patience: float, clock: DatabaseClock) -> datetime:
    """Reserve the next slot for a request of background work, and return its time.

    There are ``per_minute`` slots a minute. One that is more than ``patience`` seconds away is returned but not
    reserved.
    """
    interval = timedelta(seconds=60 / per_minute)
    while True:
        wait, _created = all_waits().get_or_create(workspace=workspace)
        now = clock.now()
        if (slot := max(now, wait.next_slot_at or now)) > now + _AHEAD:
            slot = now
        if slot - now > timedelta(seconds=patience):
            return slot
        if all_waits().filter(pk=wait.pk, next_slot_at=wait.next_slot_at).update(next_slot_at=slot + interval):
            return slot


def keep_pace(workspace: Workspace, *, clock: DatabaseClock) -> None:
    """Sleep until ``REQUESTS_PER_MINUTE`` allows the next request.

    Raises a ``Problem`` with the code ``pace_kept`` if that would take longer than ``MAX_SLEEP`` seconds.
    """
    if workspace.requests_per_minute is None:
        return
    slot = acquire(workspace.alias, per_minute=workspace.requests_per_minute, patience=MAX_SLEEP, clock=clock)
    if (seconds := (slot - clock.now()).total_seconds()) > MAX_SLEEP:
        raise Problem("pace_kept", seconds=seconds)
    time.sleep(max(0.0, seconds))

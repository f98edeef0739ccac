"""While Orq asks to wait, workers do other work."""

import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from django_orq.models import SyncRun, WorkspaceWait
from django_orq.testing import OrqSandbox

from ..programs import wait_until

LATENESS = 4.0
"""Seconds for the delivery of a message, or beat's next call, and the work of two busy child processes."""


class Remote:
    """A sandbox that rejects the first request, and records when each arrived (Unix seconds)."""

    def __init__(self, sandbox, headers):
        self.sandbox = sandbox
        self.asked_at = []
        sandbox.add("A")
        sandbox.fail("list", status=429, headers=headers)
        sandbox.on_request = self._note

    def _note(self, operation, phase):
        if phase == "before":
            self.asked_at.append(time.time())


def run_of(workspace):
    return SyncRun.objects.filter(workspace=workspace).order_by("pk").first()


def has_succeeded(workspace):
    return run_of(workspace).state == "succeeded"


@pytest.fixture
def date():
    """A whole second shortly after the workers have begun."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=12)


@pytest.fixture
def remotes(date):
    headers = {
        "seconds": {"Retry-After": "2"},
        "date": {"Retry-After": format_datetime(date, usegmt=True)},
        "day": {"Retry-After": "86400"},
        "nothing": {},
    }
    with ExitStack() as stack:
        yield {name: Remote(stack.enter_context(OrqSandbox()), headers[name]) for name in headers}


@pytest.fixture
def fleet(new_fleet, remotes):
    return new_fleet({name: remote.sandbox.settings()["default"] for name, remote in remotes.items()})


def test_no_worker_sleeps_and_each_run_goes_on_when_its_time_has_come(fleet, remotes, date):
    with fleet.worker() as worker, fleet.beat():
        for name in ("seconds", "date", "nothing"):
            assert wait_until(lambda name=name: run_of(name) and has_succeeded(name)), worker.text
        day = run_of("day")
        assert (day.state, day.wait, len(remotes["day"].asked_at)) == ("waiting", "retry_after", 1)
        assert 3590 < day.resume_at.timestamp() - remotes["day"].asked_at[0] < 3610
        until = WorkspaceWait.objects.get(workspace="day").until
        assert abs(until - day.resume_at) < timedelta(seconds=1)

        now = datetime.now(UTC)
        SyncRun.objects.filter(pk=day.pk).update(resume_at=now)
        WorkspaceWait.objects.filter(workspace="day").update(until=now)
        assert wait_until(lambda: has_succeeded("day"), within=LATENESS), worker.text

    left_alone = {name: remote.asked_at[1] - remote.asked_at[0] for name, remote in remotes.items()}
    assert 2 <= left_alone["seconds"] < 2 + LATENESS
    assert 4 <= left_alone["nothing"] < 5 + LATENESS
    assert 0 <= remotes["date"].asked_at[1] - date.timestamp() < LATENESS
    tasks = [float(seconds) for seconds in re.findall(r"\] succeeded in ([\d.]+)s", worker.text)]
    assert len(tasks) > len(remotes)
    assert max(tasks) < 5
    assert "raised unexpected" not in worker.text

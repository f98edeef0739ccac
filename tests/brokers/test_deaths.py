"""Workers that are killed, or suspended for too long, in the middle of a run."""

import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

from django_orq.models import SyncRun
from django_orq.sync.slices import MAX_CRASHES
from django_orq.testing import OrqSandbox

from ..programs import wait_until
from ..walking import full_run, mirror_equals
from .fleet import exists

KILLS = 10
LONGEST_LIFE = 0.4
"""Maximum seconds before a worker is killed. The run must last longer than ten of them."""


@pytest.fixture
def only_run():
    """The first run that beat requested, in its current state."""

    def read():
        return SyncRun.objects.order_by("pk").first()

    return read


def holder_of(run, ledger):
    """The process that claimed the run, dead or alive."""
    return ledger.holder(run.token) if run is not None and run.token else None


def living_holder(only_run, ledger):
    pid = holder_of(only_run(), ledger)
    return pid if pid is not None and exists(pid) else None


def kill_holder(only_run, ledger):
    """Send SIGKILL at a random moment; return whether the process held the run.

    Only so often in a row without a checkpoint that the run does not give up.
    """
    assert wait_until(lambda: living_holder(only_run, ledger)), f"no worker is processing the run: {only_run()!r}"
    if only_run().crashes >= MAX_CRASHES - 2:
        assert wait_until(lambda: only_run().crashes == 0), "the run saves no checkpoint"
    time.sleep(random.uniform(0, LONGEST_LIFE))  # noqa: S311 # no secret
    pid = living_holder(only_run, ledger)
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not exists(pid) and not ledger.is_connected(pid))
    return ledger.held_a_run(pid)


def work_on_and_kill(fleet, only_run, ledger, sandbox):
    """Let the fleet work on a run until its end, kill ``KILLS`` of its workers, and return how many were tried."""
    with fleet.worker() as worker, fleet.beat():
        struck = tried = 0
        while struck < KILLS:
            tried += 1
            struck += kill_holder(only_run, ledger)
        assert not only_run().is_finished, "the run ended before it was killed often enough"
        sandbox.latency = 0
        assert wait_until(lambda: only_run().is_finished, within=180), worker.text
    assert worker.text.count("Worker exited prematurely: signal 9") >= KILLS
    return tried


def cursors_of_first_run(requests):
    """The requested cursors up to the next run that beat requests, which begins at the head again."""
    cursors = [request.query.get("starting_after") for request in requests if request.operation == "list"]
    last_page = cursors.index(min(filter(None, cursors)))
    return cursors[: cursors.index(None, last_page) if None in cursors[last_page:] else None]


def test_first_sync_is_whole_after_ten_of_its_workers_were_killed(new_fleet, ledger, only_run):
    with OrqSandbox(conversations=60_000, latency=0.02) as sandbox:
        tried = work_on_and_kill(new_fleet(sandbox.settings()), only_run, ledger, sandbox)
        asked = Counter(cursors_of_first_run(sandbox.requests))

        run = only_run()
        assert run.state == "succeeded"
        assert (run.seen, run.created, run.pages) == (60_000, 60_000, 600)
        assert (run.updated, run.unchanged, run.missing, run.rejected) == (0, 0, 0, 0)
        # A batch of ten pages that were not written yet, and one that was under way.
        assert 600 <= asked.total() <= 600 + 11 * tried
        assert max(asked.values()) <= 1 + tried
        assert 600 <= run.requests <= sandbox.count()  # besides the pages, a question for each slice's first one
        assert sum(ledger.inserted()) == 60_000
        assert max(ledger.inserted()) <= 1_000
        assert ledger.changed() == 0
        assert mirror_equals(sandbox)


def test_full_run_of_four_readers_is_exact_after_ten_of_its_workers_were_killed(new_fleet, ledger, only_run):
    with OrqSandbox(conversations=20_000) as sandbox:
        options = sandbox.settings()["default"] | {"READERS": 4}
        fleet = new_fleet({"default": options})
        full_run().delete()
        ledger.forget()
        ids = [conversation["_id"] for conversation in sandbox.conversations]
        for number in range(0, 20_000, 100):
            sandbox.rename(ids[number], f"Renamed {number}")
        for number in range(50, 20_000, 200):
            sandbox.remove(ids[number])
        for number in range(300):
            sandbox.add(f"New {number}")
        sandbox.clear_requests()
        sandbox.latency = 0.12

        tried = work_on_and_kill(fleet, only_run, ledger, sandbox)
        asked = sandbox.count("list")

        run = only_run()
        assert run.state == "succeeded"
        assert len(run.intervals) == 4
        assert (run.seen, run.created, run.updated, run.unchanged) == (20_200, 300, 200, 19_700)
        assert (run.missing, run.tombstoned, run.unlisted, run.rejected, run.skipped) == (100, 100, 0, 0, 0)
        assert 202 <= run.pages <= 202 + 4  # a page in which an interval ends also belongs to the next one
        assert run.pages <= asked <= run.pages + 4 * 11 * tried
        assert sum(ledger.inserted()) == 300
        assert (
            ledger.changed() == 200 + 2 * 100
        )  # a rename once; a deletion when it is missed and when it is confirmed
        assert mirror_equals(sandbox)


class Gate:
    """Holds a request back before it is handled."""

    def __init__(self, *, number):
        self.reached, self.opened = threading.Event(), threading.Event()
        self._left = number

    def __call__(self, operation, phase):
        if operation == "list" and phase == "before":
            self._left -= 1
            if self._left == 0:
                self.reached.set()
                self.opened.wait(30)


def test_walker_that_slept_beyond_its_lease_writes_nothing(new_fleet, ledger, only_run):
    with OrqSandbox(conversations=1_500, latency=0.1) as sandbox:
        sandbox.on_request = gate = Gate(number=4)
        fleet = new_fleet(sandbox.settings())
        with fleet.worker() as worker, fleet.beat():
            assert gate.reached.wait(20), worker.text
            asleep = only_run()
            pid = holder_of(asleep, ledger)
            os.kill(pid, signal.SIGSTOP)
            gate.opened.set()  # the answer comes while it sleeps
            written = ledger.writes(asleep.token, by=pid)
            try:
                assert wait_until(lambda: only_run().pages > asleep.pages), worker.text
            finally:
                os.kill(pid, signal.SIGCONT)
            assert wait_until(lambda: "lease expired or taken" in worker.text), worker.text
            assert wait_until(lambda: only_run().is_finished), worker.text
        asked = Counter(cursors_of_first_run(sandbox.requests))

        run = only_run()
        assert (run.state, run.pages, run.seen, run.created) == ("succeeded", 15, 1_500, 1_500)
        assert ledger.writes(asleep.token, by=pid) == written
        assert asked[asleep.intervals[0]["cursor"]] == 2
        assert asked.total() <= 15 + 11
        assert sum(ledger.inserted()) == 1_500
        assert ledger.changed() == 0
        assert mirror_equals(sandbox)

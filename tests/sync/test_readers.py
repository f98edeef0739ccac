"""Several readers: the list is cut into intervals, and their pages arrive in any order."""

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
from django.db import connection

from django_orq import mirror as verbs
from django_orq.exceptions import RateLimited, ServerError
from django_orq.models import Conversation, SyncRun, WorkspaceWait
from django_orq.payloads import Page
from django_orq.service import ConversationService
from django_orq.store import rate_limits
from django_orq.store.database import DatabaseClock
from django_orq.sync import claim, intervals, readers, runs, slices
from django_orq.testing import OrqSandbox

from ..threads import in_thread
from ..triggers import written_rows
from ..walking import configure, fill, full_run, incremental_run, let_the_wait_pass, mirror_equals

pytestmark = pytest.mark.django_db
COUNT = 300


@pytest.fixture
def ids(remote, settings, monkeypatch) -> list[str]:
    """300 mirrored conversations, newest first, in pages of ten, to be read by four readers."""
    monkeypatch.setattr(intervals, "MIN_ROWS", 100)
    monkeypatch.setattr(intervals, "NEARBY", 10)
    configure(settings, PAGE_SIZE=10, READERS=4)
    ids = fill(remote, COUNT)
    full_run()
    remote.clear_requests()
    return ids


def cuts(run: SyncRun) -> list[str]:
    return [interval["below"] for interval in run.intervals[1:]]


def counters(run: SyncRun) -> dict[str, int]:
    names = ("created", "updated", "unchanged", "missing", "tombstoned", "unlisted", "rejected", "outdated")
    return {name: getattr(run, name) for name in names if getattr(run, name)}


def test_intervals_cover_the_list_without_overlap(ids):
    found = intervals.cut("default", 4)

    assert [sum(map(interval.holds, ids)) for interval in found] != [COUNT]
    assert all(sum(interval.holds(id_) for interval in found) == 1 for id_ in ids)
    assert all(sum(map(interval.holds, ids)) > COUNT / 10 for interval in found)


def test_small_mirror_and_first_run_are_read_in_one_interval(remote, settings):
    configure(settings, READERS=4)
    fill(remote, 20)

    assert len(full_run().intervals) == 1
    assert len(full_run().intervals) == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_read_twice_but_the_pages_at_the_cuts_and_nothing_is_written(remote, ids):
    with written_rows() as count:
        run = full_run()
        assert count() == 0

    assert (run.state, run.seen, counters(run)) == ("succeeded", COUNT, {"unchanged": COUNT})
    assert len(run.intervals) == 4
    assert 30 <= remote.count("list") <= 30 + 3


def test_requests_of_all_readers_are_under_way_at_once(remote, ids):
    arrivals, all_four = itertools.count(), threading.Barrier(4)

    def meet(_operation: str | None, phase: str) -> None:
        if phase == "before" and next(arrivals) < 4:
            all_four.wait(timeout=20)  # raises if they do not come

    remote.on_request = meet

    assert full_run().state == "succeeded"
    assert next(arrivals) > 4
    assert not all_four.broken


def test_changes_everywhere_are_counted_exactly(remote, ids):
    for id_ in ids[5::50]:
        remote.rename(id_, "Renamed")
    for id_ in ids[7::50]:
        remote.remove(id_)
    remote.hidden = {ids[9], ids[209]}
    remote.add("New")

    run = full_run()

    # 286: without 6 renamed, 6 deleted and 2 hidden ones
    expected = {"created": 1, "updated": 6, "unchanged": 286, "missing": 8, "tombstoned": 6, "unlisted": 2}
    assert (run.state, counters(run)) == ("partial", expected)
    assert (run.seen, Conversation.objects.live().count()) == (293, 295)


@pytest.mark.parametrize("answer", ["404", "400", "empty", "first_page"])
@pytest.mark.parametrize("what", ["removed", "hidden"])
def test_cut_whose_conversation_vanished_is_stepped_over(remote, ids, answer, what):
    remote.unknown_cursor = answer
    run = _begun(remote)
    gone = cuts(run)
    if what == "removed":
        for id_ in gone:
            remote.remove(id_)
    else:
        remote.hidden = {*gone}

    run = full_run()

    changed = {"tombstoned": 3} if what == "removed" else {"unlisted": 3}
    assert counters(run) == {"unchanged": COUNT - 3, "missing": 3} | changed
    assert run.state == ("succeeded" if what == "removed" else "partial")


def _begun(remote: Any) -> SyncRun:
    """A full run that has been cut, and has read nothing yet."""
    remote.fail("list", times=4, status=503)
    run = full_run()
    assert (run.pages, len(run.intervals)) == (0, 4)
    remote.clear_faults()
    let_the_wait_pass()
    return run


class TestInnerEnd:
    """A page of an inner interval says that the list ends there."""

    def claim_the_end(self, remote: Any, ids: list[str], times: int) -> None:
        left = [times]

        def transform(answer: dict[str, Any]) -> dict[str, Any]:
            shown = {item["_id"] for item in answer["data"]}
            if ids[100] in shown and left[0]:
                left[0] -= 1
                return answer | {"has_more": False}
            return answer

        remote.transform_list = transform

    def test_is_requested_once_more(self, remote, ids):
        self.claim_the_end(remote, ids, 1)

        run = full_run()

        assert (run.state, counters(run)) == ("succeeded", {"unchanged": COUNT})

    def test_that_lasts_needs_approval_before_anything_is_deleted(self, remote, ids):
        self.claim_the_end(remote, ids, 100)

        run = full_run()

        assert (run.state, run.needs_approval, run.tombstoned) == ("partial", "mass_delete", 0)
        assert run.ended_early
        assert remote.count("retrieve") == 0


def test_retry_after_stops_all_readers(remote, ids):
    remote.fail("list", after=8, status=429, headers={"Retry-After": "30"})

    run = full_run()

    assert (run.state, run.wait) == ("waiting", "retry_after")
    assert remote.count("list") <= 9 + 2 * 3  # under way, or answered before
    assert WorkspaceWait.objects.get().until > datetime.now(UTC)
    let_the_wait_pass()
    assert counters(full_run()) == {"unchanged": COUNT}


def be_told_to_wait(remote: Any, seconds: float) -> None:
    """Another request to Orq, such as one of the admin's, is answered with 429."""
    remote.fail("retrieve", status=429, headers={"Retry-After": str(seconds)})
    with pytest.raises(RateLimited):
        verbs.refresh_conversation(Conversation.objects.latest("pk"))


def test_no_reader_starts_a_request_while_others_were_told_to_wait(remote, ids, settings):
    """Neither later than a second after that was stored, nor before the wait is over, whichever run it is for."""
    configure(settings, PAGE_SIZE=2)
    remote.latency = 0.1
    sent: list[float] = []
    told: list[float] = []

    def note(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("list", "before"):
            sent.append(time.monotonic() - remote.latency)

    def on_progress(_run: SyncRun) -> None:
        if len(sent) > 10 and not told:
            be_told_to_wait(remote, 3)
            told.append(time.monotonic())

    remote.on_request = note
    run = runs.open_run("default", "full")
    slices.run_slice(run.pk, on_progress=on_progress)
    run.refresh_from_db()
    assert (run.state, run.wait) == ("waiting", "retry_after")
    assert max(sent) < told[0] + claim.SECONDS_BETWEEN_CHECKS + 0.5
    sent.clear()

    until = WorkspaceWait.objects.get().until
    assert incremental_run().wait == "retry_after"
    while slices.run_slice(run.pk) is None:
        assert not sent
        time.sleep(0.05)
    assert datetime.now(UTC) - timedelta(seconds=time.monotonic() - min(sent)) >= until
    assert counters(full_run()) == {"unchanged": COUNT}


def test_wait_is_looked_up_again_after_the_sleep_for_a_slot(remote, ids, settings, monkeypatch):
    configure(settings, REQUESTS_PER_MINUTE=12)
    monkeypatch.setattr(claim, "SECONDS_BETWEEN_CHECKS", 0.1)

    def sleep(seconds: float) -> None:
        if seconds > 1:
            be_told_to_wait(remote, 60)
            time.sleep(0.2)

    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(sleep=sleep))
    run = full_run()

    assert (run.wait, remote.count("list")) == ("retry_after", 1)


def test_slow_pace_never_fails_a_run(remote, ids, settings, monkeypatch):
    configure(settings, REQUESTS_PER_MINUTE=12)
    monkeypatch.setattr(rate_limits, "MAX_SLEEP", 0.1)
    for _slice in range(40):
        run = full_run()
        if run.state != "waiting":
            break
        assert run.wait == "pace"
        let_the_wait_pass()

    assert (run.state, counters(run)) == ("succeeded", {"unchanged": COUNT})


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite's memory cannot be used by two connections at once")
def test_pace_holds_for_all_processes_together(settings):
    slots: list[datetime] = []

    def acquire() -> None:
        clock = DatabaseClock("default")
        slots.extend(rate_limits.acquire("default", per_minute=600, patience=60, clock=clock) for _ in range(10))

    for thread in [in_thread(acquire) for _process in range(4)]:
        thread.join()

    slots.sort()
    assert len(slots) == 40
    assert min(later - earlier for earlier, later in itertools.pairwise(slots)) >= timedelta(seconds=0.1)


def test_pace_holds_for_all_readers_together(remote, ids, settings):
    configure(settings, REQUESTS_PER_MINUTE=1_200)
    started = time.monotonic()

    assert full_run().state == "succeeded"
    assert time.monotonic() - started >= (remote.count("list") - 1) * 60 / 1_200


def test_interval_that_fails_does_not_keep_the_others_from_advancing(remote, ids, monkeypatch):
    bad = cuts(_begun(remote))[1]
    real = ConversationService.list

    def fail(self: ConversationService, *, starting_after: str | None = None, **arguments: Any) -> Any:
        if starting_after == bad:
            raise ServerError(operation="list", status=503, headers={}, body="")
        return real(self, starting_after=starting_after, **arguments)

    with monkeypatch.context() as patched:
        patched.setattr(ConversationService, "list", fail)
        for _slice in range(20):
            run = full_run()
            assert (run.state, run.error_code) == ("waiting", "server_error")
            let_the_wait_pass()
    assert [interval["done"] for interval in run.intervals] == [True, True, False, True]

    assert counters(full_run()) == {"unchanged": COUNT}


def test_every_ninth_request_fails_and_the_run_ends(remote, ids, settings):
    configure(settings, RETRIES={"attempts": 3, "initial_interval": 0.01})
    for number in range(8, 60, 9):
        remote.fail("list", after=number, status=502)

    run = full_run()
    if (
        run.state == "waiting"
    ):  # the requests of several readers may come in an order in which one page fails each time
        let_the_wait_pass()
        run = full_run()
    assert counters(run) == {"unchanged": COUNT}


def test_pages_that_take_longer_than_a_slice(remote, ids, settings):
    configure(settings, SLICE_SECONDS=0.01)
    remote.latency = 0.02

    run = full_run()

    assert (run.state, counters(run)) == ("succeeded", {"unchanged": COUNT})


def test_request_whose_headers_never_come_counts_as_timed_out(remote, ids, monkeypatch):
    monkeypatch.setattr(readers, "PATIENCE", 0.3)
    remote.latency = 2
    started = time.monotonic()

    run = full_run()

    assert (run.state, run.error_code) == ("waiting", "transport_error")
    assert time.monotonic() - started < 2
    remote.latency = 0
    monkeypatch.undo()
    let_the_wait_pass()
    assert full_run().state == "succeeded"


def test_change_of_readers_leaves_a_cut_run_as_it_is(remote, ids, settings):
    run = _begun(remote)
    configure(settings, READERS=1)

    assert cuts(full_run()) == cuts(run)
    assert mirror_equals(remote)


def test_slice_ends_with_all_that_was_received(remote, ids):
    run = runs.open_run("default", "full")

    slices.run_slice(run.pk, seconds=0.000_001)

    run.refresh_from_db()
    assert (run.pages, run.unchanged, remote.count("list")) == (4, 40, 4)
    assert full_run().unchanged == COUNT


def test_retry_after_that_arrives_while_a_slice_ends_is_kept(remote, ids, settings):
    configure(settings, READERS=4)
    run = runs.open_run("default", "full")
    remote.fail("list", after=1, times=3, status=429, headers={"Retry-After": "600"})

    slices.run_slice(run.pk, seconds=0.000_001)

    assert (WorkspaceWait.objects.get().until - datetime.now(UTC)).total_seconds() > 500


def test_answers_that_have_arrived_do_not_count_as_timed_out(remote, ids, monkeypatch):
    """As when the slice's thread was busy writing for longer than a request may take."""
    monkeypatch.setattr(readers, "PATIENCE", 0.5)
    real = readers.Readers.poll

    def poll_when_all_have_arrived(self: readers.Readers) -> readers.Request | None:
        time.sleep(0.6 if remote.count("list") == 4 else 0)
        return real(self)

    monkeypatch.setattr(readers.Readers, "poll", poll_when_all_have_arrived)

    assert counters(full_run()) == {"unchanged": COUNT}


def test_workspace_is_swapped_for_one_interval(remote, ids):
    """Pages of another workspace in the middle of the list are not stored, whatever the other intervals read."""
    with OrqSandbox(conversations=30) as other:
        foreign = other.conversations[:10]

        def transform(answer: dict[str, Any]) -> dict[str, Any]:
            shown = {item["_id"] for item in answer["data"]}
            if ids[120] in shown:
                remote.locked_out = True
                return answer | {"data": foreign}
            return answer

        remote.transform_list = transform
        run = full_run()

    assert (run.state, run.needs_approval) == ("failed", "workspace_doubted")
    assert not Conversation.objects.filter(remote_id__in=[item["_id"] for item in foreign]).exists()
    assert Conversation.objects.deleted().count() == 0


def test_threads_are_started_only_for_requests_that_are_under_way_at_once(remote, settings, monkeypatch):
    started = []
    real = readers.Readers._read
    monkeypatch.setattr(readers.Readers, "_read", lambda self: (started.append(self), real(self)))
    configure(settings, PAGE_SIZE=10, READERS=4)
    fill(remote, 100)

    full_run()

    assert len(started) == 1


def test_page_is_not_kept_by_the_thread_that_read_it(remote, ids, monkeypatch):
    pages: list[ref[Page]] = []
    real_list, real_close = ConversationService.list, readers.Readers.close

    def remember(service: ConversationService, **options: Any) -> Page:
        page = real_list(service, **options)
        pages.append(ref(page))
        return page

    def close(self: readers.Readers) -> None:
        assert not any(page() for page in pages)
        real_close(self)

    monkeypatch.setattr(ConversationService, "list", remember)
    monkeypatch.setattr(readers.Readers, "close", close)

    assert counters(full_run()) == {"unchanged": COUNT}
    assert pages

"""Pages are written in batches: what ends one, what is skipped, and what other writers may do meanwhile."""

import itertools
import json
import math
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import OperationalError, connection, transaction

from django_orq import mirror as verbs, payloads, tasks
from django_orq.conf import get_workspace
from django_orq.models import Conversation, SyncRun
from django_orq.store import database
from django_orq.sync import batches, claim, runs, slices, walk

from ..threads import in_thread
from ..triggers import written_rows
from ..values import set_columns
from ..walking import configure, fill, full_run, let_the_wait_pass, mirror_equals

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(remote, settings, monkeypatch) -> list[str]:
    """300 conversations, newest first, in pages of ten; Orq is never slow, however slow this machine is."""
    monkeypatch.setattr(batches, "SLOW", math.inf)
    configure(settings, PAGE_SIZE=10)
    return fill(remote, 300)


def checkpoints(run: SyncRun | None = None) -> list[int]:
    """The pages that were written after each request of a run."""
    seen: list[int] = []
    run = run or runs.open_run("default", "full")
    while slices.run_slice(run.pk, on_progress=lambda now: seen.append(now.pages)) is not None:
        pass
    return seen


def test_first_page_of_a_slice_is_written_at_once_and_then_ten_at_a_time(remote, ids):
    assert checkpoints() == [*[1] * 10, *[11] * 10, *[21] * 9, 30]
    assert mirror_equals(remote)


def test_batch_ends_after_a_second_of_reading(remote, ids, monkeypatch):
    monkeypatch.setattr(batches, "MAX_SECONDS", 0)

    assert checkpoints() == list(range(1, 31))


def test_batch_is_written_while_a_slow_page_is_waited_for(remote, ids, monkeypatch):
    monkeypatch.setattr(batches, "MAX_SECONDS", 0.1)
    seen: list[int] = []
    remote.fail("list", after=5, delay=2)
    run = runs.open_run("default", "full")

    slices.run_slice(run.pk, on_progress=lambda now: seen.append(now.pages))

    assert 5 in seen
    assert mirror_equals(remote)


def test_new_rows_are_written_page_by_page_while_orq_takes_longer_than_that(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 100)
    remote.latency = 0.3

    assert checkpoints() == list(range(1, 11))
    assert mirror_equals(remote)


def test_batch_ends_when_its_responses_are_long(remote, ids, monkeypatch):
    monkeypatch.setattr(walk, "MAX_CHARACTERS", 3_000)

    assert len(set(checkpoints())) > 10
    assert mirror_equals(remote)


def test_pages_before_a_failed_request_are_written(remote, ids, settings):
    configure(settings, RETRIES={"attempts": 1})
    remote.fail("list", after=5, status=500)

    run = full_run()

    assert (run.state, run.pages, Conversation.objects.count()) == ("waiting", 5, 50)
    let_the_wait_pass()
    assert full_run().pages == 30
    assert remote.count("list") == 31


@pytest.fixture
def interrupt(monkeypatch) -> Callable[[type[BaseException]], None]:
    """Raises an exception while the sixth answer is waited for."""

    def interrupt(ending: type[BaseException]) -> None:
        real = walk.Readers.poll
        answers = itertools.count(1)

        def next_(self: walk.Readers) -> Any:
            if next(answers) == 6:
                raise ending
            return real(self)

        monkeypatch.setattr(walk.Readers, "poll", next_)

    return interrupt


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_pages_before_an_interruption_are_written(remote, ids, interrupt, ending):
    interrupt(ending)
    run = runs.open_run("default", "full")
    with pytest.raises(ending):
        slices.run_slice(run.pk)

    run.refresh_from_db()
    assert (run.pages, run.token, Conversation.objects.count()) == (5, "", 50)


def test_soft_time_limit_ends_the_slice_and_not_the_run(remote, ids, interrupt, queue):
    interrupt(SoftTimeLimitExceeded)
    run = runs.open_run("default", "full")

    tasks.walk_conversations(run.pk)

    run.refresh_from_db()
    assert (run.state, run.error_code, run.pages, run.lease_until) == ("running", "", 5, None)
    assert full_run().state == "succeeded"
    assert mirror_equals(remote)


def test_page_that_could_not_be_written_is_read_again_before_those_after_it(remote, four_pages):
    """The next page is under way when the write fails: it must not be written, or its checkpoint would skip pages."""
    failed: list[str] = []

    def fail_once(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT" in sql and "django_orq_conversation" in sql and not failed and Conversation.objects.count() == 20:
            failed.append(sql)
            raise OperationalError("disk I/O error")
        return run(sql, params, many, context)

    with connection.execute_wrapper(fail_once):
        run = full_run()
    assert (failed != [], run.state, run.pages) == (True, "waiting", 2)

    let_the_wait_pass()
    run = full_run()
    assert (run.state, run.pages, run.created) == ("succeeded", 4, 35)
    assert mirror_equals(remote)


def test_unchanged_items_are_neither_parsed_nor_compared(remote, ids, monkeypatch):
    full_run()
    monkeypatch.setattr(payloads, "_parse", None)

    run = full_run()

    assert (run.state, run.unchanged, run.updated) == ("succeeded", 300, 0)


def test_new_version_of_the_parser_compares_each_row_once_and_changes_none(remote, ids, monkeypatch):
    full_run()
    times = dict(Conversation.objects.values_list("pk", "mirrored_at"))
    old_fingerprints = dict(Conversation.objects.values_list("pk", "fingerprint"))
    monkeypatch.setattr(payloads, "PAYLOAD_VERSION", 2)

    assert full_run().unchanged == 300
    fingerprints = dict(Conversation.objects.values_list("pk", "fingerprint"))
    assert not fingerprints.items() & old_fingerprints.items()
    assert dict(Conversation.objects.values_list("pk", "mirrored_at")) == times

    monkeypatch.setattr(payloads, "_parse", None)
    assert full_run().unchanged == 300
    assert dict(Conversation.objects.values_list("pk", "fingerprint")) == fingerprints


@pytest.mark.django_db(transaction=True)
def test_rename_from_here_costs_one_write_in_the_next_full_run_and_none_after_that(remote, ids):
    full_run()
    verbs.rename_conversation(Conversation.objects.first(), display_name="From here")
    with written_rows() as count:
        assert full_run().unchanged == 300
        assert count() == 1
        assert full_run().unchanged == 300
        assert count() == 1


def test_batch_that_changes_nothing_is_saved_at_most_once_a_second(remote, ids, statements):
    full_run()
    with statements() as executed:
        run = full_run()

    saved = [sql for sql in executed if sql.startswith("UPDATE") and '"checkpoint"' in sql.replace("`", '"')]
    assert run.pages == 30
    assert len(saved) <= 3 + run.seconds  # the first of the walk, its last, and the confirmation's


def test_checkpoint_that_was_put_off_is_saved_when_the_slice_ends(remote, ids, settings, monkeypatch):
    full_run()
    monkeypatch.setattr(claim, "SECONDS_BETWEEN_CHECKPOINTS", 3_600)
    run = runs.open_run("default", "full")

    pages = itertools.count(1)

    def stop_after_15(_run: SyncRun) -> None:
        if next(pages) == 14:
            monkeypatch.setattr(slices, "time", SimpleNamespace(monotonic=lambda: math.inf))

    slices.run_slice(run.pk, seconds=3_600, on_progress=stop_after_15)

    run.refresh_from_db()
    assert (run.state, run.pages, run.unchanged, run.lease_until) == ("running", 15, 150, None)


@pytest.mark.parametrize("newer_comes", ["last", "first"])
def test_id_on_two_pages_of_a_batch_counts_once_with_its_newer_values(remote, ids, newer_comes):
    """As when a conversation is renamed while the pages are read, or a page comes from a replica that lags behind."""
    full_run()
    (moved, neighbour) = remote.conversations[19], remote.conversations[20]
    renamed = moved | {"displayName": "Renamed", "updatedAt": moved["updatedAt"] + 1_000}
    first, last = (moved, renamed) if newer_comes == "last" else (renamed, moved)

    def twice(answer: dict[str, Any]) -> dict[str, Any]:
        data = [first if item == moved else item for item in answer["data"]]
        return answer | {"data": [last, *data] if data[:1] == [neighbour] else data}

    remote.transform_list = twice
    run = full_run()

    assert (run.seen, run.updated, run.unchanged) == (301, 1, 299)
    assert Conversation.objects.get(remote_id=moved["_id"]).display_name == "Renamed"


def test_item_that_cannot_be_hashed_is_not_taken_for_a_row_without_fingerprint(remote, ids, monkeypatch):
    full_run()
    row = Conversation.objects.get(remote_id=ids[20])
    verbs.rename_conversation(row, display_name="From here")
    assert set_columns(row).fingerprint is None

    real = payloads._canonical

    def canonical(item: Any) -> str:
        if "deep" in item:
            raise RecursionError
        return real(item)

    monkeypatch.setattr(payloads, "_canonical", canonical)
    deep = json.loads("[" * 40 + "]" * 40)
    remote.transform_list = lambda answer: (
        answer | {"data": [item | {"deep": deep} if item["_id"] == ids[20] else item for item in answer["data"]]}
    )
    run = full_run()

    assert (run.state, run.rejected, run.unchanged) == ("partial", 1, 299)


def test_worker_whose_lease_ran_out_writes_nothing_more(remote, ids):
    run = runs.open_run("default", "full")

    def suspend(now: SyncRun) -> None:
        past = now.checkpoint_at - timedelta(hours=1)
        SyncRun.objects.filter(pk=now.pk).update(lease_until=past)

    assert slices.run_slice(run.pk, on_progress=suspend) is None
    assert Conversation.objects.count() == 10
    assert full_run().state == "succeeded"
    assert mirror_equals(remote)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the whole database")
class TestOtherWriters:
    def test_verbs_during_a_batch_are_not_overwritten(self, remote, ids):
        full_run()
        renamed, deleted = Conversation.objects.all()[40:42]
        old = {each["_id"]: dict(each) for each in remote.conversations}
        done: list[str] = []

        def act(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("list", "after") and remote.count("list") == 30 + 7 and not done:
                done.append("once")
                in_thread(lambda: verbs.rename_conversation(renamed, display_name="From here")).join()
                in_thread(lambda: verbs.delete_conversation(deleted)).join()
                in_thread(lambda: verbs.create_conversation(display_name="New")).join()

        remote.on_request = act
        remote.transform_list = lambda answer: answer | {"data": [old.get(one["_id"], one) for one in answer["data"]]}
        run = full_run()

        renamed.refresh_from_db()
        deleted.refresh_from_db()
        assert (renamed.display_name, deleted.state) == ("From here", "deleted")
        assert run.state in ("succeeded", "partial")
        remote.transform_list = None
        assert full_run().state == "succeeded"
        assert mirror_equals(remote)

    def test_two_runs_that_insert_the_same_ids_both_end_well(self, remote, ids):
        other: list[Any] = []

        def start(operation: str | None, phase: str) -> None:
            if phase == "after" and not other:
                other.append(in_thread(lambda: slices.run_slice(runs.open_run("default", "incremental").pk)))

        remote.on_request = start
        run = full_run()
        other[0].join()

        assert run.state == "succeeded"
        assert Conversation.objects.count() == 300
        assert SyncRun.objects.get(mode="incremental").error_code == ""
        assert mirror_equals(remote)

    @pytest.fixture(params=[0.05, pytest.param(5, marks=pytest.mark.volume)], ids=["", "20 s"])
    def seconds_for_locks(self, request, monkeypatch) -> float:
        """How long a statement waits for a lock: with the real time, the three attempts take 15 of 20 s."""
        if request.param < 5:
            timeouts = {
                "postgresql": ("SET LOCAL lock_timeout = '50ms'", ""),
                "mysql": (
                    database._LOCK_TIMEOUTS["mysql"][0].replace("= 5", "= 1"),
                    database._LOCK_TIMEOUTS["mysql"][1],
                ),
            }
            monkeypatch.setattr(database, "_LOCK_TIMEOUTS", timeouts)
        return request.param

    @pytest.mark.parametrize("change", ["rename", "remove", "remove before"])
    def test_row_that_a_project_locks_makes_the_run_wait_and_never_fail(
        self, remote, ids, seconds_for_locks, caplog, change
    ):
        """“remove before”: the row is locked when the walk has marked it as missing, and the run confirms it."""
        full_run()
        if change == "rename":
            remote.rename(ids[0], "Renamed")
        else:
            remote.remove(ids[0])
        if change == "remove before":
            remote.fail("retrieve", status=503)
            assert full_run().phase == "confirm"
            let_the_wait_pass()
        caplog.clear()
        with transaction.atomic():
            started = time.monotonic()
            set_columns(Conversation.objects.get(remote_id=ids[0]), updated_by_id="locked")
            in_thread(full_run).join()
            run = SyncRun.objects.latest("pk")
            assert (run.state, run.wait, run.error_code) == ("waiting", "database", "mirror_contended")
            time.sleep(max(0, 4 * seconds_for_locks - (time.monotonic() - started)))
            days_ago = run.queued_at - timedelta(days=2)
            in_thread(lambda: SyncRun.objects.update(trouble_since=days_ago, resume_at=days_ago)).join()
            in_thread(full_run).join()
            run.refresh_from_db()
            assert (run.state, run.error_code) == ("waiting", "mirror_contended")
        assert "database error" not in caplog.text
        let_the_wait_pass()
        assert full_run() == run
        run.refresh_from_db()
        assert (run.state, run.updated, run.tombstoned) == ("succeeded", change == "rename", change != "rename")
        assert mirror_equals(remote)


def test_checkpoint_that_was_left_to_the_next_batch_is_saved_if_none_comes(remote, monkeypatch):
    run = runs.open_run("default", "full")
    held = claim.Claim.take(run.pk, workspace=get_workspace(), clock=database.DatabaseClock("default"))
    held.save_soon(held.checkpoint(held.clock.now()) | {"seen": 7})
    held.renew_in_time()
    assert SyncRun.objects.get(pk=run.pk).seen == 0

    monkeypatch.setattr(claim, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    held.renew_in_time()

    assert (SyncRun.objects.get(pk=run.pk).seen, held.deferred) == (7, {})

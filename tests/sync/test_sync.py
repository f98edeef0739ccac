import logging
import signal
import time
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, ProgrammingError, connection
from django.db.models import Func, TextField, Value

from django_orq import mirror as verbs
from django_orq.conf import get_workspace
from django_orq.exceptions import AuthenticationFailed, MustWait, Problem, RateLimited
from django_orq.models import Conversation, SyncRun, WorkspaceWait
from django_orq.store import rate_limits
from django_orq.store.database import DatabaseClock
from django_orq.sync import batches, runs, slices
from django_orq.sync.batches import Batch
from django_orq.sync.claim import Claim
from django_orq.sync.report import remarks

from ..references.models import Report
from ..threads import in_thread
from ..walking import (
    Killed,
    configure,
    fill,
    full_run,
    incremental_run,
    kill_after,
    let_the_wait_pass,
    mirror_equals,
    walk_pages,
    work_on,
)

pytestmark = pytest.mark.django_db


def test_there_is_one_unfinished_run_of_a_workspace_and_mode(remote):
    assert runs.open_run("default", "full") == runs.open_run("default", "full")


@pytest.mark.parametrize("times", [1, 4])
def test_run_is_opened_although_others_begin_and_end_at_the_same_moment(remote, times):
    others: list[SyncRun | None] = []

    def interleave(execute, sql, params, many, context):
        if sql.startswith("INSERT") and len(others) < times and None not in others:
            others.append(None)
            # The savepoint of our insertion, which fails, takes it along.
            others[-1] = SyncRun.objects.create(workspace="default", mode="full", slot="default:full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(interleave):
        run = runs.open_run("default", "full")

    assert (run.state, run.mode) == ("queued", "full")
    assert len([other for other in others if other and other.pk]) == times
    assert list(SyncRun.objects.all()) == [run]


def test_locked_database_is_waited_for_once(remote, monkeypatch):
    monkeypatch.setattr(runs, "MAX_CONTENTION", 0.05)
    met = []

    def lock(execute, sql, params, many, context):
        if sql.startswith("INSERT"):
            met.append(sql)
            time.sleep(0.1)  # longer than the patience, as the timeouts of the databases are
            raise OperationalError("database is locked")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(lock), pytest.raises(OperationalError):
        runs.open_run("default", "full")

    assert len(met) == 1


@pytest.mark.parametrize(("times", "is_opened"), [(3, True), (10**9, False)])
def test_run_is_opened_after_deadlocks_if_they_pass(remote, monkeypatch, times, is_opened):
    met = []

    def deadlock(execute, sql, params, many, context):
        if sql.startswith("INSERT") and len(met) < times:
            met.append(sql)
            raise OperationalError(1213, "Deadlock found when trying to get lock")
        return execute(sql, params, many, context)

    monkeypatch.setattr(runs, "MAX_CONTENTION", 60 if is_opened else 0.1)
    with connection.execute_wrapper(deadlock), nullcontext() if is_opened else pytest.raises(OperationalError):
        runs.open_run("default", "full")

    assert SyncRun.objects.count() == is_opened


def test_slice_ends_after_its_time_and_the_next_goes_on(remote, four_pages, settings):
    configure(settings, SLICE_SECONDS=0.000_001)
    run = runs.open_run("default", "full")

    pages = []
    while (slice_run := slices.run_slice(run.pk)) is not None:
        pages.append((slice_run.pages, slice_run.state))

    assert pages == [(1, "running"), (2, "running"), (3, "running"), (4, "succeeded")]
    assert mirror_equals(remote)
    assert remote.count("list") == 4


def test_killed_walk_goes_on_from_its_last_page(remote, four_pages):
    run = runs.open_run("default", "full")
    with pytest.raises(Killed):
        slices.run_slice(run.pk, on_progress=kill_after(2))

    again = full_run()

    assert (again.pk, again.state, again.pages, again.seen) == (run.pk, "succeeded", 4, 35)
    assert remote.count("list") <= 4 + 1  # the third page may have been under way


def test_run_whose_walker_died_is_taken_over_when_its_lease_ran_out(remote):
    fill(remote, 3)
    run = runs.open_run("default", "full")
    now = datetime.now(UTC)
    SyncRun.objects.update(state="running", token="dead", lease_until=now + timedelta(seconds=60))
    assert slices.run_slice(run.pk) is None

    SyncRun.objects.update(lease_until=now - timedelta(seconds=1))
    assert full_run().state == SyncRun.State.SUCCEEDED


def test_walker_that_lost_its_run_writes_nothing_more(remote, four_pages):
    run = runs.open_run("default", "full")

    def take_over(run: SyncRun) -> None:
        if run.pages == 2:
            SyncRun.objects.update(token="another")

    assert slices.run_slice(run.pk, on_progress=take_over) is None

    run.refresh_from_db()
    assert (run.pages, run.token) == (2, "another")
    assert Conversation.objects.count() == 20


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"status": 401}, "authentication_failed", "API_KEY"),
        ({"status": 403}, "permission_refused", "permissions"),
        ({"status": 418}, "api_error", "418"),
    ],
    ids=str,
)
def test_refusal_fails_the_run_keeps_its_pages_and_the_next_run_starts_anew(remote, four_pages, fault, code, message):
    remote.fail("list", after=2, **fault)

    run = full_run()

    assert (run.state, run.error_code, run.pages) == ("failed", code, 2)
    assert message in run.error_message
    assert (run.token, run.lease_until, run.slot) == ("", None, None)
    assert run.finished_at is not None
    assert Conversation.objects.count() == 20
    again = full_run()
    assert (again.state, again.seen) == ("succeeded", 35)


TROUBLES = {
    "429": ({"status": 429}, "rate_limited", "too many requests"),
    "500": ({"status": 500, "body": "<h1>oops</h1>"}, "server_error", "500"),
    "502": ({"status": 502}, "server_error", "502"),
    "302": ({"status": 302, "headers": {"Location": "/"}}, "malformed_response", "list"),
    "drop": ({"drop": "before"}, "transport_error", "request to Orq failed"),
    "cut": ({"cut": True}, "malformed_response", "list"),
    "shape": ({"status": 200, "body": "{}"}, "malformed_response", "data"),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_makes_the_run_wait_and_it_goes_on_from_its_last_page(remote, four_pages, name):
    fault, code, message = TROUBLES[name]
    remote.fail("list", after=2, **fault)

    run = full_run()

    assert (run.state, run.wait, run.error_code, run.pages) == ("waiting", "backoff", code, 2)
    assert message in run.error_message
    assert (run.token, run.lease_until) == ("", None)
    assert timedelta(seconds=3) < run.resume_at - datetime.now(UTC) < timedelta(seconds=6)
    assert full_run().pages == 2
    let_the_wait_pass()
    again = full_run()
    assert (again.pk, again.state, again.seen, again.pages) == (run.pk, "succeeded", 35, 4)
    assert again.error_message == ""


def test_pauses_of_our_own_grow_to_five_minutes(remote):
    remote.fail("list", times=None, status=503)
    rate_limits = []
    for _time in range(9):
        run = full_run()
        rate_limits.append((run.resume_at - datetime.now(UTC)).total_seconds())
        let_the_wait_pass()

    for wait, longest in zip(rate_limits, [5, 10, 20, 40, 80, 160, 300, 300, 300], strict=True):
        assert longest * 0.75 < wait <= longest


def test_page_that_is_written_ends_the_growing(remote, four_pages):
    for after in (0, 0, 0):
        remote.fail("list", after=after, status=503)
    for _time in range(3):
        full_run()
        let_the_wait_pass()
    remote.fail("list", after=1, status=503)

    run = full_run()

    assert (run.state, run.failures, run.pages) == ("waiting", 1, 1)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("2", 2), ("86400", 3600), ("Sun, 01 Jan 2040 00:00:07 GMT", 7), ("0", 1)],
    ids=["2 s", "a day", "a date", "0 s"],
)
def test_wait_that_orq_asks_for_is_kept_for_an_hour_at_most(remote, asked, seconds):
    headers = {"Retry-After": asked, "Date": "Sun, 01 Jan 2040 00:00:00 GMT"}
    remote.fail("list", status=429, headers=headers)

    run = full_run()

    assert (run.state, run.wait) == ("waiting", "retry_after")
    assert seconds - 2 < (run.resume_at - datetime.now(UTC)).total_seconds() <= seconds


def test_wait_that_orq_asks_for_binds_other_runs_and_verbs(remote):
    fill(remote, 1)
    full_run()
    remote.fail("list", status=503, headers={"Retry-After": "60"})
    full_run()
    remote.clear_requests()

    run = incremental_run()
    with pytest.raises(RateLimited, match="Orq accepts no requests until") as refusal:
        verbs.create_conversation(display_name="New")

    assert (run.state, run.wait) == ("waiting", "retry_after")
    assert 55 < refusal.value.retry_after <= 60
    assert remote.count() == 0
    let_the_wait_pass()
    verbs.create_conversation(display_name="New")
    assert incremental_run().state == SyncRun.State.SUCCEEDED


def test_wait_that_a_verb_was_asked_for_binds_runs(remote):
    remote.fail("create", status=429, headers={"Retry-After": "60"})
    with pytest.raises(RateLimited):
        verbs.create_conversation(display_name="New")

    assert full_run().state == SyncRun.State.WAITING
    assert remote.count("list") == 0


def test_shorter_wait_does_not_replace_a_longer_one(remote):
    clock = DatabaseClock("default")
    for seconds in (60, 5):
        rate_limits.record_retry_after(
            "default", RateLimited(operation="list", status=429, headers={}, retry_after=seconds), clock=clock
        )

    with pytest.raises(MustWait) as refusal:
        rate_limits.check("default", operation="list", clock=clock)
    assert refusal.value.retry_after > 50


def test_day_of_trouble_without_a_page_fails_the_run(remote):
    remote.fail("list", times=None, status=503)
    run = full_run()
    let_the_wait_pass()
    SyncRun.objects.update(trouble_since=run.trouble_since - timedelta(hours=25))

    assert full_run().state == SyncRun.State.FAILED


@pytest.mark.parametrize("why", ["pace", "retry_after"])
def test_days_of_waits_that_somebody_asked_for_do_not_fail_the_run(remote, settings, why):
    """Not even if there was trouble before: other requests may take all slots, and Orq may be busy for long."""
    if why == "pace":
        configure(settings, REQUESTS_PER_MINUTE=12)
        WorkspaceWait.objects.create(workspace="default", next_slot_at=datetime.now(UTC) + timedelta(hours=1))
    else:
        remote.fail("list", times=None, status=429, headers={"Retry-After": "60"})
    for _day in range(3):
        run = full_run()
        assert (run.state, run.wait, run.trouble_since) == ("waiting", why, None)
        past = datetime.now(UTC) - timedelta(hours=25)
        SyncRun.objects.update(trouble_since=past, resume_at=past)
        WorkspaceWait.objects.update(until=None)
        assert full_run().state == "waiting"
        SyncRun.objects.update(trouble_since=None, resume_at=past)
        WorkspaceWait.objects.update(until=None)

    remote.clear_faults()
    let_the_wait_pass()
    assert full_run().state == "succeeded"


def test_three_malformed_answers_running_fail_the_run(remote):
    remote.fail("list", times=3, status=200, body="<html>")
    for _time in range(2):
        assert full_run().state == SyncRun.State.WAITING
        let_the_wait_pass()

    assert full_run().state == SyncRun.State.FAILED


def test_failed_run_raises_its_error_and_logs_it_with_the_runs_id(remote, caplog):
    remote.fail("list", status=401)
    run = runs.open_run("default", "full")

    with caplog.at_level(logging.ERROR, logger="django_orq"), pytest.raises(AuthenticationFailed):
        slices.run_slice(run.pk)

    assert f"sync run {run.pk} failed" in caplog.text


def test_page_that_five_walkers_died_on_fails_the_run(remote):
    fill(remote, 3)
    run = runs.open_run("default", "full")
    clock = DatabaseClock("default")
    for _death in range(5):
        assert Claim.take(run.pk, workspace=get_workspace("default"), clock=clock) is not None
        SyncRun.objects.update(lease_until=datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(Problem, match="attempts in a row crashed"):
        slices.run_slice(run.pk)

    run.refresh_from_db()
    assert (run.state, run.slot) == ("failed", None)
    assert full_run().state == SyncRun.State.SUCCEEDED


def test_missing_key_fails_the_run_with_a_clear_message(remote, settings):
    run = runs.open_run("default", "full")
    configure(settings, API_KEY="")

    with pytest.raises(ImproperlyConfigured):
        slices.run_slice(run.pk)

    run.refresh_from_db()
    assert (run.state, run.error_code) == (SyncRun.State.FAILED, "not_configured")
    assert "API_KEY" in " ".join(remarks(run, for_terminal=True))
    assert remarks(run) == ["Orq is not configured correctly on this site. Ask the site's administrator."]


def test_failing_database_makes_the_run_wait_and_it_goes_on_from_its_last_page(remote, four_pages):
    def fail(run: object, sql: str, params: object, many: bool, context: object) -> object:
        if sql.startswith("INSERT") and "django_orq_conversation" in sql and Conversation.objects.count() == 20:
            raise OperationalError("disk I/O error")
        return run(sql, params, many, context)

    with connection.execute_wrapper(fail):
        run = full_run()
    assert (run.state, run.error_code, run.pages) == ("waiting", "database_trouble", 2)

    let_the_wait_pass()
    assert full_run().pages == 4
    assert remote.count("list") <= 4 + 2  # the third page, and the fourth, which was under way


def test_defect_fails_the_run_and_is_named(remote, monkeypatch):
    remote.add("A")
    run = runs.open_run("default", "full")

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(batches, "reconcile", fail)
    with pytest.raises(ZeroDivisionError):
        slices.run_slice(run.pk)

    run.refresh_from_db()
    assert (run.state, run.error_params) == ("failed", {"error": "ZeroDivisionError"})


def test_times_of_a_run_are_in_order(remote):
    run = full_run()

    assert run.started_at <= run.checkpoint_at <= run.finished_at


def test_run_that_did_not_see_everything_never_succeeds(remote, four_pages):
    """One request after another is made to fail."""
    for after in range(4):
        for fault in ({"status": 500}, {"drop": "reset"}, {"raw": b"rubbish\r\n\r\n"}, {"status": 200, "body": "[]"}):
            remote.fail("list", after=after, **fault)
            run = full_run()
            assert run.state == SyncRun.State.WAITING
            runs.cancel(run)
            remote.clear_faults()


@pytest.mark.parametrize("seconds", [True, "9", 0, -1, float("nan")])
def test_budget_that_makes_no_sense_is_refused(remote, seconds):
    with pytest.raises(ValueError, match="max_seconds must be a"):
        runs.open_run("default", "full", max_seconds=seconds)

    assert not SyncRun.objects.exists()


def test_budget_of_seconds_makes_the_run_wait_for_the_next_call(remote, four_pages):
    run = work_on(runs.open_run("default", "full", max_seconds=0.000_001))

    assert (run.state, run.wait, run.pages) == ("waiting", "budget", 1)
    assert runs.adoptable("default") == []
    assert full_run().state == SyncRun.State.SUCCEEDED


def test_call_of_another_budget_leaves_a_run_that_is_walked_its_own(remote, four_pages):
    run = runs.open_run("default", "full", max_seconds=600)

    slices.run_slice(run.pk, on_progress=lambda _run: runs.open_run("default", "full", max_seconds=0.000_001))

    run.refresh_from_db()
    assert (run.pages, run.state) == (4, "succeeded")


@pytest.mark.parametrize("column", ["lease_until", "resume_at", "enqueued_at"])
def test_time_stored_while_the_clock_of_the_database_was_ahead_blocks_nothing(remote, four_pages, column):
    run = runs.open_run("default", "full")
    ahead = {column: datetime.now(UTC) + timedelta(days=300)}
    SyncRun.objects.filter(pk=run.pk).update(state="running", **ahead)

    assert runs.adoptable("default") == [run]
    assert work_on(run).state == SyncRun.State.SUCCEEDED


def test_paused_run_is_left_alone_until_it_is_resumed(remote, four_pages):
    run = runs.open_run("default", "full")
    assert slices.run_slice(run.pk, on_progress=lambda run: runs.pause(run)) is None

    assert full_run().state == SyncRun.State.PAUSED
    assert runs.adoptable("default") == []

    runs.resume(run)
    assert full_run().pages == 4
    assert remote.count("list") <= 4 + 2


@pytest.mark.parametrize("is_paused", [True, False])
def test_only_one_of_two_who_resume_a_run_is_told_that_it_resumes(remote, four_pages, is_paused):
    run = runs.open_run("default", "full", max_seconds=None if is_paused else 0.000_001)
    if is_paused:
        runs.pause(run)
    else:
        work_on(run)
    first, second = SyncRun.objects.get(), SyncRun.objects.get()
    assert runs.can_be_resumed(second)

    assert runs.resume(first) is first
    assert runs.resume(second) is None

    assert first.state == second.state == "queued"


def test_cancelled_run_makes_room_and_its_walker_stops(remote, four_pages):
    run = runs.open_run("default", "full")

    assert slices.run_slice(run.pk, on_progress=lambda run: runs.cancel(run)) is None

    run.refresh_from_db()
    assert (run.state, run.pages) == ("cancelled", 1)
    assert not runs.cancel(run)
    assert not runs.pause(run)
    assert full_run().pk != run.pk


def test_old_runs_that_changed_nothing_are_pruned_first(remote, monkeypatch):
    monkeypatch.setattr(runs, "KEPT", 4)
    monkeypatch.setattr(runs, "KEPT_UNCHANGED", 2)
    changing = []
    for number in range(3):
        remote.add(f"Ticket {number}")
        changing.append(full_run().pk)
        incremental_run()

    assert set(SyncRun.objects.values_list("pk", flat=True)) >= set(changing[1:])
    assert SyncRun.objects.count() <= 5
    assert SyncRun.objects.filter(mode="incremental").count() == 2


def test_database_that_fails_while_old_runs_are_pruned_leaves_the_end_as_it_is(remote, one_run_is_kept, caplog):
    full_run()

    def fail(run: object, sql: str, params: object, many: bool, context: object) -> object:
        if sql.startswith("DELETE") and "django_orq_syncrun" in sql:
            raise OperationalError("database is locked")
        return run(sql, params, many, context)

    with caplog.at_level("INFO", "django_orq"), connection.execute_wrapper(fail):
        ended = [full_run() for _time in range(2)]

    said = [getattr(record, "event", "") for record in caplog.records]
    assert [run.state for run in ended] == ["succeeded"] * 2
    assert said.count("sync_run.finished") == 2
    assert "pruning.failed" in said
    assert "sync_run.database_failed" not in said


@pytest.mark.django_db(transaction=True)
def test_connection_that_is_cut_makes_the_run_wait_and_it_goes_on_from_its_last_page(remote, four_pages):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL lets us cut our own connection")
    connection.ensure_connection()
    ours = connection.connection.info.backend_pid

    def cut(operation: str | None, phase: str) -> None:
        if (operation, phase, remote.count("list")) == ("list", "before", 2):
            remote.on_request = None
            in_thread(lambda: connection.cursor().execute("SELECT pg_terminate_backend(%s)", [ours])).join()

    remote.on_request = cut
    run = full_run()
    assert (run.state, run.wait, run.error_code) == ("waiting", "database", "database_trouble")
    assert 1 <= run.pages <= 2  # the second page may have arrived before the connection was gone

    let_the_wait_pass()
    assert (full_run().state, run.crashes) == ("succeeded", 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no statement that waits")
def test_interruption_of_a_statement_leaves_neither_a_lease_nor_pages(remote, four_pages, monkeypatch):
    sleep = {"postgresql": "pg_sleep"}.get(connection.vendor, "SLEEP")
    sleeping = SyncRun.objects.values_list(Func(Value(1), function=sleep, output_field=TextField()))
    monkeypatch.setattr(Batch, "is_due", False)  # so that the second page is not written yet

    def interrupt(_signal: int, _frame: Any) -> None:
        raise SoftTimeLimitExceeded

    def wait(run: SyncRun) -> None:
        if remote.count("list") == 2:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            list(sleeping)  # MySQLdb replaces the interruption by an error of its own

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        run = slices.run_slice(
            runs.open_run("default", "full").pk, on_progress=wait, interrupts=(SoftTimeLimitExceeded,)
        )
    finally:
        signal.signal(signal.SIGALRM, before)
        time.sleep(1)  # the server still executes the statement, and the database cannot be removed meanwhile

    assert (run.state, run.lease_until, run.token) == ("running", None, "")
    assert run.pages == Conversation.objects.count() / 10 > 0
    monkeypatch.undo()
    assert (full_run().state, run.crashes) == ("succeeded", 0)


def test_error_that_follows_from_an_interruption_does_not_fail_the_run(remote, four_pages):
    def interrupt(run: SyncRun) -> None:
        try:
            raise SoftTimeLimitExceeded
        finally:
            raise ProgrammingError("can't change 'autocommit' now")

    run = slices.run_slice(
        runs.open_run("default", "full").pk, on_progress=interrupt, interrupts=(SoftTimeLimitExceeded,)
    )

    assert (run.state, run.lease_until) == ("running", None)
    assert full_run().state == "succeeded"


@pytest.mark.parametrize("said", ["raised OSError", "returned is empty"])
def test_callable_key_that_fails_makes_the_run_wait_and_it_goes_on_from_its_last_page(
    remote, four_pages, settings, said
):
    calls = iter(range(100))

    def read() -> str:
        if next(calls) != 2:
            return "sandbox-key"
        if said == "returned is empty":
            return ""
        raise OSError("the vault is sealed")

    configure(settings, API_KEY=read)

    run = full_run()
    assert (run.state, run.wait, run.error_code, run.pages) == ("waiting", "backoff", "transport_error", 2)
    assert f"['API_KEY'] {said}" in run.error_message

    let_the_wait_pass()
    assert (full_run().pages, remote.count("list")) == (4, 4)


def test_run_that_the_project_protects_is_not_pruned_and_disturbs_no_later_one(remote, one_run_is_kept):
    ended = [full_run()]
    Report.objects.create(run=ended[0])
    ended += [full_run() for _time in range(3)]

    assert {run.state for run in ended} == {"succeeded"}
    assert set(SyncRun.objects.all()) == {ended[0], ended[3]}


def test_runs_of_another_workspace_are_not_pruned(remote, settings, monkeypatch):
    settings.ORQ_WORKSPACES |= {"research": settings.ORQ_WORKSPACES["default"]}
    theirs = [work_on(runs.open_run("research", "incremental")).pk for _time in range(3)]
    monkeypatch.setattr(runs, "KEPT", 1)
    monkeypatch.setattr(runs, "KEPT_UNCHANGED", 1)

    for _time in range(3):
        incremental_run()

    assert list(SyncRun.objects.filter(workspace="research").order_by("pk").values_list("pk", flat=True)) == theirs
    assert SyncRun.objects.filter(workspace="default").count() < 3


def test_trouble_long_after_the_last_page_is_waited_out_all_the_same(remote, four_pages):
    """A run that waited for its budget or for approval may be older than a day."""
    run = walk_pages(1)
    SyncRun.objects.update(checkpoint_at=run.checkpoint_at - timedelta(days=3))
    remote.fail("list", status=503)

    assert full_run().state == SyncRun.State.WAITING


def test_other_trouble_between_malformed_answers_starts_their_count_anew(remote):
    for fault in ({"status": 200, "body": "<html>"}, {"status": 503}) * 4:
        remote.fail("list", **fault)
    for _time in range(8):
        assert full_run().state == SyncRun.State.WAITING
        let_the_wait_pass()


def test_pace_that_is_kept_between_malformed_answers_changes_nothing_of_their_count(remote, settings, monkeypatch):
    monkeypatch.setattr(rate_limits, "MAX_SLEEP", 1.0)
    configure(settings, REQUESTS_PER_MINUTE=12)
    remote.fail("list", times=3, status=200, body="<html>")

    for reason in ("backoff", "pace") * 2:
        run = full_run()
        assert (run.state, run.wait) == ("waiting", reason)
        SyncRun.objects.update(resume_at=None)
        if reason == "pace":
            WorkspaceWait.objects.update(next_slot_at=None)

    assert full_run().state == SyncRun.State.FAILED
    assert run.failures == 2


def test_pace_is_kept_and_a_long_pause_lets_the_run_go(remote, settings, monkeypatch):
    fill(remote, 35)
    full_run()
    remote.clear_requests()
    monkeypatch.setattr(rate_limits, "MAX_SLEEP", 1.0)
    configure(settings, PAGE_SIZE=10, REQUESTS_PER_MINUTE=12)

    run = full_run()

    assert (run.state, run.wait, run.pages, remote.count()) == ("waiting", "pace", 1, 1)
    assert 1 < (run.resume_at - datetime.now(UTC)).total_seconds() <= 5
    let_the_wait_pass()
    assert full_run().pages == 2


def test_quick_pace_is_slept_through(remote, four_pages, settings):
    configure(settings, REQUESTS_PER_MINUTE=600)
    started = time.monotonic()

    assert full_run().state == SyncRun.State.SUCCEEDED
    assert time.monotonic() - started >= 3 * 0.1


def test_walk_whose_pages_outlast_its_slices_ends_all_the_same_when_it_goes_in_a_circle(remote, settings, monkeypatch):
    """The guard within a slice is reset by the next slice, but the number of rows does not increase."""
    monkeypatch.setattr(batches, "PAGES_BETWEEN_LOOKS", 5)
    configure(settings, PAGE_SIZE=10, SLICE_SECONDS=0.000_001)
    fill(remote, 30)
    remote.ignore_cursor = True
    remote.transform_list = lambda answer: answer | {"data": answer["data"][::-1]}

    run = full_run()

    assert (run.state, run.error_code) == ("failed", "cursor_ignored")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", [401, 503])
@pytest.mark.parametrize(("stop", "state"), [(runs.pause, "paused"), (runs.cancel, "cancelled")])
def test_run_that_a_person_stops_while_a_request_fails_is_as_the_person_wants_it(remote, caplog, status, stop, state):
    remote.fail("list", status=status)
    run = runs.open_run("default", "full")
    remote.on_request = lambda _operation, phase: phase == "before" and in_thread(lambda: stop(run)).join()

    with caplog.at_level(logging.INFO, logger="django_orq"):
        assert slices.run_slice(run.pk) is None

    run.refresh_from_db()
    assert (run.state, run.error_code, run.wait) == (state, "", "")
    told = [record.event for record in caplog.records if record.event.startswith("sync_run.")]
    assert told[-1] == "sync_run.lease_lost"
    assert not {"sync_run.failed", "sync_run.waits"} & set(told)


def test_cancelled_run_no_longer_waits(remote):
    remote.fail("list", status=503, headers={"Retry-After": "20"})
    run = walk_pages(1)
    assert run.wait

    runs.cancel(run)

    run.refresh_from_db()
    assert (run.state, run.wait, run.resume_at) == ("cancelled", "", None)


@pytest.mark.parametrize("ending", ["at its end", "by an error"])
def test_run_that_is_no_longer_ours_is_not_ended_by_us(remote, ending):
    fill(remote, 3)
    run = runs.open_run("default", "full")

    def take_over(_run: SyncRun) -> None:
        SyncRun.objects.update(token="another")
        if ending == "by an error":
            raise ZeroDivisionError

    with suppress(ZeroDivisionError):
        assert slices.run_slice(run.pk, on_progress=take_over) is None

    run.refresh_from_db()
    assert (run.state, run.token) == ("running", "another")

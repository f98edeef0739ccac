import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from django_orq import sync, walk
from django_orq.exceptions import OrqError, RateLimited
from django_orq.models import Conversation, SyncRun
from django_orq.testing import OrqSandbox

from .walking import configure, full_run, mirror_equals

pytestmark = pytest.mark.django_db


def fill(remote: OrqSandbox, count: int) -> None:
    for number in range(count):
        remote.add(f"Ticket {number}")


class Killed(BaseException):
    """Ends a walk as a signal would."""


def kill_after(pages: int):
    def on_page(run: SyncRun) -> None:
        if run.pages == pages:
            raise Killed

    return on_page


def test_there_is_one_unfinished_run_of_a_workspace_and_mode(remote):
    assert sync.open_run("default", "full") == sync.open_run("default", "full")


def test_finished_run_makes_room_for_the_next(remote):
    assert full_run() != sync.open_run("default", "full")


@pytest.mark.parametrize("mode", ["incremental", "", "FULL"])
def test_other_modes_are_refused(remote, mode):
    with pytest.raises(ValueError, match="mode must be one of 'full'"):
        sync.open_run("default", mode)


def test_unknown_workspace_is_refused(remote):
    with pytest.raises(ImproperlyConfigured, match="no Orq workspace 'other'"):
        sync.open_run("other", "full")


def test_slice_ends_after_its_time_and_the_next_goes_on(remote, settings):
    configure(settings, PAGE_SIZE=10, SLICE_SECONDS=0.000_001)
    fill(remote, 35)
    run = sync.open_run("default", "full")

    pages = []
    while (slice_run := sync.run_slice(run.pk)) is not None:
        pages.append((slice_run.pages, slice_run.state))

    assert pages == [(1, "running"), (2, "running"), (3, "running"), (4, "succeeded")]
    assert mirror_equals(remote)
    assert remote.count("list") == 4


def test_killed_walk_goes_on_from_its_last_page(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 35)
    run = sync.open_run("default", "full")
    with pytest.raises(Killed):
        sync.run_slice(run.pk, on_page=kill_after(2))

    again = full_run()

    assert (again.pk, again.state, again.pages, again.seen) == (run.pk, "succeeded", 4, 35)
    assert remote.count("list") == 4


def test_run_whose_walker_died_is_taken_over_when_its_lease_ran_out(remote):
    fill(remote, 3)
    run = sync.open_run("default", "full")
    now = datetime.now(UTC)
    SyncRun.objects.update(state="running", token="dead", lease_until=now + timedelta(seconds=60))
    assert sync.run_slice(run.pk) is None

    SyncRun.objects.update(lease_until=now - timedelta(seconds=1))
    assert full_run().state == SyncRun.State.SUCCEEDED


def test_walker_that_lost_its_run_writes_nothing_more(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 35)
    run = sync.open_run("default", "full")

    def take_over(run: SyncRun) -> None:
        if run.pages == 2:
            SyncRun.objects.update(token="another")

    assert sync.run_slice(run.pk, on_page=take_over) is None

    run.refresh_from_db()
    assert (run.pages, run.token) == (2, "another")
    assert Conversation.objects.count() == 20


def test_finished_run_is_not_walked_again(remote):
    run = full_run()
    remote.clear_requests()

    assert sync.run_slice(run.pk) is None
    assert remote.count() == 0


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"status": 401}, "authentication_failed", "API_KEY"),
        ({"status": 403}, "permission_refused", "permissions"),
        ({"status": 429, "headers": {"Retry-After": "9"}}, "rate_limited", "slow down"),
        ({"status": 500, "body": "<h1>oops</h1>"}, "server_error", "500"),
        ({"status": 502}, "server_error", "502"),
        ({"status": 302, "headers": {"Location": "/"}}, "malformed_response", "list"),
        ({"drop": "before"}, "transport_error", "reached"),
        ({"cut": True}, "malformed_response", "list"),
        ({"status": 200, "body": "{}"}, "malformed_response", "data"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_failed_request_fails_the_run_keeps_its_pages_and_the_next_run_starts_anew(
    remote, settings, fault, code, message
):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 35)
    remote.fail("list", after=2, **fault)

    run = full_run()

    assert (run.state, run.error_code, run.pages) == ("failed", code, 2)
    assert message in run.error_message
    assert (run.token, run.lease_until, run.slot) == ("", None, None)
    assert run.finished_at is not None
    assert Conversation.objects.count() == 20
    again = full_run()
    assert (again.state, again.seen) == ("succeeded", 35)


def test_failed_run_raises_its_error_and_logs_it_with_the_runs_id(remote, caplog):
    remote.fail("list", status=429)
    run = sync.open_run("default", "full")

    with caplog.at_level(logging.ERROR, logger="django_orq"), pytest.raises(RateLimited):
        sync.run_slice(run.pk)

    assert f"sync run {run.pk} failed" in caplog.text


def test_outage_fails_the_run_and_the_next_one_is_well(remote):
    fill(remote, 3)
    remote.stop()
    assert full_run().error_code == "transport_error"

    remote.start()
    assert full_run().state == SyncRun.State.SUCCEEDED


def test_missing_key_fails_the_run_with_a_clear_message(remote, settings):
    run = sync.open_run("default", "full")
    configure(settings, API_KEY="")

    with pytest.raises(ImproperlyConfigured):
        sync.run_slice(run.pk)

    run.refresh_from_db()
    assert run.state == SyncRun.State.FAILED
    assert "API_KEY" in run.error_message


def test_failing_database_fails_the_run_and_is_named(remote, monkeypatch):
    """The database is the true boundary here: it can't be broken for real and then asked for the run."""
    run = sync.open_run("default", "full")

    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError

    monkeypatch.setattr(walk, "reconcile", fail)
    with pytest.raises(OperationalError):
        sync.run_slice(run.pk)

    run.refresh_from_db()
    assert (run.state, run.error_params) == ("failed", {"error": "OperationalError"})


def test_times_of_a_run_are_in_order(remote):
    run = full_run()

    assert run.started_at <= run.checkpoint_at <= run.finished_at


def test_run_that_did_not_see_everything_never_succeeds(remote, settings):
    """Whatever fails, wherever it fails: one request after another is spoilt."""
    configure(settings, PAGE_SIZE=10)
    fill(remote, 35)
    for after in range(4):
        for fault in ({"status": 500}, {"drop": "reset"}, {"raw": b"rubbish\r\n\r\n"}, {"status": 200, "body": "[]"}):
            remote.fail("list", after=after, **fault)
            assert full_run().state == SyncRun.State.FAILED
            remote.clear_faults()


def test_error_is_an_orq_error(remote):
    remote.fail("list", status=500)
    with pytest.raises(OrqError):
        sync.run_slice(sync.open_run("default", "full").pk)

"""Projects freeze the clocks of their processes in tests: a sync is right all the same, and ends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from freezegun import freeze_time

from django_orq import mirror as verbs
from django_orq.models import Conversation, SyncRun
from django_orq.sync import runs, slices

from ..walking import configure, fill, full_run, incremental_run, mirror_equals

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(remote, settings) -> list[str]:
    """40 conversations, newest first, in pages of ten, mirrored while the clocks still went."""
    configure(settings, PAGE_SIZE=10)
    ids = fill(remote, 40)
    full_run()
    return ids


@pytest.fixture(params=["now", "2001-01-01", "2100-01-01", "2001-01-01 ticking", "2100-01-01 ticking"])
def frozen(request: pytest.FixtureRequest, ids: list[str]) -> Iterator[Any]:
    moment, _space, tick = request.param.partition(" ")
    with freeze_time(datetime.now(UTC) if moment == "now" else moment, tick=bool(tick)) as clock:
        yield clock


def counters(run: SyncRun) -> dict[str, int]:
    names = ("created", "updated", "restored", "unchanged", "skipped", "outdated", "missing", "unlisted", "tombstoned")
    return {name: getattr(run, name) for name in names if getattr(run, name)}


def test_changes_in_orq_are_found(remote, ids, frozen):
    for id_ in ids[:4]:
        remote.rename(id_, "Renamed")
    gone = [remote.get(id_) for id_ in ids[10:13]]
    for conversation in gone:
        remote.remove(conversation["_id"])
    remote.hidden = {ids[20]}
    remote.add("New")

    run = full_run()

    assert run.state == "partial"
    assert counters(run) == {
        "created": 1,
        "updated": 4,
        "unchanged": 32,
        "missing": 4,
        "tombstoned": 3,
        "unlisted": 1,
    }
    assert mirror_equals(remote)

    remote.hidden = set()
    for conversation in gone:
        remote.add(**{"display_name": "Back again", **conversation})
    run = full_run()
    assert (run.state, counters(run)) == ("succeeded", {"updated": 1, "restored": 3, "unchanged": 37})
    assert mirror_equals(remote)


def test_changes_from_here_and_in_orq_follow_each_other(remote, ids, frozen):
    renamed, deleted, named_in_orq = Conversation.objects.filter(remote_id__in=ids[:3]).order_by("-remote_id")
    verbs.rename_conversation(renamed, display_name="From here")
    verbs.delete_conversation(deleted)
    created = verbs.create_conversation(display_name="New")
    verbs.rename_conversation(named_in_orq, display_name="From here")
    remote.rename(named_in_orq.remote_id, "In Orq")

    for run in (incremental_run(), full_run()):
        assert (run.state, run.skipped, run.outdated) == ("succeeded", 0, 0)
    assert mirror_equals(remote)

    remote.remove(created.remote_id)
    verbs.rename_conversation(renamed, display_name="Again")
    run = full_run()
    assert (run.state, run.tombstoned) == ("succeeded", 1)
    assert mirror_equals(remote)


def test_failed_request_is_repeated(remote, ids, frozen, settings):
    configure(settings, RETRIES={"attempts": 3, "initial_interval": 0.1})
    remote.fail("list", after=1, times=2, status=502)

    assert (full_run().state, remote.count("list")) == ("succeeded", 4 + 4 + 2)


def test_wait_that_orq_asked_for_lasts_as_long_as_it_should_and_ends(remote, ids, frozen):
    remote.fail("list", after=1, status=429, headers={"Retry-After": "2"})
    run = full_run()
    assert (run.state, run.wait, slices.run_slice(run.pk)) == ("waiting", "retry_after", None)
    assert remote.count("list") == 4 + 2

    call_command("orq_sync", "--full", "--wait", stdout=StringIO())
    run.refresh_from_db()
    assert (run.state, counters(run)) == ("succeeded", {"unchanged": 40})


def test_pace_is_kept(remote, ids, frozen, settings):
    configure(settings, REQUESTS_PER_MINUTE=1_200)

    assert full_run().state == "succeeded"


def test_run_is_not_taken_from_a_worker_by_a_process_whose_clock_is_ahead(remote, ids):
    run = runs.open_run("default", "full")

    def work_too(_run: SyncRun) -> None:
        with freeze_time(datetime.now(UTC) + timedelta(days=365)):
            assert slices.run_slice(run.pk) is None

    assert slices.run_slice(run.pk, on_progress=work_too) is not None
    assert SyncRun.objects.get(pk=run.pk).crashes == 0

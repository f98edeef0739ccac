"""Incremental and full runs: how far each reads, and which run relies on which."""

import pytest

from django_orq.models import Conversation, SyncRun
from django_orq.sync import runs, slices
from django_orq.sync.report import remarks

from ..triggers import written_rows
from ..walking import Killed, configure, fill, full_run, incremental_run, kill_after, mirror_equals, work_on

pytestmark = pytest.mark.django_db


@pytest.fixture
def full(remote, settings) -> SyncRun:
    """A full run that has read one page of five; then three conversations were created."""
    configure(settings, PAGE_SIZE=10, SLICE_SECONDS=0.000_001)
    fill(remote, 50)
    full = runs.open_run("default", "full")
    slices.run_slice(full.pk)
    fill(remote, 3)
    return full


@pytest.mark.django_db(transaction=True)
def test_nothing_new_costs_one_request_and_no_write(remote):
    fill(remote, 250)
    full_run()
    remote.clear_requests()

    with written_rows() as count:
        run = incremental_run()
        assert count() == 0

    assert (run.state, run.requests, remote.count()) == ("succeeded", 1, 1)


def test_what_is_new_is_mirrored_and_the_walk_stops_where_it_meets_the_known(remote):
    fill(remote, 500)
    full_run()
    fill(remote, 250)
    remote.clear_requests()

    run = incremental_run()

    assert (run.state, run.created) == ("succeeded", 250)
    assert remote.count() <= 4
    assert mirror_equals(remote)


def test_incremental_run_killed_after_its_first_page_is_made_good_by_the_next(remote):
    fill(remote, 500)
    full_run()
    fill(remote, 250)
    run = runs.open_run("default", "incremental")
    with pytest.raises(Killed):
        slices.run_slice(run.pk, on_progress=kill_after(1))
    fill(remote, 5)

    incremental_run()
    incremental_run()

    assert mirror_equals(remote)


def test_first_incremental_run_of_all_walks_to_the_end(remote):
    fill(remote, 250)

    assert incremental_run().reached_end
    assert mirror_equals(remote)


def test_conversation_created_during_a_slow_full_run_is_mirrored_before_that_ends(remote, full):
    run = incremental_run()

    assert (run.state, run.pages, run.created) == ("succeeded", 1, 3)
    assert Conversation.objects.count() == 10 + 3
    assert SyncRun.objects.get(pk=full.pk).state == SyncRun.State.RUNNING
    work_on(full)
    assert mirror_equals(remote)


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_incremental_runs_are_not_complete_without_the_first_full_run(remote, full, ending):
    assert [incremental_run().is_complete for _time in range(2)] == [False, False]
    if ending == "cancelled":
        runs.cancel(full)
    else:
        remote.fail("list", status=401)
        work_on(full)

    assert runs.freshness("default").last_incremental is None
    assert incremental_run().seen == 53
    assert mirror_equals(remote)


def test_incremental_run_is_complete_once_the_first_full_run_is(full):
    incremental = incremental_run()
    assert runs.freshness("default").last_incremental is None

    work_on(full)

    assert runs.freshness("default").last_incremental == incremental.started_at
    assert incremental_run().stop_id == incremental.head_id


def test_each_incremental_run_beside_the_first_full_run_reads_only_what_is_new(remote, full):
    first = incremental_run()
    fill(remote, 20)

    second = incremental_run()

    assert (second.stop_id, second.pages, second.created) == (first.head_id, 3, 20)
    work_on(full)
    assert list(SyncRun.objects.filter(mode="incremental").values_list("is_complete", flat=True)) == [True, True]
    assert mirror_equals(remote)


def test_incremental_run_that_began_before_the_first_full_run_stops_where_that_began(remote, settings):
    configure(settings, PAGE_SIZE=10, SLICE_SECONDS=0.000_001)
    fill(remote, 50)
    incremental = runs.open_run("default", "incremental")
    slices.run_slice(incremental.pk)
    full = runs.open_run("default", "full")
    slices.run_slice(full.pk)

    incremental = work_on(incremental)

    assert (incremental.state, incremental.pages, incremental.is_complete) == ("succeeded", 2, False)
    work_on(full)
    assert mirror_equals(remote)
    assert incremental_run().is_complete


def test_incremental_run_reads_so_many_of_the_newest_pages_that_renames_are_found_there(remote, settings):
    configure(settings, PAGE_SIZE=10, LOOK_BACK_PAGES=3)
    ids = fill(remote, 50)
    full_run()
    for number in (5, 29, 30):
        remote.rename(ids[number], "Renamed")

    run = incremental_run()

    assert (run.state, run.pages, run.updated, run.is_complete) == ("succeeded", 3, 2, True)
    configure(settings, PAGE_SIZE=10, LOOK_BACK_PAGES=1_000)
    assert (incremental_run().pages, mirror_equals(remote)) == (5, True)


def test_refused_item_does_not_undo_coverage(remote):
    fill(remote, 5)
    remote.transform_list = lambda answer: answer | {"data": [*answer["data"], "junk"]}

    run = full_run()

    assert (run.state, run.is_complete) == ("partial", True)
    assert runs.freshness("default").last_full == run.started_at


def test_freshness_is_the_start_of_the_newest_complete_run_of_each_kind(remote):
    assert runs.freshness("default") == runs.Freshness(last_incremental=None, last_full=None)
    full = full_run()
    incremental = incremental_run()
    remote.fail("list", status=401)
    full_run()

    assert runs.freshness("default") == runs.Freshness(
        last_incremental=incremental.started_at, last_full=full.started_at
    )


@pytest.mark.parametrize("when", ["before", "while"])
def test_run_that_is_held_has_walked_through_the_list_but_settled_no_deletion(remote, settings, when):
    """Whenever its confirmation is held: ``before`` the first question, or ``while`` it asks."""
    ids = fill(remote, 5)
    full = full_run()
    configure(settings, MASS_DELETE_MIN=0 if when == "before" else 10, MASS_DELETE_SHARE=0)
    remote.remove(ids[2])
    if when == "while":  # no canary
        remote.fail("retrieve", times=None, status=404, body='{"message": "no"}')

    held = full_run()

    assert (held.state, bool(held.needs_approval), held.is_complete) == ("partial", True, True)
    assert runs.freshness("default") == runs.Freshness(last_incremental=held.started_at, last_full=full.started_at)
    assert runs.awaiting_approval("default").first() == held


def test_run_that_failed_in_its_confirmation_has_settled_no_deletion(remote):
    ids = fill(remote, 5)
    full = full_run()
    remote.remove(ids[2])
    remote.fail("retrieve", status=401)

    failed = full_run()

    assert (failed.state, failed.is_complete) == ("failed", True)
    assert runs.freshness("default") == runs.Freshness(last_incremental=failed.started_at, last_full=full.started_at)


def test_incremental_run_stops_where_a_held_run_has_been(remote, settings):
    ids = fill(remote, 5)
    full_run()
    configure(settings, MASS_DELETE_MIN=0, MASS_DELETE_SHARE=0)
    remote.remove(ids[2])
    (newest,) = fill(remote, 1)
    full_run()

    run = incremental_run()

    assert (run.stop_id, run.is_complete) == (newest, True)


def test_incremental_run_never_marks_anything_missing(remote):
    ids = fill(remote, 5)
    full_run()
    remote.remove(ids[0])

    run = incremental_run()

    assert (run.missing, Conversation.objects.missing().count()) == (0, 0)


def test_head_that_is_gone_is_a_stop_all_the_same(remote, settings):
    configure(settings, PAGE_SIZE=10)
    ids = fill(remote, 50)
    full_run()
    remote.remove(ids[0])
    fill(remote, 3)

    assert incremental_run().pages == 1


@pytest.mark.parametrize("shown", [0, 100])
def test_list_that_ends_before_the_known_is_no_coverage(remote, shown):
    fill(remote, 100)
    full_run()
    fill(remote, 250)
    remote.transform_list = lambda answer: answer | {"data": answer["data"][:shown], "has_more": False}

    run = incremental_run()
    assert (run.state, run.is_complete) == ("partial", False)
    assert remarks(run)

    remote.transform_list = None
    assert incremental_run().state == SyncRun.State.SUCCEEDED
    assert mirror_equals(remote)


@pytest.mark.parametrize("odd", ["conv_7zzzzzzzzzzzzzzzzzzzzzzzzz", "conv_00000000000000000000000000"])
def test_id_out_of_order_does_not_stop_an_incremental_run_early(remote, odd):
    fill(remote, 100)
    remote.add("Odd", _id=odd)
    remote.transform_list = lambda answer: (
        answer | {"data": sorted(answer["data"], key=lambda item: item["_id"] != odd)}
    )
    full_run()
    fill(remote, 250)

    incremental_run()

    assert mirror_equals(remote)

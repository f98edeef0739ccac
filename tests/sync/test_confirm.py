"""Rows that the list leaves out: missing, confirmed, deleted, restored."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet

from django_orq import mirror as verbs
from django_orq.conf import get_workspace
from django_orq.exceptions import ConversationNotFound
from django_orq.models import Conversation, RejectedPayload, SyncRun
from django_orq.store import database
from django_orq.store.database import DatabaseClock, write_database
from django_orq.sync import batches, confirm, runs, slices
from django_orq.sync.claim import Claim
from django_orq.sync.readers import Readers, retrieve
from django_orq.sync.report import counts, remarks
from django_orq.sync.walk import Walk
from django_orq.testing import OrqSandbox

from ..threads import in_thread
from ..triggers import written_rows
from ..walking import (
    approve,
    configure,
    fill,
    full_run,
    incremental_run,
    let_the_wait_pass,
    mirror_equals,
    walk_pages,
    work_on,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(remote: OrqSandbox) -> list[str]:
    """250 mirrored conversations, newest first."""
    ids = fill(remote, 250)
    full_run()
    remote.clear_requests()
    return ids


@pytest.fixture
def held(remote: OrqSandbox, ids: list[str]) -> SyncRun:
    """A full run after 51 conversations were deleted, one more than the guard allows."""
    remove(remote, ids[10:61])
    return full_run()


def remove(remote: OrqSandbox, ids: Iterable[str]) -> None:
    for id_ in ids:
        remote.remove(id_)


def states(*ids: str) -> list[str]:
    return [Conversation.objects.get(remote_id=id_).state.value for id_ in ids]


@pytest.mark.django_db(transaction=True)
def test_deleted_conversations_are_tombstoned_and_nothing_else_is_written(remote, ids):
    gone = [ids[0], ids[-1], *ids[90:110], ids[200]]
    remove(remote, gone)

    with written_rows() as count:
        run = full_run()
        assert count() == 2 * len(gone)  # missing, then deleted

    assert (run.state, run.missing, run.tombstoned) == ("succeeded", 23, 23)
    assert (remote.count("list"), remote.count("retrieve")) == (3, 23 + 1)
    assert set(Conversation.objects.deleted().values_list("remote_id", flat=True)) == set(gone)
    assert mirror_equals(remote)


@pytest.mark.django_db(transaction=True)
def test_conversation_that_the_list_hides_is_unlisted_and_says_so_once(remote, ids):
    remote.hidden = {ids[7]}
    with written_rows() as count:
        first = full_run()
        assert count() == 2
        remote.clear_requests()
        second = full_run()
        assert count() == 2

    assert (first.state, first.unlisted, first.tombstoned) == ("partial", 1, 0)
    assert (second.state, remote.count("retrieve")) == ("succeeded", 0)
    assert states(ids[7]) == ["unlisted"]
    remote.hidden = set()
    full_run()
    assert states(ids[7]) == ["live"]


@pytest.mark.volume
@pytest.mark.django_db(transaction=True)
def test_forty_of_ten_thousand_deleted(settings):
    with OrqSandbox(conversations=10_000) as remote:
        settings.ORQ_WORKSPACES = remote.settings()
        full_run()
        every = [conversation["_id"] for conversation in remote.conversations]
        gone = {every[0], every[-1], *every[100:9_600:250]}
        remove(remote, gone)
        remote.hidden = {every[5_001]}
        remote.clear_requests()

        with written_rows() as count:
            run = full_run()
            assert count() == 2 * 40 + 2
            assert (run.state, run.tombstoned, run.unlisted) == ("partial", 40, 1)
            # The list is read in two intervals, and one page covers the place where they meet.
            assert (len(gone), remote.count("list"), remote.count("retrieve")) == (40, 100 + 1, 41 + 1)
            assert set(Conversation.objects.deleted().values_list("remote_id", flat=True)) == gone
            remote.clear_requests()
            assert full_run().state == SyncRun.State.SUCCEEDED
            assert (count(), remote.count("retrieve")) == (82, 0)


def test_unlisted_conversation_is_asked_for_again_after_a_day(remote, ids):
    remote.hidden = {ids[7]}
    full_run()
    rows = QuerySet(Conversation).filter(remote_id=ids[7])
    rows.update(confirmed_at=rows.get().confirmed_at - timedelta(hours=25))
    remote.clear_requests()

    run = full_run()

    assert (run.state, run.unlisted, run.looked_up, remote.count("retrieve")) == ("succeeded", 0, 1, 1)
    assert counts(run) == "249 conversations, 3 pages, 1 looked up by id"


def test_guard_holds_unlisted_ones_that_orq_has_no_longer(remote, ids):
    remote.hidden = set(ids[:51])
    assert work_on(approve(full_run())).unlisted == 51
    QuerySet(Conversation).update(confirmed_at=F("confirmed_at") - timedelta(hours=25))
    remove(remote, ids[:51])

    run = full_run()

    assert (run.state, run.needs_approval, run.to_approve, run.tombstoned) == ("partial", "mass_delete", 51, 0)
    assert set(states(*ids[:51])) == {"unlisted"}
    assert work_on(approve(run)).tombstoned == 51


def test_review_of_unlisted_ones_counts_all_that_are_left(remote, ids):
    """And its approval is for these, although each batch of requests knows of its own only."""
    remote.hidden = set(ids[:120])
    assert work_on(approve(full_run())).unlisted == 120
    QuerySet(Conversation).update(confirmed_at=F("confirmed_at") - timedelta(hours=25))
    remove(remote, ids[:120])
    run = runs.open_run("default", "full")
    SyncRun.objects.filter(pk=run.pk).update(batch=25)

    run = work_on(run)

    assert (run.needs_approval, run.tombstoned, run.to_approve) == ("mass_delete", 25, 95)
    assert work_on(approve(run)).tombstoned == 120


def test_review_of_unlisted_ones_without_a_canary_says_why(remote, ids):
    remote.hidden = set(ids[1:4])
    assert full_run().unlisted == 3
    remove(remote, ids[4:])
    work_on(approve(full_run()))
    QuerySet(Conversation).update(confirmed_at=F("confirmed_at") - timedelta(hours=25))
    remove(remote, ids[1:4])
    remote.rename(ids[0], "Renamed in this very run")

    run = full_run()

    assert (run.needs_approval, run.to_approve, run.tombstoned) == ("no_canary", 3, 0)
    assert any("3 missing conversations need review" in text for text in remarks(run))


@pytest.mark.parametrize("name", [31612345678, "x" * 300, "nightly \ud800"], ids=["number", "long", "surrogate"])
def test_person_of_any_name_can_approve(held, name):
    user = SimpleNamespace(pk=7, get_username=lambda: name)

    approved = runs.approve(held, reason="mass_delete", by=user)

    assert approved.approvals[-1]["by"] == str(name)[:255].replace("\ud800", "?")


def test_conversation_that_comes_back_is_restored(remote, ids):
    lost = remote.get(ids[3])
    remote.remove(ids[3])
    full_run()
    remote.add(lost.pop("displayName"), **lost)

    run = full_run()

    assert (run.state, run.restored) == ("succeeded", 1)
    assert mirror_equals(remote)


def test_guard_holds_more_deletions_than_a_run_may_take_for_true(remote, held):
    assert (held.state, held.needs_approval, held.to_approve, held.tombstoned) == ("partial", "mass_delete", 51, 0)
    assert remote.count("retrieve") == 0
    assert Conversation.objects.missing().count() == 51
    (remark,) = remarks(held)
    assert "51 missing conversations" in remark
    assert "approve this run" in remark
    assert f"--approve {held.pk}" in " ".join(remarks(held, for_terminal=True))
    verbs.delete_conversation(Conversation.objects.missing().first())
    assert "50 missing conversations" in remarks(held)[0]


def test_approval_reopens_the_same_run(remote, ids, held):
    assert runs.can_be_approved(held)

    run = work_on(approve(held))

    assert (run.pk, run.mode, run.state, run.tombstoned) == (held.pk, "full", "succeeded", 51)
    assert [(one["reason"], one["by"], one["to_approve"]) for one in run.approvals] == [
        ("mass_delete", "somebody", 51)
    ]
    assert "Approved by somebody" in remarks(run)[0]
    assert remote.count("retrieve") == 51 + 1
    assert not runs.can_be_approved(run)
    assert mirror_equals(remote)


def test_approved_run_takes_only_what_was_missing_when_its_walk_ended(remote, ids, held):
    remote.remove(ids[100])
    full_run()

    work_on(approve(held))

    assert states(ids[10], ids[100]) == ["deleted", "missing"]


def test_rows_missing_from_the_last_page_are_approved_too_however_slow_the_database(remote, ids, monkeypatch):
    """If the database is slow, what is received is dated later than what is done now; the walk must still end after
    both.
    """
    remove(remote, ids[-60:])
    read = database._read

    def slow(using: str) -> datetime:
        moment = read(using)
        time.sleep(1)
        return moment

    with monkeypatch.context() as patched:
        patched.setattr(database, "_read", slow)
        held = full_run()
    assert held.needs_approval == "mass_delete"

    run = work_on(approve(held))

    assert (run.state, run.tombstoned) == ("succeeded", 60)


def test_approved_run_still_asks_for_each(remote, ids):
    remote.hidden = set(ids[10:61])
    held = full_run()

    run = work_on(approve(held))

    assert (run.state, run.unlisted, run.tombstoned) == ("partial", 51, 0)


def test_guard_counts_against_the_rows_that_were_there_before(remote, ids, settings):
    configure(settings, MASS_DELETE_MIN=1, MASS_DELETE_SHARE=0.1)
    remove(remote, ids[10:35])
    assert full_run().tombstoned == 25

    remove(remote, ids[40:63])
    assert full_run().needs_approval == "mass_delete"


def test_canary_that_cannot_be_mirrored_is_passed_over(remote, ids):
    remote.add("Newest but wrong", _id=ids[0], createdById=7)
    remote.remove(ids[5])

    run = full_run()

    assert (run.state, run.rejected, run.tombstoned) == ("partial", 1, 1)


def test_without_a_canary_nothing_is_tombstoned(remote, ids):
    """After the walk, the key no longer finds single conversations."""
    remote.remove(ids[5])
    remote.fail("retrieve", times=None, status=404, body='{"message": "no"}')

    run = full_run()

    assert (run.state, run.needs_approval, run.tombstoned) == ("partial", "no_canary", 0)
    assert remote.count("retrieve") == 1 + confirm.CANARIES
    assert states(ids[5]) == ["missing"]
    remote.clear_faults()
    assert full_run().tombstoned == 1


def test_proxys_404_tombstones_nothing_though_the_canary_lives(remote, ids):
    """The conversations exist. Only the list omits them, and a proxy answers for Orq when they are retrieved."""
    remote.hidden = set(ids[5:8])
    remote.fail("retrieve", times=3, status=404, body="<h1>404 Not Found</h1>", headers={"Content-Type": "text/html"})

    run = full_run()

    assert (run.state, run.error_code, run.tombstoned) == ("failed", "api_error", 0)
    assert states(*ids[5:8]) == ["missing"] * 3
    remote.clear_faults()
    assert (full_run().tombstoned, states(*ids[5:8])) == (0, ["unlisted"] * 3)


def test_key_that_loses_access_during_the_confirmation_tombstones_nothing_more(remote, ids):
    """It does so after the first batch, for which a canary was found."""
    remove(remote, ids[10:16])
    run = runs.open_run("default", "full")
    SyncRun.objects.filter(pk=run.pk).update(batch=2)

    def lock_out(now: SyncRun) -> None:
        remote.locked_out = now.tombstoned > 0

    slices.run_slice(run.pk, on_progress=lock_out)

    run.refresh_from_db()
    assert (run.state, run.needs_approval, run.to_approve, run.tombstoned) == ("partial", "no_canary", 4, 2)
    assert states(*ids[10:16]) == ["missing"] * 4 + ["deleted"] * 2


def test_conversation_mirrored_in_this_very_run_is_no_canary(remote):
    """It may belong to another workspace, to which the key now belongs."""
    gone, renamed = (remote.add(f"Ticket {number}")["_id"] for number in range(2))
    full_run()
    remote.remove(gone)
    remote.rename(renamed, "Renamed in between")
    remote.add("New")

    run = full_run()

    assert (run.state, run.needs_approval, states(gone)) == ("partial", "no_canary", ["missing"])
    assert full_run().tombstoned == 1


def test_one_living_canary_of_three_is_enough(remote, ids):
    remote.remove(ids[5])
    remote.fail("retrieve", after=1, times=2, status=404, body='{"message": "no"}')

    assert full_run().tombstoned == 1


def test_mirror_without_any_canary_needs_a_person(remote, ids, settings):
    configure(settings, MASS_DELETE_MIN=1000)
    remove(remote, ids)
    doubted = full_run()
    assert doubted.error_code == "workspace_doubted"

    vouched = work_on(approve(doubted))
    assert (vouched.state, vouched.needs_approval) == ("partial", "mass_delete")

    run = work_on(approve(vouched))
    assert (run.state, run.tombstoned) == ("succeeded", 250)


def test_trouble_in_the_confirmation_makes_the_run_wait_and_it_goes_on(remote, ids):
    remove(remote, ids[10:20])
    remote.fail("retrieve", after=4, status=503)

    run = full_run()

    assert (run.state, run.phase, run.tombstoned) == ("waiting", "confirm", 0)
    let_the_wait_pass()
    assert (full_run().tombstoned, remote.count("list")) == (10, 3)


def test_confirmation_goes_on_slice_by_slice(remote, ids, settings):
    configure(settings, SLICE_SECONDS=0.000_001)
    remove(remote, ids[10:15])
    run = runs.open_run("default", "full")

    count = 0
    while slices.run_slice(run.pk) is not None:
        count += 1

    run.refresh_from_db()
    assert (run.state, run.tombstoned) == ("succeeded", 5)
    assert count >= 3 + 5


def test_conversation_that_answers_with_rubbish_is_neither_deleted_nor_confirmed(remote, ids):
    remote.hidden = {ids[7]}
    remote.fail("retrieve", status=200, body='{"_id": 5}')

    run = full_run()

    assert (run.state, run.rejected) == ("partial", 1)
    assert states(ids[7]) == ["missing"]
    item = RejectedPayload.objects.get(resolved_at=None)
    assert (item.key, item.last_run) == (ids[7], run)
    assert item.reason == "“_id” is not a conversation id (conv_ and 26 characters)"
    remote.hidden = set()
    assert full_run().state == "succeeded"
    assert not RejectedPayload.objects.filter(resolved_at=None).exists()


def test_run_that_is_stopped_for_review_resolves_no_item_that_it_did_not_look_for(remote, ids, settings):
    remote.hidden = {ids[7]}
    remote.fail("retrieve", status=200, body='{"_id": 5}')
    full_run()
    configure(settings, MASS_DELETE_MIN=0, MASS_DELETE_SHARE=0)
    remote.remove(ids[9])

    assert full_run().needs_approval == "mass_delete"

    assert RejectedPayload.objects.get().resolved_at is None


def test_changes_that_the_confirmation_brings_are_counted(remote, ids):
    remote.hidden = {ids[7], ids[8]}
    remote.rename(ids[7], "Renamed")

    run = full_run()

    assert (run.state, run.updated, run.unlisted) == ("partial", 1, 2)


@pytest.mark.django_db(transaction=True)
def test_conversation_that_a_user_deletes_while_it_is_confirmed_is_not_unlisted(remote, ids):
    remote.hidden = {ids[7]}
    row = Conversation.objects.get(remote_id=ids[7])

    def delete(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("retrieve", "after"):
            remote.on_request = None
            in_thread(lambda: verbs.delete_conversation(row)).join()

    remote.on_request = delete
    run = full_run()

    assert (run.state, run.unlisted, run.tombstoned, states(ids[7])) == ("succeeded", 0, 0, ["deleted"])


def test_row_mirrored_since_the_page_was_asked_for_is_not_missing(remote, ids):
    """We created it while the page was being fetched, so the page cannot contain it."""
    created = []

    def create(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("list", "after") and not created:
            created.append(remote.add("Just now"))

    remote.on_request = create
    full_run()

    assert (Conversation.objects.missing().count(), Conversation.objects.count()) == (0, 250)


def test_mirror_far_longer_than_the_list_is_gone_through_in_chunks(remote, ids, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK", 100)
    page = remote.conversations[:20]
    remote.transform_list = lambda answer: answer | {"data": page, "has_more": False}

    run = full_run()

    assert (run.state, run.needs_approval, run.missing, run.seen) == ("partial", "mass_delete", 230, 20)
    assert Conversation.objects.missing().count() == 230
    remote.transform_list = None
    assert full_run().updated == 230
    assert mirror_equals(remote)


class TestDoubtfulWorkspace:
    """No tombstone, no row of another workspace, and a message that says what to do."""

    def check(self, run: SyncRun, count: int) -> None:
        assert run.state in ("partial", "failed")
        assert remarks(run)
        assert Conversation.objects.deleted().count() == 0
        assert Conversation.objects.count() == count

    @pytest.fixture(params=[10, 40, pytest.param(1000, marks=pytest.mark.volume)])
    def count(self, request: pytest.FixtureRequest, remote: OrqSandbox) -> int:
        fill(remote, request.param)
        full_run()
        return int(request.param)

    @pytest.mark.parametrize("shown", [0, 5])
    def test_list_that_answers_with_nothing_or_is_cut_short(self, remote, count, shown):
        remote.transform_list = lambda answer: answer | {"data": answer["data"][:shown], "has_more": False}
        self.check(full_run(), count)

    def test_key_that_lost_access(self, remote, count):
        remote.locked_out = True
        run = full_run()
        self.check(run, count)
        assert run.error_code == "workspace_doubted"

    def test_key_of_another_workspace(self, remote, count, settings):
        with OrqSandbox(conversations=70) as other:
            configure(settings, BASE_URL=other.base_url)
            run = full_run()
        self.check(run, count)
        assert (run.error_code, run.requests) == ("workspace_doubted", 4)

    def test_key_of_another_workspace_that_sees_our_oldest(self, remote, count, settings):
        if count < 1000:
            pytest.skip(reason="with fewer rows the oldest would be on the first page")
        with OrqSandbox() as other:
            for ours in remote.conversations[:-61:-1]:
                name = ours.pop("displayName")
                other.add(name, **ours)
            for number in range(200):
                other.add(f"Foreign {number}")
            configure(settings, BASE_URL=other.base_url)
            run = full_run()
        self.check(run, count)
        assert run.error_code == "workspace_doubted"

    def test_approved_run_starts_at_the_head_and_asks_again_before_it_deletes(self, remote, count, settings):
        with OrqSandbox(conversations=70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = full_run()
            run = work_on(approve(doubted))
            assert (run.pk, run.created, run.needs_approval, run.to_approve) == (doubted.pk, 70, "mass_delete", count)
            assert Conversation.objects.deleted().count() == 0


def foreign(count: int = 300) -> OrqSandbox:
    """Another workspace, with other conversations."""
    return OrqSandbox(conversations=count, seed=7)


class TestKeySwappedOnTheWay:
    """The key or the base URL changes while a run waits, between its slices, or during one."""

    @pytest.mark.parametrize("unknown", ["404", "400", "empty", "first_page"])
    @pytest.mark.parametrize("mode", ["full", "incremental"])
    def test_nothing_of_the_other_workspace_is_stored_and_nothing_of_ours_tombstoned(
        self, remote, ids, settings, unknown, mode
    ):
        configure(settings, PAGE_SIZE=10)
        for number in range(30):
            remote.add(f"New {number}")
        assert walk_pages(1, mode).pages == 1
        with foreign() as other:
            other.unknown_cursor = unknown
            configure(settings, BASE_URL=other.base_url)
            swapped = work_on(runs.open_run("default", mode))
            assert swapped.error_code == "workspace_doubted"
            for _again in range(3):
                work_on(runs.open_run("default", mode))
        assert Conversation.objects.count() == 260
        assert not Conversation.objects.deleted().exists()

    @pytest.mark.parametrize("unknown", ["404", "400", "empty", "first_page"])
    def test_swap_within_a_slice_stores_nothing_either(self, remote, ids, settings, unknown):
        """The same server returns another workspace's list from the second page on."""
        configure(settings, PAGE_SIZE=10)
        strangers = foreign().conversations

        def swap(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("list", "before") and remote.count("list") == 2:
                remote.on_request = None
                for conversation in remote.conversations:
                    remote.remove(conversation["_id"])
                for stranger in strangers:
                    remote.add(stranger.pop("displayName"), **stranger)

        remote.unknown_cursor = unknown
        remote.on_request = swap
        run = full_run()

        assert run.error_code == "workspace_doubted"
        assert Conversation.objects.count() == 250
        assert not Conversation.objects.deleted().exists()


class TestKeyOfAnotherWorkspaceForOneRequest:
    """As if somebody sets the wrong key and puts it right at once. The key says what its workspace contains."""

    @pytest.fixture
    def ids(self, ids, remote, settings):
        configure(settings, API_KEY=lambda: remote.api_key)
        return ids

    def test_its_page_is_not_stored(self, remote, ids):
        """Although our own key vouches for the workspace."""
        ours, remote.api_key = remote.api_key, "key-of-another-workspace"
        remote.hidden = set(ids)
        strangers = [remote.add(f"Stranger {number}")["_id"] for number in range(5)]

        def put_right(operation: str | None, phase: str) -> None:
            if (operation, phase) == ("list", "after"):
                remote.on_request = None
                remote.api_key, remote.hidden = ours, set()
                remove(remote, strangers)

        remote.on_request = put_right
        run = full_run()

        assert (run.state, run.wait) == ("waiting", "backoff")
        assert Conversation.objects.count() == 250
        let_the_wait_pass()
        assert full_run().state == "succeeded"
        assert mirror_equals(remote)

    def test_its_404_deletes_nothing(self, remote, ids):
        """Although our own key finds the canary."""
        ours, there = remote.api_key, remote.get(ids[7])
        remote.hidden = {ids[7]}

        def swap(operation: str | None, phase: str) -> None:
            if (operation, phase, remote.count("list")) == ("list", "after", 2):
                remote.api_key = "key-of-another-workspace"
                remote.remove(ids[7])
            elif (operation, phase) == ("retrieve", "after"):
                remote.on_request = None
                remote.api_key = ours
                remote.add(there.pop("displayName"), **there)

        remote.on_request = swap
        run = full_run()

        assert (run.state, run.wait, states(ids[7])) == ("waiting", "backoff", ["missing"])
        let_the_wait_pass()
        assert (full_run().unlisted, states(ids[7])) == (1, ["unlisted"])

    def test_it_stores_no_later_page_of_an_incremental_run_either(self, remote, ids, settings):
        configure(settings, PAGE_SIZE=10, LOOK_BACK_PAGES=2)
        remote.unknown_cursor = "first_page"
        ours, new = remote.api_key, [remote.add(f"New {number}")["_id"] for number in range(5)]

        def swap(operation: str | None, phase: str) -> None:
            if (operation, phase, remote.count("list")) == ("list", "after", 0):
                remote.api_key = "key-of-another-workspace"
                remove(remote, [*ids, *new])
                for number in range(20):
                    remote.add(f"Stranger {number}", _id=f"conv_01{number:024}")
            elif (operation, phase, remote.count("list")) == ("list", "after", 1):
                remote.api_key = ours

        remote.on_request = swap
        run = incremental_run()

        assert (run.pages, run.created, Conversation.objects.count()) == (1, 5, 255)


def test_what_a_doubted_run_left_missing_waits_for_approval_in_later_runs_too(remote, ids, settings):
    configure(settings, MASS_DELETE_MIN=1000)
    with foreign(70) as other:
        configure(settings, BASE_URL=other.base_url)
        vouched = work_on(approve(full_run()))
        assert (vouched.needs_approval, vouched.created) == ("mass_delete", 70)

        for _schedule in range(3):
            later = full_run()
            assert (later.state, later.needs_approval, later.to_approve) == ("partial", "mass_delete", 250)
        assert Conversation.objects.deleted().count() == 0

        assert work_on(approve(later)).tombstoned == 250
        assert full_run().state == SyncRun.State.SUCCEEDED


@pytest.mark.parametrize("end", ["complete", "cancelled", "failed"])
@pytest.mark.parametrize("modes", [["full"], ["incremental"], ["full", "incremental"]])
def test_approved_doubt_holds_deletions_until_they_are_settled(remote, ids, settings, one_run_is_kept, modes, end):
    """With fewer conversations than the guard allows, whichever run was approved and however it ended."""
    with foreign(20) as other:
        configure(settings, BASE_URL=other.base_url, PAGE_SIZE=10)
        doubted, *_newer = [work_on(runs.open_run("default", mode)) for mode in modes]
        approved = approve(doubted)
        if end == "failed":
            other.fail("list", status=401, after=1)
        work_on(approved) if end != "cancelled" else slices.run_slice(approved.pk, seconds=0.000_001)
        runs.cancel(approved)
    configure(settings, BASE_URL=remote.base_url)
    remove(remote, ids[10:30])

    following = [incremental_run(), incremental_run(), full_run()][-1]

    assert (following.needs_approval, following.tombstoned) == ("mass_delete", 0)
    work_on(approve(following))
    remove(remote, ids[40:45])
    assert full_run().tombstoned == 5  # nothing is in doubt any more


@pytest.mark.django_db(transaction=True)
def test_refresh_that_found_it_alive_beats_the_404_of_the_confirmation(remote, ids):
    """It was restored in Orq after the confirmation's request and before its tombstone."""
    lost = remote.get(ids[7])
    remote.remove(ids[7])
    row = Conversation.objects.get(remote_id=ids[7])

    def restore(operation: str | None, phase: str) -> None:
        if (operation, phase) == ("retrieve", "after"):
            remote.on_request = None
            remote.add(lost["displayName"], **{key: value for key, value in lost.items() if key != "displayName"})
            in_thread(lambda: verbs.refresh_conversation(Conversation.objects.get(pk=row.pk))).join()

    remote.on_request = restore
    full_run()

    assert states(ids[7]) == ["unlisted"]


def test_guard_looks_again_before_each_batch(remote, ids):
    remove(remote, ids[10:40])
    remote.fail("retrieve", status=503)
    run = full_run()
    assert (run.state, run.phase) == ("waiting", "confirm")
    rows = QuerySet(Conversation).filter(remote_id__in=ids[100:200])
    rows.update(missing_since=run.confirm_until)
    let_the_wait_pass()

    run = full_run()

    assert (run.needs_approval, run.to_approve, run.tombstoned) == ("mass_delete", 130, 0)


def test_guard_counts_what_the_run_has_tombstoned_already(remote, ids):
    """Refreshes find 35 unlisted conversations deleted while a run is confirming: together they are more than 50."""
    remote.hidden = set(ids[10:45])
    assert full_run().unlisted == 35
    remove(remote, ids[100:130])
    run = runs.open_run("default", "full")
    SyncRun.objects.filter(pk=run.pk).update(batch=20)

    def refresh_deleted(now: SyncRun) -> None:
        if now.tombstoned == 20 and remote.hidden:
            remove(remote, remote.hidden)
            for row in Conversation.objects.filter(remote_id__in=remote.hidden):
                with pytest.raises(ConversationNotFound):
                    verbs.refresh_conversation(row)
            remote.hidden = set()

    slices.run_slice(run.pk, on_progress=refresh_deleted)

    run.refresh_from_db()
    assert (run.state, run.needs_approval, run.to_approve, run.tombstoned) == ("partial", "mass_delete", 45, 20)


def test_another_approval_does_not_widen_what_is_confirmed(remote, ids, held):
    remote.fail("retrieve", times=None, status=404, body='{"message": "no"}')
    second = work_on(approve(held))
    assert second.needs_approval == "no_canary"
    remote.clear_faults()
    QuerySet(Conversation).filter(remote_id__in=ids[100:200]).update(missing_since=second.checkpoint_at)

    third = work_on(approve(second))

    assert third.tombstoned == 51


def test_confirmation_under_a_rate_limit_comes_to_its_end(remote, ids):
    """Orq allows ten requests, then asks to wait."""
    remove(remote, ids[10:50])
    for _turn in range(40):
        remote.clear_faults()
        remote.fail(after=10, times=None, status=429, headers={"Retry-After": "30"})
        run = full_run()
        if run.is_finished:
            break
        let_the_wait_pass()

    assert (run.state, run.tombstoned) == ("succeeded", 40)


def test_missing_rows_of_another_workspace_are_none_of_ours(remote, ids, settings):
    remote.remove(ids[5])
    row = Conversation.objects.get(remote_id=ids[6])
    QuerySet(Conversation).filter(pk=row.pk).update(workspace="another", missing_since=row.mirrored_at)

    assert full_run().tombstoned == 1
    row.refresh_from_db()
    assert row.state == "missing"


def test_run_that_doubted_its_workspace_is_not_pruned_until_that_is_settled(remote, ids, settings, one_run_is_kept):
    with OrqSandbox(conversations=5) as another:
        ours = settings.ORQ_WORKSPACES
        settings.ORQ_WORKSPACES = another.settings()
        doubted = full_run()
        incremental_run()
    assert runs.can_be_approved(SyncRun.objects.get(pk=doubted.pk))

    settings.ORQ_WORKSPACES = ours
    full_run()
    incremental_run()

    assert not SyncRun.objects.filter(pk=doubted.pk).exists()


def test_run_that_awaits_approval_is_not_pruned(remote, held, one_run_is_kept):
    for number in range(4):
        remote.add(f"New {number}")
        work_on(runs.open_run("default", "incremental"))

    assert SyncRun.objects.filter(pk=held.pk).exists()


def test_hiccup_makes_batches_small_for_a_while_only(remote, ids, settings):
    configure(settings, MASS_DELETE_MIN=200)
    remove(remote, ids[10:160])
    remote.fail("retrieve", after=2, status=503)
    assert full_run().state == SyncRun.State.WAITING
    let_the_wait_pass()

    run = full_run()

    assert (run.state, run.tombstoned) == ("succeeded", 150)
    assert remote.count("retrieve") < 150 + 20


def test_id_that_a_page_shows_far_from_its_place_is_not_missing_there(remote, ids, settings, monkeypatch):
    """There are more rows in the page's range than are read at once."""
    configure(settings, PAGE_SIZE=50)
    monkeypatch.setattr(batches, "CHUNK", 20)
    remote.hidden = set(ids[20:80])
    stray = ids[200]
    remote.transform_list = shown_far_from_its_place(remote, stray)

    full_run()

    assert states(stray, ids[30]) == ["live", "missing"]


def shown_far_from_its_place(remote: OrqSandbox, stray: str):
    """The list shows this conversation on its first page and nowhere else."""
    item = next(item for item in remote.conversations if item["_id"] == stray)

    def transform(answer):
        listed = [one for one in answer["data"] if one["_id"] != stray]
        is_first = listed[0]["_id"] == remote.conversations[0]["_id"]
        return answer | {"data": [listed[0], item, *listed[1:]] if is_first else listed}

    return transform


def test_approved_run_that_was_cancelled_leaves_the_decision_to_the_next(held):
    runs.cancel(approve(held))

    following = full_run()

    assert (following.needs_approval, following.tombstoned) == ("mass_delete", 0)
    assert work_on(approve(following)).tombstoned == 51


def before_its_transaction(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act when the next transaction is about to begin, whatever was read before."""
    atomic = transaction.atomic

    def act_first(**options: Any) -> Any:
        monkeypatch.setattr(transaction, "atomic", atomic)
        act()
        return atomic(**options)

    monkeypatch.setattr(transaction, "atomic", act_first)


class TestApproval:
    def test_twice_is_once(self, held):
        assert runs.approve(held, reason="mass_delete", by="somebody") == held
        assert runs.approve(held, reason="mass_delete", by="somebody else") is None

        run = work_on(held)
        assert [one["by"] for one in run.approvals] == ["somebody"]
        for reason in ("mass_delete", ""):
            assert runs.approve(held, reason=reason, by="somebody else") is None

    def test_for_another_reason_than_the_one_shown_does_nothing(self, held):
        for reason in ("no_canary", ""):
            assert runs.approve(held, reason=reason, by="somebody") is None

    def test_is_refused_once_a_later_full_run_has_settled_it(self, remote, held, settings):
        configure(settings, MASS_DELETE_MIN=100)
        later = full_run()
        assert later.tombstoned == 51

        with pytest.raises(ValueError, match=f"superseded: the later run {later.pk}"):
            approve(held)
        assert "because of a later run" in " ".join(remarks(held))

    def test_is_refused_while_another_run_of_that_mode_is_unfinished(self, held):
        other = runs.open_run("default", "full")

        with pytest.raises(ValueError, match=f"Sync run {other.pk} is unfinished"):
            approve(held)
        runs.cancel(other)
        assert work_on(approve(held)).tombstoned == 51

    def test_later_incremental_run_does_not_settle_what_is_missing(self, remote, held):
        remote.add("New")
        assert incremental_run().state == "succeeded"

        assert work_on(approve(held)).tombstoned == 51

    def test_doubt_that_each_scheduled_run_repeats_is_approved_once(self, remote, ids, settings):
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = [incremental_run(), full_run(), incremental_run()]
            assert {run.needs_approval for run in doubted} == {"workspace_doubted"}

            first = approve(doubted[0])

            assert first == doubted[0]
            assert not runs.awaiting_approval("default").exists()
            for run in doubted:
                assert runs.approve(run, reason="workspace_doubted", by="somebody") is None
            assert (work_on(first).state, first.pages, first.created) == ("succeeded", 1, 70)
            assert incremental_run().state == "succeeded"

    def test_incremental_run_of_another_workspace_reads_all_of_its_list(self, remote, ids, settings):
        """The newest conversation of the former workspace is newer than some of the other's."""
        with foreign(450) as other:
            configure(settings, BASE_URL=other.base_url)
            approved = approve(incremental_run())
            assert runs.freshness("default") == runs.Freshness(last_incremental=None, last_full=None)

            run = work_on(approved)

            assert (run.state, run.created, run.is_complete) == ("succeeded", 450, True)
            other.add("New")
            assert (incremental_run().pages, runs.freshness("default").last_full) == (1, None)

    def test_incremental_run_beside_an_approved_full_run_is_not_complete(self, remote, ids, settings):
        with foreign(450) as other:
            configure(settings, BASE_URL=other.base_url, READERS=1)
            full = approve(full_run())
            slices.run_slice(full.pk, seconds=0.000_001)
            assert Conversation.objects.count() == 350

            beside = incremental_run()

            assert (beside.state, beside.is_complete) == ("succeeded", False)
            assert runs.freshness("default").last_incremental is None
            work_on(full)
            beside.refresh_from_db()
            assert (beside.is_complete, Conversation.objects.count()) == (True, 700)

    @pytest.mark.parametrize("mode", ["incremental", "full"])
    def test_of_a_doubt_is_refused_while_any_other_run_is_unfinished(self, remote, ids, settings, mode):
        other = runs.open_run("default", mode)
        runs.pause(other)
        with foreign(70) as another:
            configure(settings, BASE_URL=another.base_url)
            doubted = incremental_run() if mode == "full" else full_run()

            with pytest.raises(ValueError, match=f"Sync run {other.pk} is unfinished"):
                approve(doubted)
            assert runs.freshness("default").last_full is not None
            runs.cancel(other)
            assert work_on(approve(doubted)).created == 70

    @pytest.mark.parametrize("is_settled", [False, True])
    def test_of_a_doubt_changes_nothing_about_other_reviews(self, remote, held, settings, is_settled):
        if is_settled:
            configure(settings, MASS_DELETE_MIN=100)
            assert full_run().tombstoned == 51
        with foreign(70) as other:
            ours = settings.ORQ_WORKSPACES["default"]["BASE_URL"]
            configure(settings, BASE_URL=other.base_url)
            doubted = approve(incremental_run())
        assert list(runs.awaiting_approval("default")) == ([] if is_settled else [held])
        runs.cancel(doubted)
        configure(settings, BASE_URL=ours)

        if not is_settled:
            assert work_on(approve(held)).tombstoned == 51

    def test_full_run_that_begins_does_not_stop_an_approved_incremental_run(self, remote, ids, settings):
        with foreign(450) as other:
            configure(settings, BASE_URL=other.base_url)
            approved = approve(incremental_run())
            slices.run_slice(approved.pk, seconds=0.000_001)
            slices.run_slice(runs.open_run("default", "full").pk, seconds=0.000_001)

            run = work_on(approved)

            assert (run.state, run.seen, run.is_complete) == ("succeeded", 450, True)

    def test_doubt_is_not_settled_by_a_run_that_ended_before(self, remote, ids, settings):
        waiting = runs.open_run("default", "full", max_seconds=0.000_001)
        slices.run_slice(waiting.pk)
        remote.add("New")
        assert incremental_run().is_complete
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = full_run()
            assert (doubted.pk, doubted.error_code) == (waiting.pk, "workspace_doubted")

            assert runs.can_be_approved(doubted)
            assert work_on(approve(doubted)).created == 70

    def test_doubt_is_settled_by_a_run_that_began_before_and_is_complete_later(self, remote, ids, settings):
        waiting = runs.open_run("default", "full", max_seconds=0.000_001)
        slices.run_slice(waiting.pk)
        ours = settings.ORQ_WORKSPACES["default"]["BASE_URL"]
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = incremental_run()
        configure(settings, BASE_URL=ours)
        assert full_run().pk == waiting.pk

        assert not runs.can_be_approved(doubted)
        with pytest.raises(ValueError, match=f"superseded: the later run {waiting.pk}"):
            approve(doubted)

    def test_of_two_doubts_at_once_one_suffices(self, remote, ids, settings, monkeypatch):
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            first, second = incremental_run(), full_run()
            before_its_transaction(monkeypatch, lambda: approve(first))

            assert runs.approve(second, reason="workspace_doubted", by="somebody else") is None

            second.refresh_from_db()
            assert (second.state, second.approvals, work_on(first).created) == ("failed", [], 70)

    def test_of_a_doubt_that_comes_too_late_changes_nothing(self, remote, ids, settings, monkeypatch):
        """Somebody else approves the run, and it ends, while the approval is under way."""
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = incremental_run()
            before_its_transaction(monkeypatch, lambda: work_on(approve(doubted)))

            assert runs.approve(doubted, reason="workspace_doubted", by="somebody else") is None

            doubted.refresh_from_db()
            assert (doubted.is_complete, [one["by"] for one in doubted.approvals]) == (True, ["somebody"])

    def test_of_a_doubt_that_a_later_run_settles_at_the_same_moment_is_refused(
        self, remote, ids, settings, monkeypatch
    ):
        ours = settings.ORQ_WORKSPACES
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = incremental_run()
        settings.ORQ_WORKSPACES = ours
        before_its_transaction(monkeypatch, full_run)

        with pytest.raises(ValueError, match=f"superseded: the later run {doubted.pk + 1}"):
            approve(doubted)

        doubted.refresh_from_db()
        assert (doubted.approvals, doubted.is_finished) == ([], True)
        assert runs.freshness("default").last_full is not None

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="in memory, all threads share one connection")
    def test_of_a_doubt_waits_for_a_run_that_is_ending(self, remote, ids, settings):
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = incremental_run()
        later, outcomes = runs.open_run("default", "full"), []

        def approve_it() -> None:
            with pytest.raises(ValueError, match=f"superseded: the later run {later.pk}") as refused:
                approve(doubted)
            outcomes.append(refused)

        with transaction.atomic():
            now = DatabaseClock(write_database()).now()
            assert runs.end(later.pk, state=SyncRun.State.SUCCEEDED, now=now, is_complete=True)
            thread = in_thread(approve_it)
            thread.join(0.5)
            assert thread.is_alive()
        thread.join()

        assert len(outcomes) == 1

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.skipif(connection.vendor == "sqlite", reason="in memory, all threads share one connection")
    def test_twice_at_once_is_once(self, held, monkeypatch):
        reopen, outcomes, threads = runs._reopen, [], []

        def approve_as(name: str) -> None:
            outcomes.append(runs.approve(held, reason="mass_delete", by=name))

        def approve_meanwhile(*args: Any) -> None:
            monkeypatch.setattr(runs, "_reopen", reopen)
            threads.append(in_thread(lambda: approve_as("somebody else")))
            threads[0].join(0.5)
            reopen(*args)

        monkeypatch.setattr(runs, "_reopen", approve_meanwhile)
        approve_as("somebody")
        threads[0].join()

        held.refresh_from_db()
        assert sorted(map(str, outcomes)) == sorted([str(held), "None"])
        assert [one["by"] for one in held.approvals] == ["somebody"]

    def test_of_deletions_that_a_later_run_settles_at_the_same_moment_is_refused(
        self, remote, held, settings, monkeypatch
    ):
        configure(settings, MASS_DELETE_MIN=100)
        before_its_transaction(monkeypatch, full_run)

        with pytest.raises(ValueError, match=f"superseded: the later run {held.pk + 1}"):
            approve(held)

        held.refresh_from_db()
        assert (held.approvals, held.is_finished) == ([], True)

    def test_doubt_ends_with_a_later_complete_run(self, remote, ids, settings):
        ours = settings.ORQ_WORKSPACES
        with foreign(70) as other:
            configure(settings, BASE_URL=other.base_url)
            doubted = full_run()
        settings.ORQ_WORKSPACES = ours
        incremental_run()

        with pytest.raises(ValueError, match="superseded"):
            approve(doubted)


def test_missing_conversation_whose_new_name_the_database_refuses_is_a_rejected_item(remote, ids):
    def refuse(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE") and "Refused" in str(params):
            raise IntegrityError("CHECK constraint failed")
        return run(sql, params, many, context)

    remote.rename(ids[10], "Refused")
    remote.hidden.add(ids[10])
    remote.remove(ids[20])

    with connection.execute_wrapper(refuse):
        run = full_run()

    assert (run.state, run.rejected, run.tombstoned, run.looked_up) == ("partial", 1, 1, 2)
    assert "the database refused it" in RejectedPayload.objects.get().reason
    assert states(ids[10], ids[20]) == ["missing", "deleted"]


def test_request_for_a_proof_that_is_under_way_when_a_walk_ends_is_left_alone(remote, ids):
    run = runs.open_run("default", "full")
    claim = Claim.take(run.pk, workspace=get_workspace(), clock=DatabaseClock("default"))
    with closing(Readers(claim, count=2)) as readers:
        walk = Walk(claim, readers)
        readers.request(object(), "retrieve", partial(retrieve, ids[0]))

        walk._end(wait=True)

    assert remote.count("retrieve") == 1

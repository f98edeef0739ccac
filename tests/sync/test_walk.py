import itertools
import json
from typing import Any

import pytest

from django_orq.models import Conversation, ConversationChange, RejectedPayload, SyncRun
from django_orq.sync import batches, runs, slices, walk
from django_orq.testing import OrqSandbox

from ..threads import in_thread
from ..triggers import written_rows
from ..walking import configure, fill, full_run, mirror_equals

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(remote, settings) -> list[str]:
    """40 conversations, newest first, in pages of ten."""
    configure(settings, PAGE_SIZE=10)
    return fill(remote, 40)


def test_every_conversation_is_mirrored_field_by_field(remote):
    remote.add("A", createdById="user-1", metadata={"entityId": None, "model": "gpt"}, projectId="p-1")
    remote.add("B", updatedById="agent-7")
    fill(remote, 250)

    run = full_run()

    assert run.state == SyncRun.State.SUCCEEDED
    assert (run.seen, run.created, run.pages, run.requests) == (252, 252, 3, 3)
    assert mirror_equals(remote)


def test_empty_workspace_is_a_success(remote):
    run = full_run()

    assert (run.state, run.pages, run.seen, run.head_id) == ("succeeded", 1, 0, None)


def test_second_run_sees_the_renames_and_writes_only_them(remote):
    ids = fill(remote, 5)
    full_run()
    remote.rename(ids[2], "Renamed")

    run = full_run()

    assert (run.created, run.updated, run.unchanged) == (0, 1, 4)
    assert Conversation.objects.get(remote_id=ids[2]).display_name == "Renamed"


@pytest.mark.parametrize("style", ["snake", "camel"])
def test_both_dialects_are_walked(settings, style):
    with OrqSandbox(conversations=25, style=style) as remote:
        settings.ORQ_WORKSPACES = remote.settings()
        configure(settings, PAGE_SIZE=10)
        assert full_run().state == SyncRun.State.SUCCEEDED
        listed = [each for each in remote.conversations if style == "snake" or not _entity_of(each)]
        assert Conversation.objects.count() == len(listed) > 10


def _entity_of(conversation: dict[str, Any]) -> str | None:
    """In the “camel” dialect the list shows only conversations that belong to no entity."""
    return conversation.get("metadata", {}).get("entityId")


def test_server_that_ignores_the_cursor_fails_the_run_after_two_list_requests(remote, ids):
    remote.ignore_cursor = True

    run = full_run()

    assert run.state == SyncRun.State.FAILED
    assert remote.count("list") == 2
    assert "Check API_STYLE (now 'snake')" in run.error_message
    assert Conversation.objects.count() == 10


@pytest.mark.parametrize("answer", ["404", "400", "empty", "first_page"])
@pytest.mark.parametrize("gone", [1, 2, 5, 20], ids=["the cursor", "two", "five", "everything before it"])
def test_vanished_cursor_is_stepped_over_and_nothing_is_lost(remote, ids, answer, gone):
    full_run()
    remote.unknown_cursor = answer
    gone_ids = ids[20 - gone : 20]
    _remove_after_pages(remote, 2, gone_ids)

    run = full_run()

    assert run.state == SyncRun.State.SUCCEEDED
    assert set(Conversation.objects.live().values_list("remote_id", flat=True)) >= set(ids) - set(gone_ids)
    assert all(Conversation.objects.get(remote_id=id_).state in ("live", "deleted") for id_ in gone_ids)


@pytest.mark.django_db(transaction=True)
def test_walker_that_lost_its_run_while_the_list_was_asked_does_not_look_for_its_cursor(remote, ids):
    def lose(_operation: str | None, phase: str) -> None:
        if phase == "after":
            in_thread(lambda: SyncRun.objects.update(token="another")).join()

    def on_first_page(_run: SyncRun) -> None:
        remote.remove(ids[9])
        remote.on_request = lose

    assert slices.run_slice(runs.open_run("default", "full").pk, on_progress=on_first_page) is None

    assert remote.count("retrieve") == 0
    assert SyncRun.objects.get().token == "another"


def _remove_after_pages(remote: OrqSandbox, pages: int, ids: list[str]) -> None:
    def remove(operation: str | None, phase: str) -> None:
        if operation == "list" and phase == "after":
            remove.seen += 1
            if remove.seen == pages:
                for id_ in ids:
                    remote.remove(id_)

    remove.seen = 0
    remote.on_request = remove


def test_everything_older_deleted_meanwhile_is_the_end_of_the_list(remote, ids):
    _remove_after_pages(remote, 1, ids[10:])

    run = full_run()

    assert (run.state, run.seen) == ("succeeded", 10)


@pytest.mark.parametrize(
    ("times", "answer", "state", "error_code", "asked"),
    [
        (1, {"status": 200, "body": '{"data": [], "has_more": true}'}, "succeeded", "", 5),
        (None, {"status": 200, "body": '{"data": [], "has_more": true}'}, "waiting", "malformed_response", 3),
        (None, {"status": 400, "body": "no"}, "failed", "api_error", 3),
    ],
    ids=["empty once", "empty", "refused"],
)
def test_page_that_can_not_be_after_a_living_cursor_is_asked_for_once_more(
    remote, ids, times, answer, state, error_code, asked
):
    remote.fail("list", after=1, times=times, **answer)

    run = full_run()

    assert (run.state, run.error_code, remote.count("list")) == (state, error_code, asked)


def test_steps_back_are_numbered(remote, ids, monkeypatch):
    """A server that lists conversations, but does not know them as cursors."""
    monkeypatch.setattr(walk, "MAX_STEPS_BACK", 3)
    remote.fail("retrieve", times=None, status=404, body='{"message": "no"}')
    remote.fail("list", after=1, times=None, status=404, body='{"message": "no"}')

    run = full_run()

    assert (run.state, run.error_code) == ("waiting", "malformed_response")
    assert "does not continue the list after any of the conversations tried" in run.error_message
    assert remote.count("list") == 5


def test_lists_in_disorder_lose_nothing(remote, ids):
    remote.transform_list = lambda answer: answer | {"data": answer["data"][-2::-1] + answer["data"][-1:]}

    run = full_run()

    assert (run.state, run.seen) == ("succeeded", 40)
    assert mirror_equals(remote)


@pytest.mark.parametrize("slice_seconds", [20, 0.000_001])
def test_conversation_that_is_listed_out_of_place_is_not_taken_for_missing(remote, ids, settings, slice_seconds):
    configure(settings, SLICE_SECONDS=slice_seconds)
    pinned = remote.get(ids[30])
    remote.transform_list = lambda answer: (
        answer
        | {
            "data": [pinned] * (answer["data"][0]["_id"] == ids[0])
            + [item for item in answer["data"] if item["_id"] != ids[30]]
        }
    )
    full_run()

    run = full_run()

    assert (run.state, run.missing, run.unlisted, run.updated) == ("succeeded", 0, 0, 0)


def test_walk_in_a_circle_ends(remote, ids):
    """Two pages that refer to each other, in an order in which something older always seems to follow."""
    first, second = ([remote.get(id_) for id_ in [*page[1:], page[0]]] for page in (ids[:10], ids[5:15]))
    pages = itertools.cycle([first, second])
    remote.transform_list = lambda answer: answer | {"data": next(pages), "has_more": True}

    run = full_run()

    assert (run.state, run.error_code) == ("failed", "cursor_ignored")
    assert remote.count("list") == 3


def test_bad_item_spoils_itself_and_the_run_is_partial(remote):
    ids = fill(remote, 3)
    remote.transform_list = lambda answer: _with_items(answer, 1, {"_id": ids[1], "displayName": None})

    run = full_run()

    assert (run.state, run.seen, run.created, run.rejected) == ("partial", 3, 2, 1)
    rejected = RejectedPayload.objects.get()
    assert (rejected.key, rejected.last_run, rejected.resolved_at) == (ids[1], run, None)
    assert "displayName" in rejected.reason
    assert json.loads(rejected.excerpt) == {"_id": ids[1], "displayName": None}


def _with_items(answer: dict[str, Any], place: int, *items: Any) -> dict[str, Any]:
    return answer | {"data": [*answer["data"][:place], *items, *answer["data"][place + 1 :]]}


@pytest.mark.parametrize(
    "item",
    [None, 7, "text", [], {}, {"_id": ""}, {"_id": "conv_UPPER"}, {"_id": ["conv_"]}],
    ids=str,
)
def test_item_without_a_usable_id_is_kept_by_its_digest(remote, item):
    fill(remote, 2)
    remote.transform_list = lambda answer: answer | {"data": [*answer["data"], item]}

    run = full_run()
    again = full_run()

    assert (run.state, run.created, again.state, again.rejected) == ("partial", 2, "partial", 1)
    assert len(RejectedPayload.objects.get().key) == 64


def test_cursor_is_the_last_usable_id_even_of_a_refused_item(remote, ids):
    broken = {"_id": ids[9], "displayName": 5}
    remote.transform_list = lambda answer: (
        answer | {"data": [broken if item["_id"] == ids[9] else item for item in answer["data"]]}
    )

    run = full_run()

    assert (run.state, run.created, run.requests) == ("partial", 39, 4)


def test_page_without_a_single_usable_id_is_malformed(remote, ids):
    remote.fail("list", after=1, status=200, body='{"data": [{"name": "x"}], "has_more": true}')

    run = full_run()

    assert (run.state, run.error_code) == ("waiting", "malformed_response")
    assert Conversation.objects.count() == 10


def test_refused_conversation_that_comes_whole_later_is_resolved(remote):
    ids = fill(remote, 2)
    remote.transform_list = lambda answer: _with_items(answer, 0, {"_id": ids[0]})
    full_run()
    remote.transform_list = None

    assert full_run().state == SyncRun.State.SUCCEEDED
    assert RejectedPayload.objects.get().resolved_at is not None

    remote.transform_list = lambda answer: _with_items(answer, 0, {"_id": ids[0]})
    full_run()
    assert RejectedPayload.objects.get().resolved_at is None


def test_refused_payload_that_is_gone_is_resolved_by_a_run_that_saw_all(remote):
    fill(remote, 2)
    remote.transform_list = lambda answer: answer | {"data": [*answer["data"], "junk"]}
    full_run()
    remote.transform_list = None

    full_run()

    assert RejectedPayload.objects.get().resolved_at is not None


def test_list_that_shows_older_values_than_before_makes_the_run_partial(remote):
    (id_,) = fill(remote, 1)
    old = remote.get(id_)
    remote.rename(id_, "New")
    full_run()
    remote.transform_list = lambda answer: answer | {"data": [old]}

    run = full_run()

    assert (run.state, run.outdated) == ("partial", 1)
    assert Conversation.objects.get().display_name == "New"


def test_values_that_every_database_can_hold_are_mirrored_and_stay_unchanged(remote):
    metadata = {"n": 10**399, "f": 0.25, "nested": json.loads("[" * 25 + "]" * 25), "emoji": "🧾", "": "\\u0000"}
    remote.add("🧾" * 100, metadata=metadata, createdById="x" * 70_000)

    assert full_run().created == 1
    assert full_run().unchanged == 1
    assert mirror_equals(remote)


def test_full_batch_costs_three_statements_when_all_is_new_and_two_when_nothing_changed(
    remote, statements, monkeypatch
):
    monkeypatch.setattr(batches, "SLOW", 60)
    monkeypatch.setattr(batches, "MAX_SECONDS", 60)  # so that the batch is full on a busy machine, too
    fill(remote, 1_200)

    look_up, fence, insert = _statements_of_second_batch(statements)[:3]
    assert look_up.startswith("SELECT")
    assert fence.startswith("UPDATE")
    assert "syncrun" in fence
    assert "INSERT" in insert

    look_up, *checkpoint = _statements_of_second_batch(statements)
    assert look_up.startswith("SELECT")
    assert len(checkpoint) <= 1
    assert all("syncrun" in statement for statement in checkpoint)


def test_changes_of_a_batch_are_recorded_by_one_statement(remote, statements, monkeypatch):
    monkeypatch.setattr(batches, "MAX_SECONDS", 60)
    ids = fill(remote, 1_200)
    full_run()
    for id_ in ids[200:210]:  # in the second batch
        remote.rename(id_, "Renamed")

    executed = _statements_of_second_batch(statements)
    assert sum("conversationchange" in statement for statement in executed) == 1
    assert ConversationChange.objects.count() == 10


def _statements_of_second_batch(statements) -> list[str]:
    """The first page of a slice is a batch of its own; ten pages follow, whose batch is written with the last one."""
    run = runs.open_run("default", "full")
    progress: list[tuple[int, int]] = []
    with statements() as executed:
        slices.run_slice(run.pk, on_progress=lambda run: progress.append((run.pages, executed.so_far())))
    assert SyncRun.objects.get(pk=run.pk).pages == 12
    before, (_pages, after) = next(pair for pair in itertools.pairwise(progress) if pair[1][0] == 11)
    return executed[before[1] : after]


@pytest.mark.django_db(transaction=True)
def test_unchanged_rows_are_not_written_as_the_database_itself_says(remote):
    """Triggers count all INSERTs, UPDATEs and DELETEs of conversations."""
    fill(remote, 120)
    with written_rows() as count:
        full_run()
        assert count() == 120
        run = full_run()
        assert run.unchanged == 120
        assert count() == 120

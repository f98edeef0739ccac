"""Every change of a name, state or metadata is on record once, with who requested it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet

from django_orq import mirror as verbs
from django_orq.exceptions import ConversationChanged, MirrorBehind, OrqError, StrayWrite
from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest
from django_orq.models import Conversation, ConversationChange, Operation, OperationItem, SyncRun
from django_orq.store import history
from django_orq.store.history import Request, Requester
from django_orq.store.reconcile import reconcile
from django_orq.sync import confirm, slices
from django_orq.sync.claim import Claim
from django_orq.testing import OrqSandbox

from ..threads import in_thread
from ..values import answer, conversation, set_columns
from ..walking import full_run, incremental_run, let_the_wait_pass

pytestmark = pytest.mark.django_db(transaction=True)

BY = {"by": "nightly import"}


@pytest.fixture
def row(remote: OrqSandbox) -> Conversation:
    for name in ("Oldest", "Refund", "Newest"):
        remote.add(name)
    full_run()
    return Conversation.objects.get(display_name="Refund")


def entries(**filters: object) -> list[tuple[object, ...]]:
    """Kind, both names, origin and actor, the oldest first."""
    columns = ("kind", "old_name", "new_name", "origin", "actor_name")
    return list(ConversationChange.objects.filter(**filters).order_by("pk").values_list(*columns))


def at_once(remote: OrqSandbox, operation: str, phase: str, work: Callable[[], object]) -> None:
    """Run this in another thread, before or after Orq carries out the next operation of this kind."""

    def act(met: str | None, when: str) -> None:
        if (met, when) == (operation, phase):
            remote.on_request = None
            in_thread(work).join()

    remote.on_request = act


def rename_operation(row: Conversation, name: str) -> Operation:
    request = ItemRequest(conversation=row, new_name=name)
    return operations.create_operation("rename", [request], by=Requester(pk="7", name="carol"))[0]


class TestOneEntryEach:
    def test_none_for_rows_that_a_sync_mirrors_for_the_first_time(self, row):
        assert entries() == []

    def test_rename_in_orq(self, remote, row):
        remote.rename(row.remote_id, "Refund paid")
        run = full_run()

        (change,) = ConversationChange.objects.all()
        row.refresh_from_db()
        assert entries() == [("renamed", "Refund", "Refund paid", "orq", "")]
        assert (change.conversation, change.workspace, change.run) == (row, "default", run)
        assert (change.actor_id, change.remote_updated_at) == (row.updated_by_id or "", row.remote_updated_at)
        assert abs(change.recorded_at - datetime.now(UTC)) < timedelta(minutes=1)

    def test_two_renames_in_orq_between_two_runs_leave_one(self, remote, row):
        remote.rename(row.remote_id, "First")
        remote.rename(row.remote_id, "Second")
        full_run()

        assert entries() == [("renamed", "Refund", "Second", "orq", "")]

    def test_rename_by_a_user_and_by_a_program(self, row):
        user = get_user_model().objects.create_user("alice")
        verbs.rename_conversation(row, display_name="By alice", by=user)
        verbs.rename_conversation(row, display_name="By program", **BY)
        verbs.rename_conversation(row, display_name="By nobody")

        assert entries() == [
            ("renamed", "Refund", "By alice", "here", "alice"),
            ("renamed", "By alice", "By program", "here", "nightly import"),
            ("renamed", "By program", "By nobody", "here", ""),
        ]
        ids = ConversationChange.objects.order_by("pk").values_list("actor_id", flat=True)
        assert list(ids) == [str(user.pk), "nightly import", ""]
        newest = ConversationChange.objects.latest("pk")
        assert newest.remote_updated_at == row.remote_updated_at

    @pytest.mark.parametrize(
        ("by", "recorded"),
        [
            (SimpleNamespace(pk=7, get_username=lambda: 31612345678), ("7", "31612345678")),
            ("import \ud800", ("import ?", "import ?")),
            (7, ("7", "7")),
        ],
        ids=["number of a telephone", "lone surrogate", "number"],
    )
    def test_requester_of_any_type_is_recorded(self, remote, row, by, recorded):
        verbs.rename_conversation(row, display_name="Renamed", by=by)

        change = ConversationChange.objects.get()
        assert (change.actor_id, change.actor_name) == recorded
        assert row.display_name == "Renamed"

    def test_bulk_rename(self, row):
        operation = rename_operation(row, "In bulk")
        operations.work_slice(operation.pk)

        (change,) = ConversationChange.objects.all()
        assert entries() == [("renamed", "Refund", "In bulk", "here", "carol")]
        assert (change.actor_id, change.operation) == ("7", operation)

    def test_creation_and_deletion(self, row):
        created = verbs.create_conversation(display_name="New", **BY)
        verbs.delete_conversation(row, **BY)

        assert entries() == [
            ("created", None, "New", "here", "nightly import"),
            ("deleted", "Refund", None, "here", "nightly import"),
        ]
        assert created.changes.get().kind == "created"

    def test_restoration_after_the_contents_were_removed(self, remote, row):
        data = remote.get(row.remote_id)
        remote.remove(row.remote_id)
        full_run()
        set_columns(row, deleted_at=datetime(2026, 1, 1, tzinfo=UTC))
        call_command("orq_prune", scrub_older_than=30, apply=True, verbosity=0, stdout=StringIO())
        remote.add(data.pop("displayName"), **data)

        full_run()

        assert entries() == [("restored", None, "Refund", "orq", "")]
        assert ConversationChange.objects.get().fields == []

    def test_deletion_and_restoration_that_runs_find(self, remote, row):
        remote.remove(row.remote_id)
        deleted_by = full_run()
        assert entries() == [("deleted", "Refund", None, "orq", "")]
        remote.add(row.display_name, _id=row.remote_id)
        restored_by = full_run()

        assert entries()[1:] == [("restored", "Refund", "Refund", "orq", "")]
        runs = list(ConversationChange.objects.order_by("pk").values_list("run", flat=True))
        assert runs == [deleted_by.pk, restored_by.pk]

    def test_changed_metadata(self, remote, row):
        remote.add("Refund", _id=row.remote_id, metadata={"a": 1, "b": [1], "same": 0})
        full_run()
        remote.add("Refund", _id=row.remote_id, metadata={"a": 2, "c": True, "same": 0})
        full_run()

        assert entries() == [("changed", "Refund", "Refund", "orq", "")] * 2
        fields = ConversationChange.objects.order_by("pk").values_list("fields", flat=True)
        assert list(fields) == [["a", "b", "same"], ["a", "b", "c"]]

    def test_metadata_that_is_null_is_not_absent(self, remote, row):
        for metadata in ({"a": None}, {}):
            remote.add("Refund", _id=row.remote_id, metadata=metadata)
            full_run()

        fields = ConversationChange.objects.order_by("pk").values_list("fields", flat=True)
        assert list(fields)[-1] == ["a"]
        assert all("a" in keys for keys in fields)

    def test_newer_time_alone_leaves_none(self, remote, row):
        remote.rename(row.remote_id, row.display_name)
        run = full_run()

        assert run.updated == 1
        assert entries() == []


class TestNoEntry:
    def test_repeated_sync(self, remote, row):
        remote.rename(row.remote_id, "Once")
        for _time in range(3):
            full_run()

        assert len(entries()) == 1

    def test_request_that_orq_rejects(self, remote, row):
        remote.fail("update", status=400)
        with pytest.raises(OrqError):
            verbs.rename_conversation(row, display_name="Never", **BY)
        remote.fail("create", status=400)
        with pytest.raises(OrqError):
            verbs.create_conversation(display_name="Never", **BY)

        assert entries() == []

    def test_stale_page(self, remote, row):
        old = conversation(remote_id=row.remote_id, display_name="Stale")
        assert old.updated_at < row.remote_updated_at
        reconcile(answer(old), workspace="default")

        assert entries() == []

    def test_transaction_that_is_rolled_back(self, row):
        with transaction.atomic():
            verbs.rename_conversation(row, display_name="Rolled back", **BY)
            assert len(entries()) == 1
            transaction.set_rollback(True)

        assert entries() == []

    def test_name_that_orq_already_has(self, remote, row):
        remote.rename(row.remote_id, "Wanted")
        verbs.rename_conversation(row, display_name="Wanted", **BY)

        assert entries() == [("renamed", "Refund", "Wanted", "orq", "")]

    def test_rename_to_the_same_name(self, row):
        verbs.rename_conversation(row, display_name="Refund", **BY)

        assert entries() == []

    def test_rename_that_is_refused_because_orq_has_another_name(self, remote, row):
        remote.rename(row.remote_id, "Theirs")
        with pytest.raises(ConversationChanged):
            verbs.rename_conversation(row, display_name="Ours", **BY)

        assert entries() == [("renamed", "Refund", "Theirs", "orq", "")]


@pytest.mark.parametrize("change", ["rename in Orq", "rename from here", "deletion in Orq", "deletion from here"])
def test_change_whose_entry_cannot_be_written_is_not_written_either(remote, row, change):
    def fail(run: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT" in sql and "django_orq_conversationchange" in sql:
            raise OperationalError("disk I/O error")
        return run(sql, params, many, context)

    with connection.execute_wrapper(fail), suppress(MirrorBehind):
        if change == "rename from here":
            verbs.rename_conversation(row, display_name="New", **BY)
        elif change == "deletion from here":
            verbs.delete_conversation(row, **BY)
        elif change == "rename in Orq":
            remote.rename(row.remote_id, "New")
        else:
            remote.remove(row.remote_id)
        full_run()

    row.refresh_from_db()
    assert (row.display_name, row.deleted_at, entries()) == ("Refund", None, [])
    let_the_wait_pass()
    full_run()
    row.refresh_from_db()
    assert (row.display_name, row.deleted_at) != ("Refund", None)
    assert len(entries()) == 1


class TestInterleavings:
    def test_sync_mirrors_our_rename_before_our_answer(self, remote, row):
        at_once(remote, "update", "after", full_run)
        verbs.rename_conversation(row, display_name="Ours", **BY)

        assert entries() == [("renamed", "Refund", "Ours", "here", "nightly import")]

    def test_sync_mirrors_our_rename_and_a_later_one_before_our_answer(self, remote, row):
        def go_on() -> None:
            full_run()
            remote.rename(row.remote_id, "Theirs")
            full_run()

        at_once(remote, "update", "after", go_on)
        verbs.rename_conversation(row, display_name="Ours", **BY)

        assert entries() == [
            ("renamed", "Refund", "Ours", "here", "nightly import"),
            ("renamed", "Ours", "Theirs", "orq", ""),
        ]

    def test_sync_sees_only_a_later_rename(self, remote, row):
        def go_on() -> None:
            remote.rename(row.remote_id, "Theirs")
            full_run()

        at_once(remote, "update", "after", go_on)
        verbs.rename_conversation(row, display_name="Ours", **BY)

        assert entries() == [
            ("renamed", "Ours", "Theirs", "orq", ""),
            ("renamed", "Refund", "Ours", "here", "nightly import"),
        ]

    def test_answer_is_lost_and_asking_settles_it(self, remote, row):
        remote.fail("update", drop="after")
        verbs.rename_conversation(row, display_name="Ours", **BY)

        assert remote.count("update") == 1
        assert entries() == [("renamed", "Refund", "Ours", "here", "nightly import")]

    def test_answer_is_lost_and_a_sync_mirrors_it_first(self, remote, row):
        remote.fail("update", drop="after")
        at_once(remote, "update", "after", full_run)
        verbs.rename_conversation(row, display_name="Ours", **BY)

        assert entries() == [("renamed", "Refund", "Ours", "here", "nightly import")]

    def test_somebody_else_renames_within_our_round_trip(self, remote, row):
        at_once(remote, "update", "before", lambda: (remote.rename(row.remote_id, "Theirs"), full_run()))
        renamed = verbs.rename_conversation(row, display_name="Ours", **BY)

        assert renamed.replaced == "Theirs"
        assert entries() == [
            ("renamed", "Refund", "Theirs", "orq", ""),
            ("renamed", "Theirs", "Ours", "here", "nightly import"),
        ]

    def test_somebody_else_renames_before_and_after_ours(self, remote, row):
        def go_on() -> None:
            remote.rename(row.remote_id, "In Orq")
            full_run()

        def meet(met: str | None, when: str) -> None:
            if met == "update":
                remote.on_request = None
                in_thread(lambda: rename_again(row, "By bob")).join() if when == "before" else None
                remote.on_request = lambda *at: at == ("update", "after") and in_thread(go_on).join()

        remote.on_request = meet
        renamed = verbs.rename_conversation(row, display_name="Ours", **BY)

        assert (renamed.replaced, renamed.overtaken_by) == ("By bob", "In Orq")
        assert [entry[1:3] for entry in entries(origin="here")] == [("Refund", "By bob"), ("By bob", "Ours")]

    def test_answers_to_two_renames_arrive_in_the_wrong_order(self, row):
        known: Any = {"remote_id": row.remote_id, "metadata": row.metadata}
        seen = conversation(display_name="Refund", updated_at=row.remote_updated_at, **known)
        for name, seconds in (("By bob", 2), ("Ours", 1)):
            at = row.remote_updated_at + timedelta(seconds=seconds)
            ours = replace(answer(conversation(display_name=name, updated_at=at, **known)), listed=False)
            request = Request(kind=verbs.Kind.RENAMED, by=Requester(name=name), seen=seen)
            reconcile(ours, workspace="default", request=request)

        assert sorted(entries()) == [
            ("renamed", "Ours", "By bob", "here", "By bob"),
            ("renamed", "Refund", "Ours", "here", "Ours"),
        ]

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="in memory, all threads share one connection")
    def test_answers_to_two_renames_arrive_together_after_a_later_one(self, row, monkeypatch):
        known: Any = {"remote_id": row.remote_id, "metadata": row.metadata}
        seen = conversation(**known, display_name="Refund", updated_at=row.remote_updated_at)

        def arrive(name: str, seconds: int) -> None:
            at = row.remote_updated_at + timedelta(seconds=seconds)
            ours = replace(answer(conversation(**known, display_name=name, updated_at=at)), listed=False)
            request = Request(kind=verbs.Kind.RENAMED, by=Requester(name=name), seen=seen)
            reconcile(ours, workspace="default", request=request, attempts=verbs.MAX_COMPARISONS)

        def record(*args: Any, **options: Any) -> Any:
            """Let the other answer arrive between our last look at the record and our commit."""
            monkeypatch.undo()
            recorded = history.record(*args, **options)
            others.append(in_thread(lambda: arrive("Second", 2)))
            others[0].join(timeout=0.5)
            return recorded

        others: list[Thread] = []
        arrive("Third", 3)
        monkeypatch.setattr(history, "record", record)
        arrive("First", 1)
        others[0].join()

        chain = ConversationChange.objects.order_by("remote_updated_at").values_list("old_name", "new_name")
        assert list(chain) == [("Refund", "First"), ("First", "Second"), ("Second", "Third")]

    @pytest.mark.parametrize("later", ["from here", "in Orq", "with metadata in Orq"])
    def test_answer_to_a_rename_arrives_after_a_later_one_to_the_same_name(self, row, later):
        known: Any = {"remote_id": row.remote_id, "metadata": row.metadata, "display_name": "Ours"}
        seen = conversation(**{**known, "display_name": "Refund"}, updated_at=row.remote_updated_at)
        bob, carol = (
            Request(kind=verbs.Kind.RENAMED, by=Requester(name=name), seen=seen) for name in ("bob", "carol")
        )
        after = {"metadata": {"topic": "refund"}} if later == "with metadata in Orq" else {}
        for request, seconds, more in ((bob if later == "from here" else None, 2, after), (carol, 1, {})):
            at = row.remote_updated_at + timedelta(seconds=seconds)
            found = replace(answer(conversation(**{**known, **more}, updated_at=at)), listed=request is None)
            reconcile(found, workspace="default", request=request)

        others = [("changed", "Ours", "Ours", "orq", "")] if after else []
        who = "bob" if later == "from here" else "carol"
        assert entries() == [*others, ("renamed", "Refund", "Ours", "here", who)]

    @pytest.mark.parametrize("also", ["", "and metadata"])
    def test_rename_back_is_mirrored_before_our_answer(self, remote, row, also):
        def go_on() -> None:
            back = remote.rename(row.remote_id, "Refund")
            remote.add(**{**back, "metadata": {"topic": "refund"}}) if also else None
            full_run()

        at_once(remote, "update", "after", go_on)
        renamed = verbs.rename_conversation(row, display_name="Ours", **BY)

        assert (row.display_name, renamed.overtaken_by) == ("Refund", "Refund")
        assert sorted(entries()) == [
            ("renamed", "Ours", "Refund", "orq", ""),
            ("renamed", "Refund", "Ours", "here", "nightly import"),
        ]
        full_run()
        assert len(entries()) == 2

    @pytest.mark.parametrize("first", ["from here", "in Orq"])
    def test_same_name_was_given_before_and_a_sync_mirrors_our_rename_before_our_answer(self, remote, row, first):
        def give_it() -> None:
            if first == "from here":
                other = Conversation.objects.get(pk=row.pk)
                verbs.rename_conversation(other, display_name="Ours", by="bob")
            else:
                remote.rename(row.remote_id, "Ours")
            full_run()

        def meet(met: str | None, when: str) -> None:
            if met == "update":
                remote.on_request = None
                in_thread(give_it).join() if when == "before" else None
                remote.on_request = lambda *at: at == ("update", "after") and in_thread(full_run).join()

        remote.on_request = meet
        verbs.rename_conversation(row, display_name="Ours", **BY)

        who = ("here", "bob") if first == "from here" else ("orq", "")
        assert entries() == [("renamed", "Refund", "Ours", *who)]

    def test_orq_had_another_name_before_ours(self, remote, row):
        """The caller saw it, but the row did not."""
        seen = remote.rename(row.remote_id, "Theirs")
        expected = datetime.fromtimestamp(seen["updatedAt"] / 1000, UTC)
        verbs.rename_conversation(row, display_name="Ours", expected_updated_at=expected, **BY)

        assert entries() == [
            ("renamed", "Refund", "Theirs", "orq", ""),
            ("renamed", "Theirs", "Ours", "here", "nightly import"),
        ]

    @pytest.mark.parametrize("when", ["before we read it", "before our request", "before we repeat it"])
    def test_metadata_that_changed_before_our_rename(self, remote, row, when):
        known = remote.get(row.remote_id)

        def change() -> None:
            name = remote.get(row.remote_id)["displayName"]
            remote.add(**{**known, "displayName": name, "metadata": {"topic": "refund"}})

        if when == "before we repeat it":
            operation = rename_operation(row, "Ours")
            killed_after_the_request(remote, operation)
            change()
            operations.work_slice(operation.pk)
        elif when == "before our request":
            at_once(remote, "update", "before", change)
            verbs.rename_conversation(row, display_name="Ours", by="carol")
        else:
            change()
            verbs.rename_conversation(row, display_name="Ours", by="carol")

        assert entries() == [
            ("changed", "Refund", "Refund", "orq", ""),
            ("renamed", "Refund", "Ours", "here", "carol"),
        ]
        assert row.changes.order_by("pk")[0].fields == ["topic"]

    def restored_in_orq(self, remote: OrqSandbox, row: Conversation) -> None:
        remote.remove(row.remote_id)
        full_run()
        remote.add(row.display_name, _id=row.remote_id)
        row.refresh_from_db()
        assert row.state == "deleted"

    def test_delete_of_one_that_was_restored_in_orq(self, remote, row):
        self.restored_in_orq(remote, row)
        deleted_at = row.deleted_at
        verbs.delete_conversation(row, **BY)

        assert row.deleted_at > deleted_at
        assert entries() == [
            ("deleted", "Refund", None, "orq", ""),
            ("restored", "Refund", "Refund", "orq", ""),
            ("deleted", "Refund", None, "here", "nightly import"),
        ]

    def test_delete_of_a_tombstone_that_orq_does_not_have(self, remote, row):
        remote.remove(row.remote_id)
        full_run()
        row.refresh_from_db()
        verbs.delete_conversation(row, **BY)

        assert entries() == [("deleted", "Refund", None, "orq", "")]

    @pytest.mark.parametrize("when", ["", "before our answer", "before we repeat it"])
    def test_rename_of_one_that_was_restored_in_orq(self, remote, row, when):
        self.restored_in_orq(remote, row)
        if when == "before we repeat it":
            operation = rename_operation(row, "Ours")
            killed_after_the_request(remote, operation)
            operations.work_slice(operation.pk)
        else:
            if when:
                at_once(remote, "update", "after", full_run)
            verbs.rename_conversation(row, display_name="Ours", by="carol")

        restored_as = "Ours" if when == "before our answer" else "Refund"
        assert entries()[1:] == [
            ("restored", "Refund", restored_as, "orq", ""),
            ("renamed", "Refund", "Ours", "here", "carol"),
        ]

    @pytest.mark.parametrize("deleted", ["by the killed process", "before", "while the operation paused"])
    def test_delete_is_repeated_after_a_kill(self, remote, row, deleted):
        items = [ItemRequest(conversation=one) for one in (Conversation.objects.get(display_name="Newest"), row)]
        wanted = items if deleted == "while the operation paused" else items[1:]
        operation, _is_new = operations.create_operation("delete", wanted, by=Requester(pk="7", name="carol"))
        if len(wanted) == 2:
            operations.work_slice(operation.pk, seconds=0)
        if deleted != "by the killed process":
            remote.remove(row.remote_id)
            full_run()
        killed_after_the_request(remote, operation, "mark_deleted")
        full_run()
        operations.work_slice(operation.pk)

        who = ("here", "carol") if deleted == "by the killed process" else ("orq", "")
        assert entries(conversation=row) == [("deleted", "Refund", None, *who)]
        assert operation.items.get(conversation=row).note == {}

    def test_deletion_that_is_confirmed_has_the_name_of_the_row(self, remote, row, monkeypatch):
        remote.remove(row.remote_id)
        mark_gone = confirm.mark_gone

        def mark_after_a_rename(*args: Any, **options: Any) -> int:
            QuerySet(Conversation).filter(pk=row.pk).update(display_name="Refund paid")
            return mark_gone(*args, **options)

        monkeypatch.setattr(confirm, "mark_gone", mark_after_a_rename)
        full_run()

        assert entries() == [("deleted", "Refund paid", None, "orq", "")]

    def test_creation_is_listed_before_its_answer(self, remote, row):
        at_once(remote, "create", "after", incremental_run)
        verbs.create_conversation(display_name="New", **BY)

        assert entries() == [("created", None, "New", "here", "nightly import")]

    def test_confirmation_makes_the_tombstone_before_our_204(self, remote, row):
        at_once(remote, "delete", "after", full_run)
        verbs.delete_conversation(row, **BY)

        assert entries() == [("deleted", "Refund", None, "here", "nightly import")]

    def test_confirmation_came_first_and_orq_answers_404(self, remote, row):
        at_once(remote, "delete", "before", lambda: (remote.remove(row.remote_id), full_run()))
        verbs.delete_conversation(row, **BY)

        assert entries() == [("deleted", "Refund", None, "orq", "")]

    @pytest.mark.parametrize("synced", [False, True])
    def test_item_is_repeated_after_a_kill(self, remote, row, synced):
        operation = rename_operation(row, "Ours")
        killed_after_the_request(remote, operation)
        if synced:
            full_run()
            assert entries() == [("renamed", "Refund", "Ours", "orq", "")]
        operations.work_slice(operation.pk)

        assert OperationItem.objects.get().state == "done"
        assert remote.count("update") == 1
        assert entries() == [("renamed", "Refund", "Ours", "here", "carol")]

    def test_process_that_is_killed_and_not_repeated_leaves_one_of_orq(self, remote, row):
        killed_after_the_request(remote, rename_operation(row, "Ours"))
        full_run()

        assert entries() == [("renamed", "Refund", "Ours", "orq", "")]

    def test_two_users_rename_to_the_same_name_at_once(self, remote, row):
        at_once(remote, "update", "before", lambda: rename_again(row, "Same"))
        verbs.rename_conversation(row, display_name="Same", **BY)

        assert entries() == [("renamed", "Refund", "Same", "here", "bob")]


def rename_again(row: Conversation, name: str) -> None:
    verbs.rename_conversation(Conversation.objects.get(pk=row.pk), display_name=name, by="bob")


def killed_after_the_request(remote: OrqSandbox, operation: Operation, at: str = "_mirror") -> None:
    """Send the item's request, and die before the answer is written."""

    class Killed(BaseException):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verbs, at, lambda *_args, **_options: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            operations.work_slice(operation.pk)
    Operation.objects.update(token="", lease_until=None)


class TestReading:
    def test_entries_refuse_writes(self, remote, row):
        remote.rename(row.remote_id, "Other")
        full_run()
        change = ConversationChange.objects.get()

        for write in (
            change.save,
            change.delete,
            ConversationChange.objects.all().delete,
            lambda: ConversationChange.objects.update(new_name="x"),
            lambda: ConversationChange.objects.create(kind="renamed"),
            lambda: ConversationChange.objects.bulk_create([]),
            lambda: row.changes.all().delete(),
            lambda: row.changes.create(kind="renamed"),
        ):
            with pytest.raises(StrayWrite, match="orq_prune --changes"):
                write()
        assert len(entries()) == 1

    def test_long_names_of_requesters_are_cut(self, row):
        verbs.rename_conversation(row, display_name="Other", by="x" * 300)

        assert row.changes.get().actor_name == "x" * 255

    def test_changes_of_one_conversation(self, remote, row):
        for name in ("One", "Two"):
            verbs.rename_conversation(row, display_name=name)

        assert [one.new_name for one in row.changes.order_by("pk")] == ["One", "Two"]


class TestUnknownCreations:
    """Creations in the admin whose outcome is unknown, and what a later complete run makes of them."""

    def create(self, remote: OrqSandbox, name: str, *, is_applied: bool = True) -> OperationItem:
        """An unknown creation. Runs count as begun late enough for it; ``sent_at`` stays near Orq's time."""
        remote.fail("create", drop="after" if is_applied else "before")
        wanted = ItemRequest(conversation=Conversation(workspace="default", display_name=name))
        item, _is_new = operations.create_once(wanted, by=Requester(pk="7", name="carol"), form_token=None)
        assert item.state == "unknown"
        return item

    @pytest.fixture
    def is_late(self, monkeypatch) -> None:
        """Runs begin long after the requests that are sent now."""
        begin = slices._begin

        def begin_late(claim: Claim) -> None:
            SyncRun.objects.filter(pk=claim.run.pk).update(started_at=datetime.now(UTC) + timedelta(minutes=4))
            claim.run.started_at = datetime.now(UTC) + timedelta(minutes=4)
            begin(claim)

        monkeypatch.setattr(slices, "_begin", begin_late)

    @pytest.mark.parametrize("run", [full_run, incremental_run])
    def test_one_candidate(self, remote, row, is_late, run):
        item = self.create(remote, "New")
        run()

        item.refresh_from_db()
        created = Conversation.objects.get(display_name="New")
        assert (item.state, item.conversation, item.error_code) == ("done", created, "")
        assert entries() == [("created", None, "New", "here", "carol")]
        assert created.changes.get().operation == item.operation
        assert remote.count("create") == 1

    def test_run_that_began_too_early_decides_nothing(self, remote, row):
        item = self.create(remote, "New")
        full_run()

        item.refresh_from_db()
        assert (item.state, item.note, entries()) == ("unknown", {}, [])

    def test_incomplete_run_decides_nothing(self, remote, row, is_late):
        item = self.create(remote, "New")
        remote.fail("list", status=400, times=9)
        assert full_run().state == "failed"

        item.refresh_from_db()
        assert (item.state, item.note, entries()) == ("unknown", {}, [])

    def test_two_conversations_of_that_name(self, remote, row, is_late):
        item = self.create(remote, "New")
        remote.add("New")
        full_run()

        item.refresh_from_db()
        both = list(Conversation.objects.filter(display_name="New").order_by("remote_id").values_list("pk", flat=True))
        assert (item.state, item.note["candidates"], len(both), entries()) == ("unknown", both, 2, [])

    @pytest.mark.parametrize("name", ["new", "Néw", "New "])
    def test_similar_name(self, remote, row, is_late, name):
        item = self.create(remote, "New", is_applied=False)
        remote.add(name)
        full_run()

        item.refresh_from_db()
        assert (item.state, item.note["candidates"], entries()) == ("unknown", [], [])

    def test_two_unknown_creations_of_that_name(self, remote, row, is_late):
        items = [self.create(remote, "New"), self.create(remote, "New", is_applied=False)]
        full_run()

        (created,) = Conversation.objects.filter(display_name="New")
        for item in items:
            item.refresh_from_db()
            assert (item.state, item.note["candidates"]) == ("unknown", [created.pk])
        assert entries() == []

    @pytest.mark.parametrize(("error_code", "state"), [("", "done"), ("mirror_behind", "unknown")])
    def test_earlier_creation_of_that_name_without_a_row(self, remote, row, is_late, error_code, state):
        earlier = self.create(remote, "New", is_applied=False)  # its tombstone was pruned, or it was never written
        OperationItem.objects.filter(pk=earlier.pk).update(state="done", error_code=error_code)
        item = self.create(remote, "New")
        full_run()

        item.refresh_from_db()
        assert item.state == state

    def test_creation_that_nobody_retried_is_the_first_requesters(self, remote, row, is_late):
        wanted = [ItemRequest(conversation=Conversation(workspace="default", display_name=name)) for name in "AB"]
        operation, _is_new = operations.create_operation("create", wanted, by=Requester(pk="7", name="carol"))
        remote.fail("create", drop="after")
        remote.fail("create", status=500)
        operations.work_slice(operation.pk)
        assert operations.retry(operation, by=Requester(pk="8", name="bob"))
        operations.work_slice(operation.pk)
        full_run()

        assert sorted(entries()) == [("created", None, "A", "here", "carol"), ("created", None, "B", "here", "bob")]

    def test_creation_that_a_second_person_did_not_retry_is_the_firsts(self, remote, row, is_late):
        wanted = [ItemRequest(conversation=Conversation(workspace="default", display_name=name)) for name in "AB"]
        operation, _is_new = operations.create_operation("create", wanted, by=Requester(pk="7", name="carol"))
        remote.fail("create", status=500, times=2)
        operations.work_slice(operation.pk)
        remote.fail("create", drop="after")
        remote.fail("create", status=500)
        for name in ("bob", "anna"):  # anna can only retry “B”
            assert operations.retry(operation, by=name)
            operations.work_slice(operation.pk)
        full_run()

        assert sorted(entries()) == [("created", None, "A", "here", "bob"), ("created", None, "B", "here", "anna")]

    def test_another_creation_of_that_name_is_under_way(self, remote, row, is_late):
        item = self.create(remote, "New", is_applied=False)
        wanted = ItemRequest(conversation=Conversation(workspace="default", display_name="New"))
        operation, _is_new = operations.create_operation("create", [wanted], by=Requester(pk="8", name="bob"))
        killed_after_the_request(remote, operation)
        full_run()

        item.refresh_from_db()
        assert (item.state, len(item.note["candidates"]), entries()) == ("unknown", 1, [])

    def test_nothing_was_created(self, remote, row, is_late):
        item = self.create(remote, "New", is_applied=False)
        full_run()

        item.refresh_from_db()
        assert (item.state, item.note["candidates"]) == ("unknown", [])

    def test_conversation_that_was_mirrored_before_the_request(self, remote, row, is_late):
        remote.add("New")
        full_run()
        item = self.create(remote, "New", is_applied=False)
        remote.rename(Conversation.objects.get(display_name="New").remote_id, "New")  # mirrored again
        full_run()

        item.refresh_from_db()
        assert (item.state, item.note["candidates"]) == ("unknown", [])

    def test_result_of_another_creation(self, remote, row, is_late):
        item = self.create(remote, "New", is_applied=False)
        verbs.create_conversation(display_name="New")
        full_run()

        item.refresh_from_db()
        assert (item.state, item.note["candidates"]) == ("unknown", [])

    @pytest.mark.parametrize(("creator", "state"), [("us", "done"), ("somebody else", "unknown")])
    def test_creator_of_our_other_creations(self, remote, row, is_late, creator, state):
        other = verbs.create_conversation(display_name="Other")
        remote.add("Other", _id=other.remote_id, createdById="us")
        item = self.create(remote, "New", is_applied=False)
        remote.add("New", createdById=creator)
        full_run()

        item.refresh_from_db()
        assert item.state == state

    def test_decision_is_taken_once(self, remote, row, is_late):
        item = self.create(remote, "New", is_applied=False)
        full_run()
        remote.add("New")
        full_run()

        item.refresh_from_db()
        assert (item.state, item.note["candidates"]) == ("unknown", [])

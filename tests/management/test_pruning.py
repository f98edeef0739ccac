"""What is pruned and what is kept, for each kind."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models import Model, QuerySet

from django_orq.management import pruning
from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest, Requester
from django_orq.models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun
from django_orq.store import reconcile as reconciling
from django_orq.store.reconcile import reconcile
from django_orq.store.rules import Answer, Verdict
from django_orq.sync import runs

from ..references import models as project
from ..threads import in_thread
from ..triggers import execute
from ..values import conversation, mirrored_values, set_columns, tombstone
from ..walking import full_run, incremental_run, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)

EVERYTHING = {"runs": 1, "operations": 1, "rejected": 1, "tombstones": 1, "scrub": 1}
SCRUBBED, SCRUBBED_OPERATIONS, SCRUBBED_PAYLOADS = "scrub.conversation", "scrub.operation", "scrub.rejectedpayload"


def now() -> datetime:
    return datetime.now(UTC)


def prune(*, apply: bool = True, workspace: str | None = None, **ages: int) -> dict[str, tuple[int, int]]:
    """How many of each kind were pruned and kept."""
    tallies = [tally for tally in pruning.prune(ages, apply=apply, workspace=workspace) if tally.is_complete]
    models = [tally.kind.old(now(), None).model._meta.model_name for tally in tallies]
    return {
        f"{tally.kind.option}.{model}": (tally.count, tally.kept) for tally, model in zip(tallies, models, strict=True)
    }


def remove(**options: Any) -> tuple[int, int]:
    """Prune tombstones older than a day."""
    return prune(tombstones=1, **options)["tombstones.conversation"]


def scrub(row: Conversation) -> Conversation:
    prune(scrub=1)
    row.refresh_from_db()
    return row


def all_rows() -> dict[str, list[dict[str, Any]]]:
    models: list[type[Model]] = [Conversation, SyncRun, Operation, OperationItem, RejectedPayload]
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


def exists(*rows: Model) -> list[bool]:
    return [type(row)._default_manager.filter(pk=row.pk).exists() for row in rows]


def age(rows: Any, *, days: float) -> None:
    """Set the end of these to so many days ago."""
    rows.update(finished_at=now() - timedelta(days=days))


def rejected(key: str, *, workspace: str = "default", days: float | None = None) -> RejectedPayload:
    """A rejected payload, resolved so many days ago, or unresolved."""
    resolved_at = None if days is None else now() - timedelta(days=days)
    times = {"first_seen_at": now(), "last_seen_at": now(), "resolved_at": resolved_at}
    return RejectedPayload.objects.create(workspace=workspace, key=key, reason="x", excerpt="Secret", **times)


def operation(*rows: Conversation, days: float | None = 10) -> Operation:
    """An operation that renames these, finished so many days ago, or unfinished."""
    placed, _is_new = operations.create_operation(
        "rename", [ItemRequest(conversation=row, new_name="Wanted") for row in rows], by=Requester()
    )
    if days is not None:
        placed.items.update(state="done")
        age(Operation.objects.filter(pk=placed.pk), days=days)
    return placed


class TestRuns:
    @pytest.fixture
    def ended(self, remote) -> list[SyncRun]:
        """Two full and two incremental runs, alternating, that ended long ago."""
        remote.add("Ticket")
        ended = [walk() for _time in range(2) for walk in (full_run, incremental_run)]
        age(SyncRun.objects, days=10)
        return ended

    def test_old_ones_go_but_for_the_newest_complete_of_each_mode(self, ended):
        assert prune(runs=9, apply=False) == prune(runs=9) == {"runs.syncrun": (2, 2)}
        assert list(SyncRun.objects.order_by("pk")) == ended[2:]

    def test_younger_ones_and_those_that_the_project_protects_stay(self, ended):
        age(SyncRun.objects.filter(pk=ended[0].pk), days=8)
        project.Report.objects.create(run=ended[1])

        assert prune(runs=9) == {"runs.syncrun": (0, 3)}

    def test_those_that_await_approval_and_unfinished_ones_stay(self, ended):
        awaiting = {"state": "partial", "started_at": now()}
        SyncRun.objects.filter(pk=ended[0].pk).update(**awaiting, needs_approval="mass_delete")
        SyncRun.objects.filter(pk=ended[1].pk).update(**awaiting, needs_approval="workspace_doubted")
        unfinished = runs.open_run("default", "full")
        SyncRun.objects.filter(pk=unfinished.pk).update(queued_at=now() - timedelta(days=10))

        assert prune(runs=1) == {"runs.syncrun": (0, 4)}
        assert SyncRun.objects.count() == 5

    def test_of_one_workspace_though_it_is_configured_no_more(self, ended, settings):
        SyncRun.objects.update(workspace="research")
        settings.ORQ_WORKSPACES = {"default": {"API_KEY": "x"}}

        assert prune(runs=1, workspace="default") == {"runs.syncrun": (0, 0)}
        assert prune(runs=1, workspace="research") == {"runs.syncrun": (2, 2)}


class TestOperationsAndRejectedPayloads:
    def test_old_finished_ones_go_with_their_items(self):
        row, theirs = tombstone(1), tombstone(2, workspace="research")
        old = operation(row)
        kept = [operation(row, days=5), operation(row, days=None), operation(theirs), operation(row, theirs)]

        assert prune(operations=9, workspace="default") == {"operations.operation": (1, 0)}
        assert exists(old, *kept) == [False, *[True] * 4]
        assert not OperationItem.objects.filter(operation_id=old.pk).exists()
        assert prune(operations=9) == {"operations.operation": (2, 0)}

    def test_old_resolved_payloads_go(self):
        rejected("old", days=10)
        kept = {rejected("young", days=5), rejected("unresolved"), rejected("x", days=10, workspace="research")}

        assert prune(rejected=9, workspace="default") == {"rejected.rejectedpayload": (1, 0)}
        assert set(RejectedPayload.objects.all()) == kept


class TestScrub:
    def test_only_ids_and_times_are_left_and_nothing_that_is_about_it(self):
        row = tombstone(updated_by_id="user-2", fingerprint=5)
        before = mirrored_values(row)
        gone = [operation(row), rejected(row.remote_id)]
        kept = [
            operation(row, days=5),
            operation(row, days=None),
            rejected("another"),
            rejected(row.remote_id, workspace="b"),
        ]

        done = {SCRUBBED: (1, 0), SCRUBBED_OPERATIONS: (1, 0), SCRUBBED_PAYLOADS: (1, 0)}
        assert prune(scrub=9, apply=False) == prune(scrub=9) == done

        row.refresh_from_db()
        emptied = {"display_name": "", "metadata": None, "extra": {}, "fingerprint": None}
        assert mirrored_values(row) == before | emptied | {"created_by_id": None, "updated_by_id": None}
        assert (str(row), row.is_scrubbed) == (row.remote_id, True)
        assert (exists(*gone), exists(*kept)) == ([False] * 2, [True] * 4)
        assert prune(scrub=9) == {SCRUBBED: (0, 0), SCRUBBED_OPERATIONS: (0, 0), SCRUBBED_PAYLOADS: (0, 0)}

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            *[("display_name", "x"), ("metadata", {}), ("extra", {"a": None})],
            *[("created_by_id", "x"), ("updated_by_id", "x")],
        ],
    )
    def test_whatever_is_left_is_found(self, column, value):
        set_columns(scrub(tombstone()), **{column: value})

        assert [prune(scrub=1)[SCRUBBED] for _time in range(3)] == [(1, 0), (0, 0), (0, 0)]

    def test_what_is_younger_or_alive_or_of_another_workspace_is_left_alone(self):
        rows = [tombstone(1, days=5), set_columns(tombstone(2), deleted_at=None), tombstone(3, workspace="research")]
        for row in rows:
            operation(row)
            rejected(row.remote_id, workspace=row.workspace)
        before = all_rows()

        prune(scrub=9, workspace="default")

        assert all_rows() == before

    def test_conversation_that_came_back_meanwhile_keeps_its_name(self, monkeypatch):
        row = tombstone()
        between(monkeypatch, "_batches", lambda: set_columns(row, deleted_at=None))

        assert prune(scrub=9)[SCRUBBED] == (0, 1)
        assert Conversation.objects.get().display_name == "Ticket 1"

    def test_older_answer_does_not_bring_the_name_back(self):
        """A page requested before the deletion is written after it."""
        row = scrub(tombstone())
        page = self.answer(row, asked_at=row.mirrored_at - timedelta(seconds=1), received_at=now())

        plan = reconcile(page, workspace="default")

        row.refresh_from_db()
        assert [change.verdict for change in plan.changes] == [Verdict.SKIPPED]
        assert (row.is_scrubbed, row.state) == (True, "deleted")

    def test_answer_that_restores_it_at_the_same_moment_brings_no_former_name_back(self, monkeypatch):
        """The row is scrubbed between the comparison and the writing."""
        row = tombstone()
        page = self.answer(row, asked_at=now(), received_at=now(), display_name="As it is called now")
        compare, scrubbed = reconciling.compare, []

        def compare_and_scrub(*args: Any, **options: Any) -> Any:
            plan = compare(*args, **options)
            scrubbed.append(prune(scrub=9)[SCRUBBED])
            return plan

        monkeypatch.setattr(reconciling, "compare", compare_and_scrub)
        reconcile(page, workspace="default")

        row.refresh_from_db()
        assert scrubbed[0] == (1, 0)
        assert (row.state, row.display_name) == ("live", "As it is called now")

    def test_conversation_that_comes_back_has_the_remote_values_again(self, remote):
        remote.add("Another")
        id_ = remote.add("Ticket", metadata={"model": "gpt"})["_id"]
        item = remote.get(id_)
        full_run()
        remote.remove(id_)
        full_run()
        set_columns(Conversation.objects.get(remote_id=id_), deleted_at=now() - timedelta(days=2))
        row = scrub(Conversation.objects.get(remote_id=id_))
        assert row.is_scrubbed

        remote.transform_list = lambda answer: answer | {"data": [*answer["data"], item]}
        full_run()

        row.refresh_from_db()
        assert (row.state, row.display_name, row.metadata) == ("live", "Ticket", {"model": "gpt"})

    def test_it_can_not_be_created_again(self):
        with pytest.raises(ValueError, match="cannot be created again"):
            operations.create_operation("create", [ItemRequest(conversation=scrub(tombstone()))], by=Requester())

    def answer(self, row: Conversation, *, asked_at: datetime, received_at: datetime, **values: Any) -> Answer:
        remote = conversation(remote_id=row.remote_id, updated_at=now(), **values)
        return Answer(conversations=[remote], asked_at=asked_at, received_at=received_at, listed=True)


def bundle(row: Conversation) -> Model:
    made = project.Bundle.objects.create()
    made.conversations.add(row)
    return made


def label_of_a_proxy(row: Conversation) -> Model:
    content_type = ContentType.objects.get_for_model(project.Ticket, for_concrete_model=False)
    return project.Label.objects.create(content_type=content_type, object_id=str(row.pk))


WAYS: dict[str, Callable[[Conversation], Model]] = {
    "foreign key": lambda row: project.Reference.objects.create(conversation=row),
    "one to one": lambda row: project.Detail.objects.create(conversation=row),
    "many to many": bundle,
    "generic": lambda row: project.Label.objects.create(labelled=row),
    "generic, of a proxy": label_of_a_proxy,
    "proxy, without constraint": lambda row: project.TicketReference.objects.create(ticket_id=row.pk),
}
DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
WHEN = ["", pytest.param(DEFERRED, marks=pytest.mark.skipif(connection.vendor == "mysql", reason="it checks at once"))]


class TestTombstones:
    @pytest.mark.parametrize("way", WAYS)
    def test_whatever_refers_to_it_keeps_it(self, way):
        kept, gone = tombstone(1), tombstone(2)
        reference = WAYS[way](kept)
        another = ContentType.objects.get_for_model(project.Reference)
        project.Label.objects.create(content_type=another, object_id=str(gone.pk))

        assert remove(apply=False) == remove() == (1, 1)

        assert exists(kept, gone, reference) == [True, False, True]
        reference.delete()
        assert remove() == (1, 0)

    @pytest.mark.parametrize("deferred", WHEN)
    @pytest.mark.parametrize("columns", ["id", "workspace, remote_id"])
    def test_constraint_that_no_model_tells_of_keeps_its_row_and_no_other(self, columns, deferred):
        """A table of another program, whose foreign key only the database knows."""
        rows = [tombstone(number) for number in range(1, 8)]
        with foreign_table(columns=columns, deferred=deferred) as refer:
            refer(rows[3])
            assert remove(apply=False) == (7, 0)
            assert remove() == (6, 1)
            assert list(Conversation.objects.all()) == [rows[3]]

    def test_within_a_transaction_of_the_callers_too(self):
        rows = [tombstone(number) for number in range(1, 8)]
        with foreign_table(deferred=DEFERRED if connection.vendor == "postgresql" else "") as refer:
            refer(rows[3])
            with transaction.atomic():
                assert remove() == (6, 1)
            assert list(Conversation.objects.all()) == [rows[3]]

    def test_row_that_a_trigger_of_the_project_keeps_stays_and_the_others_go(self):
        row, *_free = (tombstone(number) for number in range(1, 5))
        for statement in _REFUSING[connection.vendor]:
            execute(statement.format(pk=row.pk))
        try:
            assert remove() == (3, 1)
            assert Conversation.objects.get() == row
        finally:
            on_table = " ON django_orq_conversation" if connection.vendor == "postgresql" else ""
            execute("DROP TRIGGER refusing" + on_table)

    def test_what_is_alive_or_deleted_lately_or_of_another_workspace_stays(self):
        tombstone(1, days=0.5)
        tombstone(1, workspace="research")
        set_columns(tombstone(2), deleted_at=None)
        set_columns(tombstone(3), deleted_at=None, missing_since=now())

        assert remove(workspace="default") == (0, 0)
        assert Conversation.objects.count() == 4

    @pytest.mark.parametrize("deleted_anew", [False, True])
    def test_conversation_that_came_back_meanwhile_stays(self, monkeypatch, deleted_anew):
        row = tombstone()
        between(monkeypatch, "_batches", lambda: set_columns(row, deleted_at=now() if deleted_anew else None))

        assert remove() == (0, 1)
        assert exists(row) == [True]

    @pytest.mark.parametrize("way", WAYS)
    def test_reference_made_after_the_first_look_keeps_its_row(self, monkeypatch, way):
        kept, gone = tombstone(1), tombstone(2)
        between(monkeypatch, "delete_unless_refused", lambda: WAYS[way](kept))

        assert (remove(), exists(kept, gone)) == ((1, 1), [True, False])

    def test_reference_made_after_the_last_look_keeps_its_row_whatever_it_does_on_delete(self, monkeypatch):
        """The database has the last word."""
        row = tombstone()
        between(monkeypatch, "_payloads_of", lambda: WAYS["one to one"](row))

        assert (remove(), exists(row)) == ((0, 1), [True])

    def test_finished_operation_and_rejected_payload_keep_none(self):
        row = tombstone()
        item = operation(row).items.get()
        gone, kept = rejected(row.remote_id), rejected(row.remote_id, workspace="another")

        assert (remove(), exists(gone, kept)) == ((1, 0), [False, True])
        item.refresh_from_db()
        assert (item.conversation, item.name) == (None, "Ticket 1")

    @pytest.mark.parametrize("is_resumed", [False, True], ids=["unfinished", "resumed at the last moment"])
    def test_operation_that_is_unfinished_keeps_it(self, monkeypatch, is_resumed):
        row = tombstone()
        item = operation(row, days=10 if is_resumed else None).items.get()
        original = pruning.all_items

        def meanwhile() -> Any:
            if is_resumed and connection.in_atomic_block:
                Operation.objects.filter(pk=item.operation_id).update(finished_at=None)
            return original()

        monkeypatch.setattr(pruning, "all_items", meanwhile)

        assert remove() == (0, 1)
        item.refresh_from_db()
        assert item.conversation == row

    def test_transaction_begins_with_a_write_or_a_lock(self, statements):
        tombstone()
        with statements() as executed:
            remove()

        writing = [sql for sql in executed if not sql.startswith("SELECT") or "FOR UPDATE" in sql]
        assert "FOR UPDATE" in writing[0] if connection.vendor != "sqlite" else writing[0].startswith("UPDATE")

    def test_late_answer_to_a_question_from_before_is_found_out_by_the_next_full_run(self, remote):
        """The answer of a process that was suspended for longer than tombstones are kept."""
        remote.add("Another")
        id_ = remote.add("Ticket")["_id"]
        full_run()
        row = Conversation.objects.get(remote_id=id_)
        long_ago, past = now() - timedelta(days=20), now() - timedelta(days=10)
        question = {"asked_at": long_ago, "received_at": long_ago, "listed": True}
        late = Answer(conversations=[conversation(remote_id=id_)], **question)
        remote.remove(id_)
        full_run()
        set_columns(row, deleted_at=past, mirrored_at=past)
        assert remove() == (1, 0)

        reconcile(late, workspace="default")
        assert Conversation.objects.get(remote_id=id_).state == "live"
        full_run()

        assert Conversation.objects.get(remote_id=id_).state == "deleted"
        assert mirror_equals(remote)

    @pytest.mark.volume
    def test_a_hundred_thousand_with_one_refused_in_each_thousand(self):
        """Refused by the database or by a relation, alternating; names and ids do not show by which."""
        one = tombstone()
        values = {
            field.attname: getattr(one, field.attname) for field in one._meta.concrete_fields if not field.generated
        }
        others = ({**values, "id": None, "remote_id": f"conv_{number:026d}"} for number in range(2, 100_001))
        QuerySet(Conversation).bulk_create([Conversation(**other) for other in others], batch_size=5_000)
        rows = list(QuerySet(Conversation).only("pk", "workspace", "remote_id").order_by("remote_id"))
        kept = rows[500::1_000]
        with foreign_table(deferred="" if connection.vendor == "mysql" else DEFERRED) as refer:
            for row in kept[::2]:
                refer(row)
            for place, row in enumerate(kept[1::2]):
                list(WAYS.values())[place % len(WAYS)](row)

            assert remove() == (99_900, 100)
            assert set(Conversation.objects.values_list("pk", flat=True)) == {row.pk for row in kept}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="two connections can't use SQLite's memory at the same time")
class TestAtTheSameMoment:
    """A reference is inserted by another connection."""

    @pytest.mark.parametrize("checked", [True, False])
    def test_reference_that_is_not_committed_yet_keeps_its_row_or_fails(self, checked):
        """PostgreSQL checks Django's constraints at the end of the transaction, or when asked to."""
        row, other = tombstone(1), tombstone(2)
        inserted, removed, ended = threading.Event(), threading.Event(), []

        def refer() -> None:
            try:
                with transaction.atomic():
                    project.Reference.objects.create(conversation_id=row.pk)
                    if checked and connection.vendor == "postgresql":
                        connection.check_constraints()
                    inserted.set()
                    assert removed.wait(timeout=30)
            except IntegrityError:
                ended.append(False)
            else:
                ended.append(True)

        thread = in_thread(refer)
        assert inserted.wait(timeout=30)
        remove()
        removed.set()
        thread.join()

        assert exists(row, other) == [*ended, False]
        assert ended == [True] or not checked
        assert project.Reference.objects.count() == sum(ended)

    def test_many_references_and_removals_at_once_lose_none(self):
        rows = [tombstone(number) for number in range(1, 41)]
        made: list[int] = []

        def refer(some: list[Conversation]) -> None:
            for row in some:
                try:
                    made.append(project.Reference.objects.create(conversation_id=row.pk).pk)
                except IntegrityError:
                    continue

        threads = [in_thread(lambda some=rows[start::4]: refer(some)) for start in range(4)]
        remove()
        for thread in threads:
            thread.join()

        held = dict(project.Reference.objects.values_list("pk", "conversation"))
        assert set(held) == set(made)
        assert set(held.values()) <= set(Conversation.objects.values_list("pk", flat=True))


class TestAll:
    @pytest.fixture
    def filled(self, remote) -> None:
        """Rows of each kind, some to be pruned and some to be kept."""
        remote.add("Ticket")
        for _time in range(3):
            full_run()
        age(SyncRun.objects, days=10)
        gone, kept = tombstone(1), tombstone(2)
        project.Reference.objects.create(conversation=kept)
        operation(Conversation.objects.live().get())
        for row in (gone, kept):
            operation(row)
            rejected(row.remote_id)
        operation(kept, days=0.5)
        rejected("resolved", days=10)
        rejected("unresolved")

    def test_nothing_is_written_unless_it_is_applied(self, filled, statements):
        before = all_rows()
        with statements() as executed:
            dry = prune(**EVERYTHING, apply=False)

        assert all_rows() == before
        assert [sql for sql in executed if sql.startswith(("INSERT", "UPDATE", "DELETE"))] == []
        scrubbed = dry[SCRUBBED_OPERATIONS][0]  # these are old operations, too
        assert prune(**EVERYTHING) == dry | {"operations.operation": (dry["operations.operation"][0] - scrubbed, 0)}
        assert all(count for count, _kept in dry.values())

    def test_twice_is_once_and_the_mirror_works_on_as_before(self, remote, filled):
        prune(**EVERYTHING)
        after = all_rows()

        assert sum(count for count, _kept in prune(**EVERYTHING).values()) == 0
        assert all_rows() == after
        assert (full_run().state, incremental_run().state) == ("succeeded", "succeeded")
        assert Conversation.objects.live().get().display_name == "Ticket"

    def test_broken_off_anywhere_it_continues_the_next_time(self, filled, monkeypatch):
        monkeypatch.setattr(pruning, "BATCH", 1)
        steps = [tally for tally in pruning.prune(EVERYTHING, apply=False) if not tally.is_complete]
        for _step in steps:
            tallies = pruning.prune(EVERYTHING, apply=True)
            next((tally for tally in tallies if tally.count), None)
            tallies.close()
        broken_off = all_rows()

        assert len(steps) > 8
        assert sum(count for count, _kept in prune(**EVERYTHING).values()) == 0
        assert all_rows() == broken_off

    def test_events_say_what_was_done_also_before_it_broke_off(self, filled, caplog):
        caplog.set_level(logging.INFO, "django_orq")
        tallies = pruning.prune(EVERYTHING, apply=True)
        next(tallies)
        tallies.close()
        done = prune(**EVERYTHING)

        events = [record for record in caplog.records if record.__dict__.get("event") == "pruning.done"]
        said = [(record.kind, (record.count, record.kept)) for record in events]
        assert said == [(SCRUBBED, (2, 0)), *done.items()]


@pytest.mark.parametrize("days", [0, -1, 36_501])
@pytest.mark.parametrize("kind", EVERYTHING)
def test_age_is_a_day_at_least(kind, days):
    with pytest.raises(ValueError, match="from 1 to 36,500"):
        pruning.prune({kind: days})


def between(monkeypatch: Any, name: str, work: Callable[[], object]) -> None:
    """Run this once, right before a step of the pruning or, for ``_batches``, after the first batch was read."""
    original = getattr(pruning, name)

    def meanwhile(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(pruning, name, original)
        batches = [next(original(*args))] if name == "_batches" else None
        work()
        return batches or original(*args, **options)

    monkeypatch.setattr(pruning, name, meanwhile)


_COLLATIONS = {"mysql": "COLLATE utf8mb4_bin", "postgresql": 'COLLATE "C"'}
_COLLATION = _COLLATIONS.get(connection.vendor, "")
_TYPES = {
    "id": "integer" if connection.vendor == "sqlite" else "bigint",
    "workspace": f"varchar(100) {_COLLATION}",
    "remote_id": f"varchar(64) {_COLLATION}",
}


@contextmanager
def foreign_table(*, columns: str = "id", deferred: str = "") -> Iterator[Callable[[Conversation], None]]:
    """A table unknown to Django; yields a function that inserts a row referring to a conversation."""
    names = columns.split(", ")
    own = ", ".join(f"its_{name} {_TYPES[name]}" for name in names)
    ours = ", ".join(f"its_{name}" for name in names)
    execute(
        f"CREATE TABLE foreign_rows ({own}, "
        f"FOREIGN KEY ({ours}) REFERENCES django_orq_conversation ({columns}) {deferred})"
    )
    places = ", ".join(["%s"] * len(names))

    def refer(row: Conversation) -> None:
        execute(f"INSERT INTO foreign_rows VALUES ({places})", [getattr(row, name) for name in names])  # noqa: S608

    try:
        yield refer
    finally:
        execute("DROP TABLE foreign_rows")


_REFUSING = {
    "sqlite": [
        "CREATE TRIGGER refusing BEFORE DELETE ON django_orq_conversation WHEN OLD.id = {pk} "
        "BEGIN SELECT RAISE(ABORT, 'keep'); END"
    ],
    "mysql": [
        "CREATE TRIGGER refusing BEFORE DELETE ON django_orq_conversation FOR EACH ROW "
        "IF OLD.id = {pk} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'keep'; END IF"
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'keep'; END $$ "
        "LANGUAGE plpgsql",
        "CREATE TRIGGER refusing BEFORE DELETE ON django_orq_conversation FOR EACH ROW WHEN (OLD.id = {pk}) "
        "EXECUTE FUNCTION refuse()",
    ],
}

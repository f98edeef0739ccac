"""Old tombstones: what is left of a scrubbed one, and what keeps one from being removed."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.db.models import Model

from django_orq.management import tombstones
from django_orq.management.references import References
from django_orq.models import Conversation, Operation, OperationItem, RejectedPayload
from django_orq.store import reconcile as reconciling
from django_orq.store.reconcile import reconcile
from django_orq.store.rules import Answer, Verdict

from ..references import models as project
from ..threads import in_thread
from ..values import conversation, mirrored_values, set_columns, tombstone
from ..walking import full_run, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)


def now() -> datetime:
    return datetime.now(UTC)


def scrub(row: Conversation) -> Conversation:
    tombstones.scrub([row])
    row.refresh_from_db()
    return row


def remove(*rows: Conversation, days: float = 1) -> int:
    before = now() - timedelta(days=days)
    return sum(
        tombstones.remove(batch, before=before, references=References())
        for batch in tombstones.batches(before=before)
        if not rows or any(row in rows for row in batch)
    )


def exists(row: Conversation) -> bool:
    return Conversation.objects.filter(pk=row.pk).exists()


class TestScrub:
    def test_only_ids_and_times_are_left(self):
        row = tombstone(previous_name="Secret", updated_by_id="user-2")
        before = mirrored_values(row)

        scrubbed = mirrored_values(scrub(row))

        gone = {"display_name": "", "previous_name": None, "metadata": None, "extra": {}}
        assert scrubbed == before | gone | {"created_by_id": None, "updated_by_id": None}
        assert (str(row), row.is_scrubbed) == (row.remote_id, True)

    def test_twice_is_once(self):
        row = tombstone()

        assert [tombstones.scrub([row]), tombstones.scrub([row])] == [1, 0]

    @pytest.mark.parametrize(
        "columns",
        [
            {"display_name": "x"},
            {"previous_name": ""},
            {"metadata": {}},
            {"extra": {"a": None}},
            {"created_by_id": "x"},
            {"updated_by_id": "x"},
        ],
        ids=lambda columns: next(iter(columns)),
    )
    def test_whatever_is_left_is_found(self, columns):
        row = set_columns(scrub(tombstone()), **columns)

        assert tombstones.count_unscrubbed([row]) == 1
        assert scrub(row).is_scrubbed
        assert tombstones.count_unscrubbed([row]) == 0

    def test_conversation_that_came_back_meanwhile_is_left_alone(self):
        row = tombstone()
        set_columns(row, deleted_at=None)

        assert tombstones.scrub([row]) == 0
        assert Conversation.objects.get().display_name == "Ticket 1"

    def test_older_answer_does_not_bring_the_name_back(self):
        """A page that Orq was asked for before the deletion, and that is written only now."""
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
            scrubbed.append(tombstones.scrub([row]))
            return plan

        monkeypatch.setattr(reconciling, "compare", compare_and_scrub)
        reconcile(page, workspace="default")

        row.refresh_from_db()
        assert scrubbed == [1, 0]
        assert (row.state, row.display_name, row.previous_name) == ("live", "As it is called now", None)

    def test_conversation_that_comes_back_has_the_remote_values_again(self, remote):
        remote.add("Another")
        id_ = remote.add("Ticket", metadata={"model": "gpt"})["_id"]
        item = remote.get(id_)
        full_run()
        remote.remove(id_)
        full_run()
        row = scrub(Conversation.objects.get(remote_id=id_))
        assert row.state == "deleted"

        remote.transform_list = lambda answer: answer | {"data": [*answer["data"], item]}
        full_run()

        row.refresh_from_db()
        assert (row.state, row.display_name, row.metadata) == ("live", "Ticket", {"model": "gpt"})
        assert (row.previous_name, row.is_scrubbed) == (None, False)

    def answer(self, row: Conversation, *, asked_at: datetime, received_at: datetime, **values: Any) -> Answer:
        remote = conversation(remote_id=row.remote_id, updated_at=now(), **values)
        return Answer(conversations=[remote], asked_at=asked_at, received_at=received_at, listed=True)


def bundle(row: Conversation) -> Model:
    made = project.Bundle.objects.create()
    made.conversations.add(row)
    return made


def mention(row: Conversation) -> Model:
    return project.Mention.objects.create(workspace=row.workspace, remote_id=row.remote_id)


def label(row: Conversation) -> Model:
    return project.Label.objects.create(labelled=row)


def label_of_a_proxy(row: Conversation) -> Model:
    content_type = ContentType.objects.get_for_model(project.Ticket, for_concrete_model=False)
    return project.Label.objects.create(content_type=content_type, object_id=str(row.pk))


WAYS: dict[str, Callable[[Conversation], Model]] = {
    "set null": lambda row: project.Reference.objects.create(conversation=row),
    "cascade": lambda row: project.Dependent.objects.create(conversation=row),
    "one to one": lambda row: project.Protector.objects.create(conversation=row),
    "no constraint": lambda row: project.Unconstrained.objects.create(conversation_id=row.pk),
    "proxy": lambda row: project.TicketReference.objects.create(ticket_id=row.pk),
    "many to many": bundle,
    "generic": label,
    "generic, of a proxy": label_of_a_proxy,
    "generic relation": lambda row: row.tags.create(),
    "long name": lambda row: project.LongNamed.objects.create(conversation_id=row.pk),
    "long name, generic": lambda row: project.LongNamed.objects.create(labelled=row),
    "two columns": mention,
}


OTHER_WAY_ROUND = pytest.param(
    "remote_id, workspace",
    marks=pytest.mark.skipif(connection.vendor == "mysql", reason="MariaDB wants them as an index has them"),
)


class TestRemove:
    def test_tombstone_that_nothing_refers_to_is_removed(self):
        row = tombstone()

        assert (remove(), exists(row)) == (1, False)

    @pytest.mark.parametrize("way", WAYS)
    def test_whatever_refers_to_it_keeps_it(self, way):
        kept, gone = tombstone(1), tombstone(2)
        reference = WAYS[way](kept)

        assert remove() == 1

        assert (exists(kept), exists(gone)) == (True, False)
        reference.refresh_from_db()
        reference.delete()
        assert remove() == 1

    def test_reference_to_one_of_the_same_id_in_another_workspace_is_none(self):
        kept, gone = tombstone(1), tombstone(1, workspace="research")
        mention(kept)

        assert (remove(), exists(kept), exists(gone)) == (1, True, False)

    def test_label_of_another_model_with_the_same_key_is_none(self):
        row = tombstone()
        content_type = ContentType.objects.get_for_model(project.Reference)
        project.Label.objects.create(content_type=content_type, object_id=str(row.pk))

        assert remove() == 1

    def test_what_is_alive_or_deleted_lately_stays(self):
        tombstone(1, days=0.5)
        alive, missing = tombstone(2), tombstone(3)
        set_columns(alive, deleted_at=None)
        set_columns(missing, deleted_at=None, missing_since=now())

        assert remove() == 0
        assert Conversation.objects.count() == 3

    @pytest.mark.parametrize(
        "columns", [{"deleted_at": None}, {"deleted_at": "now"}], ids=["restored", "deleted anew"]
    )
    def test_conversation_that_came_back_meanwhile_stays(self, columns):
        row = tombstone()
        (batch,) = tombstones.batches(before=now())
        set_columns(row, deleted_at=None if columns["deleted_at"] is None else now())

        assert tombstones.remove(batch, before=now() - timedelta(days=1), references=References()) == 0
        assert exists(row)

    @pytest.mark.parametrize("on_delete", ["", "ON DELETE CASCADE", "ON DELETE SET NULL"])
    @pytest.mark.parametrize("columns", ["id", "workspace, remote_id", OTHER_WAY_ROUND])
    def test_constraint_that_no_model_tells_of_keeps_its_row_and_no_other(self, columns, on_delete):
        """A table of another program in the same database: only the database knows of it."""
        rows = [tombstone(number) for number in range(1, 8)]
        with foreign_table(refers_to=rows[3], columns=columns, on_delete=on_delete) as table:
            assert remove() == 6
            assert list(Conversation.objects.all()) == [rows[3]]
            assert table.is_as_it_was()

    @pytest.mark.skipif(connection.vendor == "mysql", reason="MariaDB demands columns")
    def test_constraint_to_no_named_column_is_one_to_the_primary_key(self):
        row = tombstone()
        with foreign_table(refers_to=row, columns="", on_delete="ON DELETE CASCADE") as table:
            assert remove() == 0
            assert table.is_as_it_was()

    def test_constraint_that_nobody_has_found_keeps_its_row_and_no_other(self):
        """It was made right after the look for such."""
        rows = [tombstone(number) for number in range(1, 8)]
        references = References()
        references.to(rows)
        with foreign_table(refers_to=rows[3]):
            (batch,) = tombstones.batches(before=now())
            assert tombstones.remove(batch, before=now(), references=references) == 6
            assert list(Conversation.objects.all()) == [rows[3]]

    def test_finished_operation_lets_go_and_keeps_no_name(self):
        row = tombstone()
        operation = Operation.objects.create(verb="rename", total=1, finished_at=now())
        item = self.item(operation, row)

        assert remove() == 1

        item.refresh_from_db()
        assert (item.conversation, item.name, item.wanted) == (None, row.remote_id, "")
        assert (item.note, item.error_params["display_name"]) == ({"untried": True}, row.remote_id)
        assert "Secret" not in repr(item.error_params)

    def test_unfinished_operation_keeps_it(self):
        row = tombstone()
        item = self.item(Operation.objects.create(verb="rename", total=1), row)

        assert (remove(), exists(row)) == (0, True)
        item.refresh_from_db()
        assert (item.conversation, item.name) == (row, "Secret")

    def test_rejected_payload_of_its_id_keeps_no_copy(self):
        row = tombstone()
        for workspace in ("default", "another"):
            RejectedPayload.objects.create(
                workspace=workspace,
                key=row.remote_id,
                reason="x",
                excerpt="Secret",
                first_seen_at=now(),
                last_seen_at=now(),
            )

        remove()

        excerpts = dict(RejectedPayload.objects.values_list("workspace", "excerpt"))
        assert excerpts == {"default": "", "another": "Secret"}

    def test_refused_removal_leaves_items_as_they_were(self):
        row = tombstone()
        item = self.item(Operation.objects.create(verb="rename", total=1, finished_at=now()), row)
        references = References()
        references.to([row])
        with foreign_table(refers_to=row):
            assert tombstones.remove([row], before=now(), references=references) == 0

        item.refresh_from_db()
        assert (item.conversation, item.name, item.note["replaced"]) == (row, "Secret", "Secret")

    @pytest.mark.parametrize("way", ["no constraint", "generic", "cascade"])
    def test_reference_made_after_the_first_look_keeps_its_row(self, monkeypatch, way):
        kept, gone = tombstone(1), tombstone(2)
        right_before(monkeypatch, "let_items_go", lambda: WAYS[way](kept))

        assert (remove(), exists(kept), exists(gone)) == (1, True, False)

    def test_reference_made_after_the_last_look_is_not_deleted_with_its_row(self, monkeypatch):
        """The database is the last to say no, whatever ``on_delete`` says."""
        row = tombstone()
        right_before(monkeypatch, "scrub_payloads", lambda: WAYS["cascade"](row))

        assert (remove(), exists(row)) == (0, True)

    def test_transaction_begins_with_a_write(self, statements):
        tombstone()
        (batch,) = tombstones.batches(before=now())
        with statements() as executed:
            tombstones.remove(batch, before=now(), references=References())

        first = next(place for place, sql in enumerate(executed) if not sql.startswith(("SELECT", "PRAGMA", "\n")))
        delete = next(place for place, sql in enumerate(executed) if "DELETE FROM" in sql)
        assert executed[first].startswith("UPDATE")
        assert any("django_orq_conversation" in sql for sql in executed[first:delete])

    def test_caller_in_a_transaction_is_refused(self):
        """It would hold every batch's locks to its end, and learn of a constraint only then."""
        tombstone()
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
            remove()

    def test_late_answer_to_a_question_from_before_is_found_out_by_the_next_full_run(self, remote):
        """A process that was suspended for longer than a tombstone is kept."""
        remote.add("Another")
        id_ = remote.add("Ticket")["_id"]
        full_run()
        row = Conversation.objects.get(remote_id=id_)
        late = Answer(
            conversations=[conversation(remote_id=id_)],
            asked_at=now() - timedelta(days=20),
            received_at=now() - timedelta(days=20),
            listed=True,
        )
        remote.remove(id_)
        full_run()
        past = now() - timedelta(days=10)
        set_columns(row, deleted_at=past, mirrored_at=past)
        assert remove() == 1

        reconcile(late, workspace="default")
        assert Conversation.objects.get(remote_id=id_).state == "live"
        full_run()

        assert Conversation.objects.get(remote_id=id_).state == "deleted"
        assert mirror_equals(remote)

    def item(self, operation: Operation, row: Conversation) -> OperationItem:
        return OperationItem.objects.create(
            operation=operation,
            conversation=row,
            workspace=row.workspace,
            name="Secret",
            wanted="Secret too",
            state="failed",
            error_code="conversation_changed",
            error_params={
                "display_name": "Secret",
                "updated_at": now(),
                "updated_by_id": "Secret",
                "replaced": "Secret",
                "server_message": "Secret",
                "said": ": {server_message}",
            },
            note={"replaced": "Secret", "overtaken": "Secret", "untried": True},
        )


def right_before(monkeypatch: Any, step: str, work: Callable[[], object]) -> None:
    """Have this done each time before a step of a removal, within its transaction."""
    original = getattr(tombstones.copies, step)

    def meanwhile(rows: Any) -> Any:
        work()
        return original(rows)

    monkeypatch.setattr(tombstones.copies, step, meanwhile)


class foreign_table:  # noqa: N801 # a context manager
    """A table of which Django knows nothing, with one row that refers to a conversation."""

    def __init__(self, *, refers_to: Conversation, columns: str = "id", on_delete: str = "") -> None:
        self._names = columns.split(", ") if columns else ["id"]
        self._values = [getattr(refers_to, name) for name in self._names]
        self._target = f"({columns})" if columns else ""
        self._on_delete = on_delete

    def __enter__(self) -> "foreign_table":
        kinds = {
            "id": "integer" if connection.vendor == "sqlite" else "bigint",
            "workspace": _TEXT,
            "remote_id": _TEXT,
        }
        columns = ", ".join(f"its_{name} {kinds[name].format(length=_LENGTHS.get(name))}" for name in self._names)
        ours = ", ".join(f"its_{name}" for name in self._names)
        deferred = "" if connection.vendor == "mysql" or self._on_delete else "DEFERRABLE INITIALLY DEFERRED"
        self._execute(
            f"CREATE TABLE foreign_rows ({columns}, "
            f"FOREIGN KEY ({ours}) REFERENCES django_orq_conversation {self._target} {self._on_delete} {deferred})"
        )
        places = ", ".join(["%s"] * len(self._values))
        self._execute(f"INSERT INTO foreign_rows VALUES ({places})", self._values)  # noqa: S608 # no words of others
        return self

    def __exit__(self, *_error: object) -> None:
        self._execute("DROP TABLE foreign_rows")

    def rows(self) -> list[tuple[object, ...]]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM foreign_rows")
            return list(cursor.fetchall())

    def is_as_it_was(self) -> bool:
        return self.rows() == [tuple(self._values)]

    def _execute(self, sql: str, values: list[object] | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="has partitions that are tables")
def test_reference_from_a_partition_is_found():
    row, _free = tombstone(1), tombstone(2)
    for statement in (
        "CREATE TABLE parted (id integer, its_id bigint) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (9)",
        "ALTER TABLE parted_1 ADD FOREIGN KEY (its_id) REFERENCES django_orq_conversation (id) ON DELETE CASCADE",
        f"INSERT INTO parted VALUES (1, {row.pk})",  # noqa: S608 # a number of ours
    ):
        execute(statement)
    try:
        assert remove() == 1
        assert Conversation.objects.get() == row
    finally:
        execute("DROP TABLE parted")


def test_names_of_any_characters_are_no_obstacle():
    row, _free = tombstone(1), tombstone(2)
    tables = {"mysql": "`50%s of ``it```", "postgresql": '"50%s of ""it"""', "sqlite": '"50%s of it"'}
    table, column = tables[connection.vendor], connection.ops.quote_name("50%l")
    kind = "integer" if connection.vendor == "sqlite" else "bigint"
    execute(f"CREATE TABLE {table} ({column} {kind} REFERENCES django_orq_conversation (id))")
    try:
        execute(f"INSERT INTO {table} VALUES ({row.pk})")  # noqa: S608 # a number of ours
        assert remove() == 1
        assert Conversation.objects.get() == row
    finally:
        execute(f"DROP TABLE {table}")


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


def test_row_that_a_trigger_of_the_project_keeps_stays_and_the_others_go():
    row, *_free = (tombstone(number) for number in range(1, 5))
    for statement in _REFUSING[connection.vendor]:
        execute(statement.format(pk=row.pk))
    try:
        assert remove() == 3
        assert Conversation.objects.get() == row
    finally:
        execute("DROP TRIGGER refusing" + (" ON django_orq_conversation" if connection.vendor == "postgresql" else ""))


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


_COLLATIONS = {"mysql": "COLLATE utf8mb4_bin", "postgresql": 'COLLATE "C"'}
_TEXT = f"varchar({{length}}) {_COLLATIONS.get(connection.vendor, '')}"
_LENGTHS = {"workspace": 100, "remote_id": 64}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="two connections can't use SQLite's memory at the same time")
class TestAtTheSameMoment:
    """A reference is inserted by another connection."""

    def refer(
        self, row: Conversation, *, until: threading.Event, checked: bool
    ) -> tuple[threading.Thread, list[bool]]:
        """Insert a reference in a transaction that ends when told; whether it could end is known then."""
        inserted, ended = threading.Event(), []

        def work() -> None:
            try:
                with transaction.atomic():
                    project.Dependent.objects.create(conversation_id=row.pk)
                    if checked and connection.vendor == "postgresql":
                        connection.check_constraints()  # else that is done when the transaction ends
                    inserted.set()
                    assert until.wait(timeout=30)
            except IntegrityError:
                ended.append(False)
            else:
                ended.append(True)

        thread = in_thread(work)
        assert inserted.wait(timeout=30)
        return thread, ended

    def test_reference_that_the_database_has_checked_keeps_its_row(self):
        kept, gone = tombstone(1), tombstone(2)
        removed = threading.Event()
        thread, ended = self.refer(kept, until=removed, checked=True)
        count = remove()
        removed.set()
        thread.join()

        assert (count, exists(kept), exists(gone), ended) == (1, True, False, [True])
        assert project.Dependent.objects.get().conversation == kept

    def test_reference_that_the_database_has_not_checked_yet_keeps_its_row_or_fails(self):
        row = tombstone()
        removed = threading.Event()
        thread, ended = self.refer(row, until=removed, checked=False)
        remove()
        removed.set()
        thread.join()

        assert [exists(row)] == ended
        assert project.Dependent.objects.count() == sum(ended)

    def test_reference_that_comes_second_fails_as_one_to_no_row_does(self, monkeypatch):
        row = tombstone()
        outcomes: list[object] = []
        threads = []
        original = tombstones.copies.scrub_payloads

        def refer() -> None:
            try:
                outcomes.append(project.Dependent.objects.create(conversation_id=row.pk))
            except IntegrityError as error:
                outcomes.append(error)

        def meanwhile(rows: Any) -> int:
            threads.append(in_thread(refer))
            return original(rows)

        monkeypatch.setattr(tombstones.copies, "scrub_payloads", meanwhile)  # between the last look and the deletion
        assert remove() == 1
        threads[0].join()

        assert [type(outcome) for outcome in outcomes] == [IntegrityError]
        assert not project.Dependent.objects.exists()

    def test_many_references_and_removals_at_once_lose_none(self):
        rows = [tombstone(number) for number in range(1, 41)]
        made: list[int] = []

        def refer(some: list[Conversation]) -> None:
            for row in some:
                try:
                    made.append(project.Dependent.objects.create(conversation_id=row.pk).pk)
                except IntegrityError:
                    continue

        threads = [in_thread(lambda some=rows[start::4]: refer(some)) for start in range(4)]
        remove()
        for thread in threads:
            thread.join()

        held = set(project.Dependent.objects.values_list("pk", "conversation"))
        assert {pk for pk, _conversation in held} == set(made)
        assert {pk for _pk, pk in held} <= set(Conversation.objects.values_list("pk", flat=True))


class TestBatches:
    @pytest.mark.parametrize("size", [1, 3])
    def test_every_old_tombstone_comes_once_oldest_first(self, monkeypatch, size):
        monkeypatch.setattr(tombstones, "BATCH", size)
        moment = now() - timedelta(days=5)
        rows = [tombstone(number, days=number) for number in range(2, 10)]
        for row in rows[:5]:
            set_columns(row, deleted_at=moment)
        twin = set_columns(tombstone(2, workspace="research"), deleted_at=moment)

        batches = list(tombstones.batches(before=now() - timedelta(days=1)))

        found = [row for batch in batches for row in batch]
        assert sorted(found, key=lambda row: row.pk) == sorted([*rows, twin], key=lambda row: row.pk)
        assert [row.deleted_at for row in found] == sorted(row.deleted_at for row in found)
        assert {len(batch) for batch in batches} == {size}

    def test_of_one_workspace(self):
        tombstone(1)
        theirs = tombstone(1, workspace="research")

        assert list(tombstones.batches(before=now(), workspace="research")) == [[theirs]]

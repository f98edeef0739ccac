"""Rows are written with our own SQL: it covers every column of the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, connections, models

from django_orq.models import Conversation, RejectedPayload
from django_orq.payloads import ListItem
from django_orq.store import rows
from django_orq.store.reconcile import reconcile, refused

from ..triggers import execute
from ..values import answer, at, conversation, mirrored_values, set_columns
from ..walking import fill, full_run, mirror_equals

pytestmark = pytest.mark.django_db

IDS = [f"conv_{number:026d}" for number in range(8)]
SET_LATER = {"missing_since", "confirmed_at", "deleted_at"}


def test_insert_sets_every_column_that_is_not_null_at_first(statements):
    with statements() as executed:
        reconcile(answer(conversation()), workspace="default")

    (insert,) = [sql for sql in executed if "INSERT" in sql]
    expected = {field.column for field in Conversation._meta.concrete_fields if not field.generated}
    expected -= {"id", *SET_LATER}
    named = insert.replace("`", '"').partition("(")[2].partition(")")[0]
    assert {name.strip().strip('"') for name in named.split(",")} == expected
    assert all(Conversation._meta.get_field(name).null for name in SET_LATER)


def test_values_come_back_as_they_were_written():
    odd = {"text": "ä“🧾'\\\"%s\n", "numbers": [0, -1, 1.5, 10**20], "deep": {"a": [None, True, {}]}, "": []}
    written = conversation(display_name="🧾 '%s' \\", metadata=odd, extra={"x": odd}, updated_by_id="")
    reconcile(answer(written), workspace="default")

    row = Conversation.objects.get()
    assert (row.display_name, row.metadata, row.extra) == (written.display_name, odd, {"x": odd})
    assert (row.updated_by_id, row.created_by_id) == ("", "user-1")


def test_insert_and_update_write_the_same():
    """What a row holds does not depend on which of the two statements wrote it."""
    first = conversation(metadata={"a": 1.0, "b": "🧾"})
    reconcile(answer(first), workspace="default")
    row = Conversation.objects.get()
    inserted = mirrored_values(row)
    set_columns(row, display_name="Other", metadata=None, extra={}, remote_updated_at=at(-5), mirrored_at=at(0))

    reconcile(answer(first), workspace="default")

    assert mirrored_values(Conversation.objects.get()) == inserted


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_values_are_prepared_as_their_fields_prepare_them(zone, monkeypatch):
    monkeypatch.setitem(connections["default"].__dict__, "timezone", ZoneInfo(zone))
    row = {"metadata": {"ä": [1.5, None]}, "extra": {}, "fingerprint": -5, "deleted_at": None, "display_name": "🧾"}
    row |= {"remote_created_at": at(0), "remote_updated_at": at(0.123), "mirrored_at": at(0).replace(microsecond=1)}

    ((*prepared,),) = rows._prepared([row], list(row), connection)

    fields = (Conversation._meta.get_field(column) for column in row)
    expected = [field.get_db_prep_save(row[field.column], connection=connection) for field in fields]
    assert list(map(repr, prepared)) == list(map(repr, expected))


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the other drivers send one row after another")
def test_long_rows_are_inserted_by_several_statements(monkeypatch, statements):
    monkeypatch.setattr(rows, "MAX_CHARACTERS", 5_000)
    some = [conversation(remote_id=f"conv_{number:026d}", metadata={"text": "x" * 100}) for number in range(35)]
    with statements() as executed:
        reconcile(answer(*some), workspace="default")

    assert 1 < sum("INSERT" in sql for sql in executed) < 5
    assert sorted(Conversation.objects.values_list("remote_id", flat=True)) == [one.remote_id for one in some]


def test_id_that_another_writer_inserted_is_compared_again(monkeypatch):
    reconcile(answer(conversation()), workspace="default")
    stale = answer(conversation(updated_at=at(5), display_name="New"), asked=200)

    plan = reconcile(_believed_new(stale), workspace="default")

    assert [change.row is None for change in plan.changes] == [False]
    assert Conversation.objects.get().display_name == "New"


def _believed_new(given):
    return replace(given, new=[remote.remote_id for remote in given.conversations])


@contextmanager
def constraint(condition: models.Q) -> Iterator[None]:
    """A CHECK that a project added to our table."""
    check = models.CheckConstraint(condition=condition, name="of_the_project")
    with connection.schema_editor() as editor:
        editor.add_constraint(Conversation, check)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.remove_constraint(Conversation, check)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite adds a constraint by copying the table")
def test_rows_that_a_constraint_refuses_are_rejected_and_their_neighbours_stored(remote):
    fill(remote, 120)
    for number in (7, 100):
        remote.rename(remote.conversations[number]["_id"], "forbidden")
    with constraint(~models.Q(display_name="forbidden")):
        run = full_run()

        assert (run.state, run.created, run.rejected) == ("partial", 118, 2)
        assert Conversation.objects.count() == 118
        reasons = RejectedPayload.objects.values_list("reason", flat=True)
        assert all("the database refused it" in reason and "of_the_project" in reason for reason in reasons)
        changed = Conversation.objects.first()
        remote.rename(changed.remote_id, "forbidden")
        assert full_run().rejected == 3
        changed.refresh_from_db()
        assert changed.display_name != "forbidden"

    assert full_run().state == "succeeded"
    assert mirror_equals(remote)


_TRIGGERS = {
    "sqlite": "CREATE TRIGGER of_the_project BEFORE INSERT ON django_orq_conversation "
    "WHEN NEW.display_name = 'forbidden' BEGIN SELECT RAISE(ABORT, 'not here'); END",
    "mysql": "CREATE TRIGGER of_the_project BEFORE INSERT ON django_orq_conversation FOR EACH ROW "
    "IF NEW.display_name = 'forbidden' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not here'; END IF",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor not in _TRIGGERS, reason="PostgreSQL's triggers are covered by its constraints")
def test_row_that_a_trigger_refuses_is_rejected_and_its_neighbours_stored(remote):
    fill(remote, 30)
    remote.rename(remote.conversations[7]["_id"], "forbidden")
    execute(_TRIGGERS[connection.vendor])
    try:
        run = full_run()
    finally:
        execute("DROP TRIGGER of_the_project")

    assert (run.state, run.created, run.rejected) == ("partial", 29, 1)
    assert "not here" in RejectedPayload.objects.get().reason


def test_nothing_is_written_while_refused_rows_are_looked_for():
    answers = answer(*(conversation(remote_id=id_) for id_ in IDS))

    assert refused(answers, workspace="default") == {}
    assert Conversation.objects.count() == 0


def test_row_that_moves_while_refused_ones_are_looked_for_is_not_refused(monkeypatch):
    reconcile(answer(conversation()), workspace="default")
    monkeypatch.setattr("django_orq.store.reconcile._values", lambda _row: object())

    assert refused(answer(conversation(updated_at=at(5)), asked=200), workspace="default") == {}


def test_refusal_that_lasts_is_raised_by_a_verb(monkeypatch):
    def refuse(*_arguments: object) -> None:
        raise IntegrityError("no")

    monkeypatch.setattr("django_orq.store.reconcile.insert_rows", refuse)
    with pytest.raises(IntegrityError):
        reconcile(answer(conversation()), workspace="default")


ITEM = {"_id": IDS[0], "displayName": "A", "createdAt": 0, "updatedAt": 0, "metadata": {"b": 1, "a": [1.5, "ä🧾"]}}


class TestFingerprint:
    def test_does_not_depend_on_the_order_of_keys(self):
        turned = dict(reversed(ITEM.items())) | {"metadata": {"a": [1.5, "ä🧾"], "b": 1}}

        assert ListItem(ITEM).fingerprint == ListItem(turned).fingerprint

    @pytest.mark.parametrize(
        "change", [{"displayName": "B"}, {"new": None}, {"metadata": {"a": ["1.5", "ä🧾"], "b": 1}}, {"createdAt": 1}]
    )
    def test_depends_on_every_value(self, change):
        assert ListItem(ITEM).fingerprint != ListItem(ITEM | change).fingerprint

    def test_fits_into_its_column(self):
        numbers = [ListItem(ITEM | {"n": number}).fingerprint for number in range(200)]

        assert min(numbers) < 0 < max(numbers)
        assert all(-(2**63) <= number < 2**63 for number in numbers)

    def test_item_nested_too_deeply_has_none(self):
        nested: list[object] = []
        for _level in range(100_000):
            nested = [nested]

        assert ListItem(ITEM | {"x": nested}).fingerprint is None

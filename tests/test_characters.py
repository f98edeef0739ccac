"""Databases that cannot store every character, as older projects have them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection

from django_orq import mirror as verbs
from django_orq.checks import check_characters
from django_orq.exceptions import MirrorBehind, Problem
from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest, Requester
from django_orq.models import Conversation, RejectedPayload

from .walking import full_run, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)

ALL = {"mysql": ("utf8mb4",), "postgresql": ("UTF8",)}
SOME = {"mysql": ("latin1", "utf8mb3"), "postgresql": ("LATIN1",)}
_CREATE = {
    "mysql": "CREATE DATABASE {name} CHARACTER SET {characters}",
    "postgresql": "CREATE DATABASE {name} ENCODING '{characters}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
}
PAGE = Path(__file__).parents[1] / "docs/maintenance.md"
EMOJI = "Where is my order? 🚚"


def with_characters(sets: dict[str, tuple[str, ...]]) -> pytest.MarkDecorator:
    """Run the test with each of these databases; with none on SQLite, which stores every character."""
    return pytest.mark.parametrize("empty_database", sets.get(connection.vendor, ()), indirect=True)


@pytest.fixture
def empty_database(request) -> Iterator[str]:
    """Use another database, without tables and with this character set, which is returned."""
    before = connection.settings_dict["NAME"]
    name = f"{before}_{request.param.lower()}"
    _execute(f"DROP DATABASE IF EXISTS {name}")
    _execute(_CREATE[connection.vendor].format(name=name, characters=request.param))
    _connect_to(name)
    yield request.param
    _connect_to(before)
    _execute(f"DROP DATABASE {name}")


@pytest.fixture
def database(empty_database) -> str:
    call_command("migrate", verbosity=0, skip_checks=True)
    return empty_database


def _connect_to(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def found() -> list[str]:
    return [f"{message.id}: {message.msg} {message.hint}" for message in check_characters(databases=["default"])]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite stores every character")
def test_w010_sqlite_is_silent():
    assert found() == []


@with_characters(ALL)
def test_w010_database_that_stores_every_character_is_silent(database):
    assert found() == []


@with_characters(SOME)
def test_w010_database_without_tables_is_silent(empty_database):
    assert found() == []


@with_characters(SOME)
def test_w010_names_the_character_sets(database):
    (message,) = found()
    assert message.startswith("django_orq.W010: ")
    assert all(name in message for name in (f"({database})", "'default'", "utf8mb4", "UTF8"))


@with_characters(SOME)
def test_documentation_says_how_to_convert_the_tables(remote, database):
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL cannot convert a database")
    (block,) = re.findall(r"```sql\n(.+?)```", PAGE.read_text(), re.DOTALL)
    remote.add(EMOJI)
    assert full_run().rejected == 1

    for statement in block.split(";")[:-1]:
        _execute(statement)

    assert found() == []
    assert full_run().state == "succeeded"
    assert mirror_equals(remote)
    assert not RejectedPayload.objects.filter(resolved_at=None).exists()


@with_characters(SOME)
def test_w010_is_told_by_a_check_of_that_database_alone(database, capsys):
    call_command("check")
    assert "W010" not in capsys.readouterr().err

    call_command("check", databases=["default"])
    assert "W010" in capsys.readouterr().err
    assert check_characters(databases=["other"]) == []


@with_characters(SOME)
def test_conversation_that_cannot_be_stored_is_rejected_and_its_neighbours_are_stored(remote, database):
    for name in ("Before", EMOJI, "After"):
        remote.add(name)

    run = full_run()

    assert (run.state, run.created, run.rejected) == ("partial", 2, 1)
    assert sorted(Conversation.objects.values_list("display_name", flat=True)) == ["After", "Before"]
    rejected = RejectedPayload.objects.get()
    assert rejected.key == next(each["_id"] for each in remote.conversations if each["displayName"] == EMOJI)
    assert "the database refused it: " in rejected.reason
    remote.rename(rejected.key, "Where is my order?")
    assert full_run().state == "succeeded"
    assert mirror_equals(remote)


@with_characters(SOME)
@pytest.mark.parametrize(
    "change",
    [
        lambda row: verbs.create_conversation(display_name=EMOJI),
        lambda row: verbs.rename_conversation(row, display_name=EMOJI),
    ],
    ids=["create", "rename"],
)
def test_change_that_orq_made_and_the_database_cannot_store_is_told_as_such(
    remote, database, change: Callable[[Conversation], object]
):
    row = _mirrored(remote)

    with pytest.raises(MirrorBehind, match="Do not repeat it") as behind:
        change(row)

    assert behind.value.__cause__.code == "row_refused"
    assert EMOJI in [each["displayName"] for each in remote.conversations]


@with_characters(SOME)
@pytest.mark.parametrize(
    "ask",
    [
        verbs.refresh_conversation,
        lambda row: verbs.fetch_conversation(remote_id=row.remote_id),
        lambda row: verbs.rename_conversation(row, display_name="New"),  # which finds that the name was changed
    ],
    ids=["refresh", "fetch", "rename"],
)
def test_answer_that_the_database_cannot_store_is_told_with_its_reason(
    remote, database, ask: Callable[[Conversation], object]
):
    row = _mirrored(remote)
    remote.rename(row.remote_id, EMOJI)

    with pytest.raises(Problem, match="The database cannot store this conversation") as refusal:
        ask(row)

    assert (refusal.value.code, refusal.value.retryable) == ("row_refused", False)
    assert remote.conversations[0]["displayName"] == EMOJI


@with_characters(SOME)
def test_operation_goes_on_after_a_conversation_that_cannot_be_stored(remote, database):
    first, second = _mirrored(remote), _mirrored(remote)
    remote.rename(first.remote_id, EMOJI)
    requests = [ItemRequest(conversation=row) for row in (first, second)]
    operation, _is_new = operations.create_operation("refresh", requests, by=Requester())

    operations.work_slice(operation.pk)

    items = operation.items.order_by("pk").values_list("state", "error_code")
    assert list(items) == [("failed", "row_refused"), ("done", "")]


def _mirrored(remote) -> Conversation:
    return verbs.fetch_conversation(remote_id=remote.add("Where is my order?")["_id"])

"""Log records: each is an event of the documentation's table, with its values and without names."""

import ast
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from django_orq import logs, mirror as verbs
from django_orq.exceptions import OrqError
from django_orq.logs import Event
from django_orq.management.pruning import prune
from django_orq.mirror import operations
from django_orq.models import Conversation, SyncRun
from django_orq.sync import runs, slices
from django_orq.tasks import sync_conversations
from django_orq.testing import OrqSandbox

from .markdown import code, rows, spans
from .ordering import place
from .values import NOON
from .walking import configure, fill, full_run

PACKAGE = Path(logs.__file__).parent
TABLE = {code(row["event"]): row for row in rows("monitoring.md", "Log events") if "event" in row}
FIELDS = {event: frozenset(spans(row["fields"])) for event, row in TABLE.items()}
EVENTS = {name: event for name, event in vars(logs).items() if isinstance(event, Event)}
LOGGED_BY_HELPERS = (
    *(f"SYNC_RUN_{what}" for what in ("STARTED", "ADOPTED", "WAITS", "FINISHED", "FAILED")),
    *(f"OPERATION_{what}" for what in ("ADOPTED", "WAITS", "FINISHED", "GIVEN_UP", "ITEM_FAILED", "ITEM_UNKNOWN")),
)
"""Events that no call names directly; their values are checked where they are logged."""
ROOT_ATTRIBUTES = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""The attributes of every record, which ``extra`` must not replace."""


def calls_of_log() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the constant and the values of each ``logs.log(logs.NAME, …)`` in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "logs.log":
                given = {str(keyword.arg) for keyword in node.keywords} - {"level", "exc_info"}
                yield ast.unparse(node.args[0]).removeprefix("logs."), frozenset(given)


def test_table_lists_each_event_with_its_level():
    levels = {event.name: logging.getLevelName(event.level) for event in EVENTS.values()}

    assert {name: row["level"] for name, row in TABLE.items()} == levels


def test_each_call_gives_the_values_that_the_table_lists():
    calls = {(name, given) for name, given in calls_of_log() if name in EVENTS}

    assert calls <= {(name, FIELDS[event.name]) for name, event in EVENTS.items()}
    assert EVENTS.keys() - {name for name, _given in calls} == {*LOGGED_BY_HELPERS}


def test_each_message_can_be_made_of_the_values():
    for event in EVENTS.values():
        assert event.text % dict.fromkeys(FIELDS[event.name], 1)


def test_each_value_is_explained_and_none_takes_the_place_of_what_a_record_has():
    explained = {code(row["field"]) for row in rows("monitoring.md", "Log events") if "field" in row}

    assert explained == frozenset().union(*FIELDS.values())
    assert not explained & (ROOT_ATTRIBUTES | {"event"})


def test_nothing_else_logs():
    """Records without an event could not be counted."""
    others = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "logs.py"]

    assert [path.name for path in others if "getLogger" in path.read_text() or "logger." in path.read_text()] == []


@pytest.fixture
def said(caplog) -> Callable[[str], list[dict[str, Any]]]:
    """The level and values of the records of an event."""
    caplog.set_level(logging.DEBUG, "django_orq")

    def find(name: str) -> list[dict[str, Any]]:
        records = [record for record in caplog.records if getattr(record, "event", None) == name]
        return [{"level": record.levelno, **_values(record)} for record in records]

    return find


def _values(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in ROOT_ATTRIBUTES and name != "event"}


def _live_through_much(remote: OrqSandbox) -> None:
    """Runs that succeed, wait, fail, are paused and cancelled; operations with each outcome; pruning."""
    for name in ("Secret refund", "Secret offer"):
        remote.add(name)
    full_run()
    conversations = Conversation.objects.all()
    remote.fail("update", status=400)
    operations.work_slice(place("rename", conversations).pk)
    remote.fail("create", drop="after")
    operations.work_slice(place("create", conversations).pk)
    remote.fail("retrieve", status=401)
    operations.work_slice(place("refresh", conversations).pk)
    remote.fail("retrieve", status=429, headers={"Retry-After": "0"})
    operations.work_slice(place("refresh", conversations).pk)
    interrupted = place("refresh", conversations)
    interrupted.items.update(state="sent", attempts=1)
    operations.work_slice(interrupted.pk)
    remote.fail("list", status=503)
    runs.cancel(full_run())
    remote.fail("list", status=401)
    full_run()
    slices.run_slice(runs.open_run("default", "full").pk, on_progress=runs.pause)
    sync_conversations(mode="full")
    paused = runs.open_run("default", "full")
    runs.resume(paused)
    SyncRun.objects.filter(pk=paused.pk).update(state="running", lease_until=NOON)
    full_run()
    list(prune({"rejected": 30}, apply=True))


@pytest.mark.django_db(transaction=True)
def test_records_have_the_values_of_their_event_and_neither_names_nor_the_key(remote, caplog):
    caplog.set_level(logging.DEBUG, "django_orq")
    _live_through_much(remote)
    records = [record for record in caplog.records if record.name == "django_orq"]

    assert all(_values(record).keys() == FIELDS[record.event] for record in records)
    assert not [record for record in records if "Secret" in repr(vars(record)) or remote.api_key in repr(vars(record))]
    assert {record.event for record in records} == {
        *("request.answered", "request.outcome_unknown", "pruning.done"),
        *(f"sync_run.{what}" for what in ("queued", "started", "finished", "waits", "cancelled", "failed")),
        *(f"sync_run.{what}" for what in ("paused", "lease_lost", "left_paused", "adopted")),
        *(f"operation.{what}" for what in ("finished", "item_failed", "item_unknown", "given_up", "waits", "adopted")),
    }


@pytest.mark.django_db(transaction=True)
def test_database_that_fails_in_a_run_is_an_error_with_the_traceback(remote, caplog):
    def fail(_run: SyncRun) -> None:
        raise OperationalError("gone away")

    remote.add("Refund")
    slices.run_slice(runs.open_run("default", "full").pk, on_progress=fail)

    (record,) = [record for record in caplog.records if record.event == "sync_run.database_failed"]
    assert record.levelno == logging.ERROR
    assert record.exc_info


@pytest.mark.django_db(transaction=True)
def test_numbers_of_a_run_are_in_its_record(remote, said):
    fill(remote, 3)
    run = full_run()

    (record,) = said("sync_run.finished")
    assert record["seconds"] > 0
    told = {"level": logging.INFO, "run": run.pk, "workspace": "default", "mode": "full", "state": "succeeded"}
    numbers = {"pages": 1, "requests": 1, "seen": 3, "new": 3}
    none = dict.fromkeys(("updated", "restored", "deleted", "rejected", "to_approve", "seconds"), 0)
    assert record | {"seconds": 0} == told | numbers | none


@pytest.mark.django_db(transaction=True)
def test_partial_run_is_a_warning(remote, said):
    remote.add("Ticket")
    remote.transform_list = lambda answer: answer | {"data": [*answer["data"], "junk"]}
    full_run()

    assert [(record["level"], record["state"]) for record in said("sync_run.finished")] == [
        (logging.WARNING, "partial")
    ]


@pytest.mark.django_db(transaction=True)
def test_run_is_started_once_and_a_walker_that_let_it_go_has_not_died(remote, settings, said):
    configure(settings, PAGE_SIZE=1, SLICE_SECONDS=0.000_001)
    fill(remote, 3)
    full_run()

    assert len(said("sync_run.started")) == 1
    assert said("sync_run.adopted") == []


@pytest.mark.django_db(transaction=True)
def test_create_of_a_caller_that_got_no_answer_is_an_event_too(remote, said):
    remote.fail("create", drop="after")
    with pytest.raises(OrqError):
        verbs.create_conversation(display_name="Secret")

    assert said("request.outcome_unknown") == [
        {"level": logging.WARNING, "workspace": "default", "call": "create", "error_code": "outcome_unknown"}
    ]

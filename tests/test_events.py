"""What the log says: every record is in the table of events, and every event of the table is said."""

import ast
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError

from django_orq import logs, tasks
from django_orq.exceptions import MirrorBehind, OrqError
from django_orq.logs import EVENTS, FIELDS
from django_orq.management.pruning import Ages, prune
from django_orq.mirror import operations, orders, verbs
from django_orq.mirror.orders import Order, Orderer
from django_orq.models import Conversation, SyncRun
from django_orq.store.database import all_operations
from django_orq.sync import runs, slices
from django_orq.testing import OrqSandbox

from .brokering import refusing_port
from .celery import app
from .ordering import lose_the_worker
from .threads import in_thread
from .walking import configure, full_run, work_on

PACKAGE = Path(logs.__file__).parent
ROOT_ATTRIBUTES = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What a record has of its own: ``extra`` may not name it."""


def calls_of_log() -> Iterator[tuple[str, frozenset[str]]]:
    """Each ``logs.log(logs.NAME, …)`` of the package: the constant's name, and the fields that are given."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "logs.log":
                event = ast.unparse(node.args[0])
                given = {str(keyword.arg) for keyword in node.keywords} - {"level", "exc_info"}
                if event.startswith("logs."):
                    yield event.split(".")[1], frozenset(given)


class TestTable:
    def test_nothing_else_logs(self):
        """A record without an event would be nobody's to count."""
        others = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "logs.py"]

        assert [path.name for path in others if "getLogger" in path.read_text() or "logger." in path.read_text()] == []

    def test_every_call_gives_the_fields_of_its_event(self):
        wrong = {name for name, given in calls_of_log() if given != set(getattr(logs, name).fields)}

        assert wrong == set()

    def test_every_field_is_explained_and_used(self):
        assert {field for event in EVENTS.values() for field in event.fields} == set(FIELDS)

    def test_no_field_takes_the_place_of_what_a_record_has(self):
        assert set(FIELDS) & (ROOT_ATTRIBUTES | {"event"}) == set()

    def test_every_event_says_what_it_means_and_has_a_message_by_itself(self):
        for event in EVENTS.values():
            assert event.means.endswith(".")
            assert event.text % dict.fromkeys(event.fields, 1)


SCENARIOS: dict[str, Callable[[OrqSandbox], object]] = {}
"""What has each event said, by the event's name."""


def says(name: str) -> Callable[[Callable[[OrqSandbox], object]], Callable[[OrqSandbox], object]]:
    def keep(scenario: Callable[[OrqSandbox], object]) -> Callable[[OrqSandbox], object]:
        SCENARIOS[name] = scenario
        return scenario

    return keep


@pytest.fixture
def said(caplog) -> Callable[[str], list[dict[str, Any]]]:
    """The records of an event, as level and fields."""
    caplog.set_level(logging.DEBUG, "django_orq")

    def find(name: str) -> list[dict[str, Any]]:
        records = [record for record in caplog.records if getattr(record, "event", None) == name]
        return [{"level": record.levelno, **_fields(record)} for record in records]

    return find


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in ROOT_ATTRIBUTES and name != "event"}


@says("sync_run.queued")
@says("sync_run.started")
@says("sync_run.finished")
@says("request.answered")
def _full_run(remote: OrqSandbox) -> None:
    full_run()


@says("sync_run.adopted")
def _killed_walker(remote: OrqSandbox) -> None:
    run = runs.open_run("default", "full")
    SyncRun.objects.filter(pk=run.pk).update(
        state="running", token="another", started_at=run.queued_at, lease_until=run.queued_at - timedelta(hours=1)
    )
    work_on(run)


@says("sync_run.lease_lost")
@says("sync_run.paused")
def _paused_under_its_walker(remote: OrqSandbox) -> None:
    slices.run_slice(runs.open_run("default", "full").pk, on_progress=runs.pause)


@says("sync_run.left_paused")
def _asked_for_while_paused(remote: OrqSandbox) -> None:
    runs.pause(runs.open_run("default", "full"))
    runs.open_run("default", "full")


@says("sync_run.cancelled")
def _cancelled(remote: OrqSandbox) -> None:
    runs.cancel(runs.open_run("default", "full"))


@says("sync_run.waits")
def _orq_in_trouble(remote: OrqSandbox) -> None:
    remote.fail("list", status=503)
    full_run()


@says("sync_run.failed")
def _key_refused(remote: OrqSandbox) -> None:
    remote.fail("list", status=401)
    full_run()


@says("sync_run.database_failed")
def _database_fails_in_a_run(remote: OrqSandbox) -> None:
    def fail(_run: SyncRun) -> None:
        raise OperationalError("gone away")

    slices.run_slice(runs.open_run("default", "full").pk, on_progress=fail)


def _order(verb: str) -> int:
    full_run()
    rows = Conversation.objects.order_by("-remote_id")
    operation, _is_new = orders.place(verb, [Order(conversation=row, wanted="Anew") for row in rows], by=Orderer())
    return operation.pk


@says("operation.finished")
def _operation(remote: OrqSandbox) -> None:
    operations.work_slice(_order("rename"))


@says("operation.item_failed")
def _refused_name(remote: OrqSandbox) -> None:
    pk = _order("rename")
    remote.fail("update", status=400)
    operations.work_slice(pk)


@says("operation.item_unknown")
@says("request.outcome_unknown")
def _lost_answer(remote: OrqSandbox) -> None:
    pk = _order("create")
    remote.fail("create", drop="after")
    operations.work_slice(pk)


@says("operation.given_up")
def _key_refused_in_an_operation(remote: OrqSandbox) -> None:
    pk = _order("refresh")
    remote.fail("retrieve", status=401)
    operations.work_slice(pk)


@says("operation.waits")
def _asked_to_wait_in_an_operation(remote: OrqSandbox) -> None:
    pk = _order("refresh")
    remote.fail("retrieve", status=429, headers={"Retry-After": "7"})
    operations.work_slice(pk)


@says("operation.adopted")
def _worker_of_an_operation_killed(remote: OrqSandbox) -> None:
    operation = all_operations().get(pk=_order("refresh"))
    operation.items.update(state="sent", attempts=1)
    lose_the_worker(operation)
    operations.work_slice(operation.pk)


@says("operation.lease_lost")
def _operation_taken_over(remote: OrqSandbox) -> None:
    operation = all_operations().get(pk=_order("refresh"))

    def take_over(_operation: str | None, _phase: str) -> None:
        in_thread(lambda: all_operations().update(token="another")).join()

    remote.on_request = take_over
    operations.work_slice(operation.pk)


@says("pruning.done")
def _prune(remote: OrqSandbox) -> None:
    list(prune(Ages(rejected=30), apply=True))


@pytest.fixture
def broken(monkeypatch) -> Callable[[str, Exception], None]:
    """Has a function of ours fail as the database would have it."""

    def fail(name: str, error: Exception) -> None:
        def raise_(*_args: Any, **_options: Any) -> None:
            raise error

        monkeypatch.setattr(name, raise_)

    return fail


@pytest.mark.django_db(transaction=True)
class TestRecords:
    @pytest.fixture(autouse=True)
    def filled(self, remote: OrqSandbox) -> None:
        for name in ("Secret refund", "Secret offer"):
            remote.add(name)

    @pytest.mark.parametrize("name", sorted(SCENARIOS))
    def test_event_is_said_with_its_level_and_fields(self, remote, said, name):
        SCENARIOS[name](remote)

        self.assert_as_in_the_table(said(name), name)

    def test_database_that_fails_in_an_operation(self, remote, said, broken):
        pk = _order("rename")
        broken("django_orq.mirror.execution.rename_conversation", OperationalError("gone away"))
        operations.work_slice(pk)

        self.assert_as_in_the_table(said("operation.database_failed"), "operation.database_failed")

    def test_history_that_can_not_be_written(self, remote, said, broken):
        broken("django_orq.mirror.history.note", DatabaseError("no space left"))
        operations.work_slice(_order("refresh"))

        self.assert_as_in_the_table(said("operation.history_failed"), "operation.history_failed")

    def test_row_that_can_not_follow(self, remote, said, broken):
        full_run()
        broken("django_orq.mirror.verbs.mark_deleted", DatabaseError("no space left"))
        with pytest.raises(MirrorBehind):
            verbs.delete_conversation(Conversation.objects.first())

        self.assert_as_in_the_table(said("request.not_mirrored"), "request.not_mirrored")

    def test_broker_out_of_reach(self, remote, said):
        before = app.conf.broker_url
        with refusing_port() as port:
            app.conf.update(broker_url=f"amqp://127.0.0.1:{port}")
            tasks.enqueue_slice(runs.open_run("default", "full").pk)
            tasks.enqueue_operation(_order("refresh"))
        app.conf.update(broker_url=before)

        assert [record["work"] for record in said("publishing.failed")] == ["sync run", "operation"]
        self.assert_as_in_the_table(said("publishing.failed"), "publishing.failed")

    def test_rest_view_that_fails(self, program, settings, said, broken):
        settings.ORQ_WORKSPACES = {"default": {"API_KEY": ""}}
        program.post("/conversations/", json={"display_name": "New"})
        broken("django_orq.rest.filters.freshness", OperationalError("gone away"))
        program.get("/conversations/")

        assert [record["error_code"] for record in said("rest.failed")] == ["not_configured", "database_trouble"]
        self.assert_as_in_the_table(said("rest.failed"), "rest.failed")

    def test_every_event_of_the_table_is_in_these_tests(self):
        others = {
            "operation.database_failed",
            "operation.history_failed",
            "publishing.failed",
            "request.not_mirrored",
            "request.wait_not_kept",  # in test_mirror.py
            "pruning.failed",  # in test_sync.py
            "sync_run.approved",  # in test_confirm.py
            "rest.failed",
        }

        assert set(SCENARIOS) | others == set(EVENTS)

    def assert_as_in_the_table(self, records: list[dict[str, Any]], name: str) -> None:
        event = EVENTS[name]
        assert records != []
        for record in records:
            assert record.pop("level") == event.level
            assert set(record) == set(event.fields)
            assert "Secret" not in repr(record)


@pytest.mark.django_db(transaction=True)
def test_numbers_of_a_run_are_in_its_record(remote, said):
    for number in range(3):
        remote.add(f"Ticket {number}")
    run = full_run()

    (record,) = said("sync_run.finished")
    assert record["seconds"] > 0
    told = {"level": logging.INFO, "run": run.pk, "workspace": "default", "mode": "full", "state": "succeeded"}
    numbers = {"pages": 1, "requests": 1, "seen": 3, "new": 3}
    none = dict.fromkeys(("updated", "restored", "deleted", "rejected", "held", "seconds"), 0)
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
    for number in range(3):
        remote.add(f"Ticket {number}")
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

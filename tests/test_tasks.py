import logging
import socket
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from celery import current_app
from celery.signals import after_task_publish
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from kombu.exceptions import OperationalError

from django_orq import tasks
from django_orq.exceptions import AuthenticationFailed
from django_orq.mirror.operations import ItemRequest, create_operation
from django_orq.models import Conversation, Operation, SyncRun
from django_orq.store import leases
from django_orq.sync import runs
from django_orq.testing import mirrored

from .brokering import messages, refusing_port
from .celery import app
from .walking import configure, fill, let_the_wait_pass, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def eager():
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    yield
    app.conf.update(task_always_eager=False, task_eager_propagates=False)


@pytest.mark.parametrize("mode", ["confirm", "all", ""])
def test_other_modes_are_refused(remote, eager, mode):
    with pytest.raises(ValueError, match="mode must be 'incremental' or 'full'"):
        tasks.sync_conversations.delay(mode=mode)

    assert not SyncRun.objects.exists()


def test_incremental_is_what_is_scheduled_unless_said(remote, eager):
    tasks.sync_conversations.delay()

    assert SyncRun.objects.get().mode == "incremental"


def test_none_means_all_workspaces(remote, eager, settings):
    settings.ORQ_WORKSPACES = dict.fromkeys(("default", "second"), settings.ORQ_WORKSPACES["default"])

    tasks.sync_conversations.delay(workspace=None)

    assert sorted(SyncRun.objects.values_list("workspace", "state")) == [
        ("default", "succeeded"),
        ("second", "succeeded"),
    ]


def test_unknown_workspace_is_refused(remote, eager):
    with pytest.raises(ImproperlyConfigured):
        tasks.sync_conversations.delay(workspace="other", mode="full")


def test_eager_mode_tells_why_the_run_waits(remote, eager):
    remote.fail("list", status=429, headers={"Retry-After": "600"}, times=None)

    message = tasks.start("default", "full").message()

    assert "is queued" not in message
    assert "429" in message


def test_eager_mode_runs_one_slice(remote, eager, settings):
    configure(settings, PAGE_SIZE=1, SLICE_SECONDS=0.000_001)
    remote.add("A")
    remote.add("B")

    tasks.sync_conversations.delay(mode="full")

    assert (SyncRun.objects.get().pages, SyncRun.objects.get().state) == (1, "running")


def test_unfinished_slice_enqueues_the_next_with_the_runs_id_alone(remote, settings, queue):
    configure(settings, PAGE_SIZE=1, SLICE_SECONDS=0.000_001)
    remote.add("A")
    remote.add("B")
    tasks.sync_conversations(mode="full")
    run = SyncRun.objects.get()
    assert messages(queue) == [("django_orq.walk_conversations", [run.pk])]

    tasks.walk_conversations(run.pk)
    assert messages(queue) == [("django_orq.walk_conversations", [run.pk])]

    tasks.walk_conversations(run.pk)
    assert messages(queue) == []
    assert mirror_equals(remote)


def test_second_delivery_of_a_message_does_nothing(remote, queue):
    remote.add("A")
    tasks.sync_conversations(mode="full")
    run = SyncRun.objects.get()
    tasks.walk_conversations(run.pk)
    remote.clear_requests()

    tasks.walk_conversations(run.pk)

    assert remote.count() == 0
    run.refresh_from_db()
    assert run.pages == 1


def test_message_for_a_run_that_was_pruned_does_nothing(remote, queue):
    run = runs.open_run("default", "full")
    SyncRun.objects.filter(pk=run.pk).delete()

    tasks.walk_conversations(run.pk)

    assert (remote.count(), messages(queue)) == (0, [])


def test_nothing_is_enqueued_before_the_callers_transaction_is_committed(remote, queue):
    with transaction.atomic():
        tasks.sync_conversations(mode="full")
        assert queue.qsize() == 0

    assert queue.qsize() == 1


def test_failed_run_fails_its_task_and_the_next_call_starts_a_new_run(remote, eager):
    remote.fail("list", status=401)
    with pytest.raises(AuthenticationFailed):
        tasks.sync_conversations.delay(mode="full")

    tasks.sync_conversations.delay(mode="full")

    assert list(SyncRun.objects.order_by("pk").values_list("state", flat=True)) == ["failed", "succeeded"]


def test_waiting_slice_enqueues_the_next_for_when_the_time_has_come(remote, queue):
    remote.fail("list", status=429, headers={"Retry-After": "7"})
    run = runs.open_run("default", "full")

    tasks.walk_conversations(run.pk)

    message = queue.get(block=False)
    message.ack()
    eta = datetime.fromisoformat(message.headers["eta"])
    assert timedelta(seconds=4) < eta - datetime.now(UTC) <= timedelta(seconds=8)


def an_operation(row: Conversation) -> Operation:
    return create_operation("refresh", [ItemRequest(conversation=row)], by="somebody")[0]


@pytest.mark.parametrize("kind", ["run", "operation"])
def test_message_that_arrives_early_is_sent_again(remote, queue, kind):
    """As if the clock of the worker's machine were ahead of that of the machine that sent the message."""
    row = mirrored("A", remote_id=remote.add("A")["_id"])
    remote.fail("list" if kind == "run" else "retrieve", status=429, headers={"Retry-After": "7"})
    run = runs.open_run("default", "full") if kind == "run" else an_operation(row)
    task = tasks.walk_conversations if kind == "run" else tasks.run_operation
    task(run.pk)
    message = queue.get(block=False)
    message.ack()
    (_pk, ticket), *_rest = message.payload

    task(run.pk, ticket)

    assert remote.count() == 1
    assert messages(queue) == [(task.name, [run.pk])]
    task(run.pk, ticket)  # a second delivery of it
    assert messages(queue) == []


def test_long_wait_is_left_to_the_schedule(remote, queue):
    remote.fail("list", status=429, headers={"Retry-After": "3000"})
    run = runs.open_run("default", "full")

    tasks.walk_conversations(run.pk)
    assert messages(queue) == []

    let_the_wait_pass()
    tasks.sync_conversations(mode="full")
    assert messages(queue) == [("django_orq.walk_conversations", [run.pk])]


def test_call_picks_up_every_unfinished_run_that_nobody_works_on(remote, queue):
    full = runs.open_run("default", "full")

    tasks.sync_conversations()

    enqueued = [arguments for _task, arguments in messages(queue)]
    assert [full.pk] in enqueued
    assert len(enqueued) == 2


def test_call_leaves_paused_waiting_and_busy_runs_alone(remote, queue, caplog):
    run = runs.open_run("default", "full")
    soon = datetime.now(UTC) + timedelta(seconds=60)
    for columns in (
        {"state": "paused"},
        {"state": "waiting", "wait": "backoff", "resume_at": soon},
        {"state": "running", "resume_at": None, "lease_until": soon},
    ):
        SyncRun.objects.filter(pk=run.pk).update(**columns)
        tasks.sync_conversations(mode="full")
        assert messages(queue) == []
    assert caplog.text.count(f"sync run {run.pk} is paused: orq_sync --resume {run.pk}") == 1


def test_user_who_resumes_a_paused_run_by_starting_one_causes_no_warning(remote, queue, caplog):
    runs.pause(runs.open_run("default", "full"))

    tasks.start_unless_running("default", "full")

    assert "is paused" not in caplog.text


def test_spent_budget_waits_for_the_next_call(remote, settings, queue):
    configure(settings, PAGE_SIZE=1)
    fill(remote, 3)
    tasks.sync_conversations(mode="full", max_seconds=0.000_001)
    run = SyncRun.objects.get()
    messages(queue)

    tasks.walk_conversations(run.pk)
    assert messages(queue) == []

    tasks.sync_conversations(mode="full", max_seconds=0.000_001)
    assert messages(queue) == [("django_orq.walk_conversations", [run.pk])]
    tasks.walk_conversations(run.pk)
    assert SyncRun.objects.get().pages == 2


@contextmanager
def silent_port():
    """A port of 127.0.0.1 that accepts connections but never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(params=["redis", "amqp"])
def scheme(request):
    if request.param == "redis":
        pytest.importorskip("redis", reason="needs the client of Redis: make brokers")
    return request.param


@pytest.fixture(params=[refusing_port, silent_port], ids=["refuses", "is_silent"])
def dead_broker(request, scheme):
    before = app.conf.broker_url
    with request.param() as port:
        app.conf.update(broker_url=f"{scheme}://127.0.0.1:{port}")
        yield
    app.conf.update(broker_url=before)


@pytest.fixture
def three_seconds():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 3


def test_broker_without_its_client_library_is_out_of_reach(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "kombu.transport.redis", raising=False)
    monkeypatch.setattr("kombu.transport._transport_cache", {})
    before = app.conf.broker_url
    app.conf.update(broker_url="redis://127.0.0.1:6379/0")
    try:
        with pytest.raises(OperationalError):
            tasks.sync_conversations.delay()
    finally:
        app.conf.update(broker_url=before)


@pytest.mark.parametrize("url", ["amqp://guest:pa/ss@127.0.0.1:5672//"])
def test_url_that_is_not_valid_counts_as_a_broker_out_of_reach_and_is_not_shown(url):
    before = app.conf.broker_url
    app.conf.update(broker_url=url)
    try:
        with pytest.raises(OperationalError, match=r"^The broker's URL is not valid\.$"):
            tasks.sync_conversations.delay()
    finally:
        app.conf.update(broker_url=before)


def test_dead_broker_costs_the_caller_of_the_task_less_than_three_seconds(dead_broker, three_seconds):
    with pytest.raises(OperationalError):
        tasks.sync_conversations.delay()


def test_dead_broker_leaves_the_run_for_the_next_call_and_says_so(remote, dead_broker, three_seconds, caplog):
    run = runs.open_run("default", "full")

    with caplog.at_level(logging.ERROR, "django_orq"):
        tasks.enqueue_slice(run)

    assert f"sync run {run.pk} could not be enqueued" in caplog.text
    assert list(runs.adoptable("default")) == [run]


@pytest.mark.parametrize(
    "broker",
    [
        {"broker_write_url": "nosuchbroker://localhost"},
        {"broker_write_url": "filesystem://", "broker_transport_options": {"data_folder_out": "/nowhere/at/all"}},
    ],
    ids=["unknown kind", "missing folder"],
)
def test_broker_that_is_set_up_wrongly_is_told_as_one_out_of_reach(remote, monkeypatch, caplog, broker):
    for name, value in broker.items():
        monkeypatch.setitem(app.conf, name, value)
    run = runs.open_run("default", "full")

    tasks.enqueue_slice(run)

    run.refresh_from_db()
    assert (run.state, run.ticket, run.enqueued_at) == ("queued", "", None)
    assert "could not be enqueued" in caplog.text


def test_run_that_others_pause_and_resume_once_it_is_published_counts_as_enqueued(remote, queue):
    def pause_and_resume(**kwargs):
        run = SyncRun.objects.get()
        assert runs.pause(run)
        runs.resume(run)

    after_task_publish.connect(pause_and_resume)
    try:
        enqueued = tasks.start("default", "full")
    finally:
        after_task_publish.disconnect(pause_and_resume)

    assert not enqueued.is_not_enqueued
    assert " is queued." in enqueued.message()


def test_connection_that_the_caller_gives_is_used(queue, dead_broker):
    with current_app.connection_for_write("memory://") as connection:
        tasks.sync_conversations.apply_async(connection=connection)

    assert messages(queue) == [("django_orq.sync_conversations", [])]


def test_calls_while_a_message_is_under_way_add_none(remote, queue):
    for _call in range(5):
        tasks.sync_conversations(mode="full")

    assert len(messages(queue)) == 1


def test_message_that_was_lost_is_replaced_once_a_lease_could_have_run_out(remote, queue):
    tasks.sync_conversations(mode="full")
    messages(queue)
    run = SyncRun.objects.get()
    SyncRun.objects.update(enqueued_at=run.enqueued_at - timedelta(seconds=121))

    tasks.sync_conversations(mode="full")

    assert len(messages(queue)) == 1


def test_only_the_newest_message_goes_on_so_that_there_is_one_chain(remote, settings, queue):
    configure(settings, PAGE_SIZE=1, SLICE_SECONDS=0.000_001)
    fill(remote, 4)
    run = runs.open_run("default", "full")
    old, new = (leases.issue(SyncRun, run.pk, delay=0) for _ in range(2))

    tasks.walk_conversations(run.pk, old)
    assert messages(queue) == []

    tasks.walk_conversations(run.pk, new)
    assert len(messages(queue)) == 1

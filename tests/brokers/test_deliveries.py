"""Messages that arrive twice, late or never, and commands that run at the same time."""

import time

from django_orq.models import SyncRun
from django_orq.sync import runs
from django_orq.testing import OrqSandbox

from ..programs import wait_until
from ..walking import mirror_equals

SYNC, WALK = "django_orq.sync_conversations", "django_orq.walk_conversations"
CALLS = 2
EXPIRE = 2.0
"""Seconds after which beat's messages expire (see `settings`)."""


def test_message_delivered_twice_does_its_work_once(new_fleet, broker, ledger):
    with OrqSandbox(conversations=300, latency=0.2) as sandbox:
        fleet = new_fleet(sandbox.settings())
        run = runs.open_run("default", "full")
        for _ in range(2):
            broker.send(WALK, run.pk, task_id="the-same")
        with fleet.worker() as worker:
            assert wait_until(lambda: worker.text.count("[the-same] succeeded") == 2), worker.text

        run.refresh_from_db()
        assert (run.state, run.pages, run.created) == ("succeeded", 3, 300)
        assert sandbox.count("list") == 3
        assert ledger.inserted() == [100, 100, 100]  # new rows are written while a slow Orq is awaited


def test_without_a_worker_calls_expire_and_the_run_stays_for_the_next_one(new_fleet, broker, orq_sandbox):
    orq_sandbox.add("A")
    fleet = new_fleet(orq_sandbox.settings())
    run = runs.open_run("default", "full")
    with fleet.beat() as beat:
        # Beat logs a call before it sends it: a third line means that two messages are there.
        assert wait_until(lambda: beat.text.count("Sending due task") > CALLS), beat.text
        time.sleep(0.3)  # if it is stopped while it writes to RabbitMQ, it waits for an answer that does not come
    time.sleep(EXPIRE)
    # RabbitMQ drops expired messages; with Redis, the worker does.
    sent = broker.messages()
    assert sent >= CALLS if broker.is_redis else sent == 0

    with fleet.worker() as worker:
        assert wait_until(lambda: worker.text.count("Discarding revoked task") == sent), worker.text
        run.refresh_from_db()
        assert (run.state, orq_sandbox.count()) == ("queued", 0)

        broker.send(SYNC, "default", "full")
        assert wait_until(lambda: SyncRun.objects.get().is_finished), worker.text
    assert SyncRun.objects.get().state == "succeeded"
    assert mirror_equals(orq_sandbox)


def test_second_command_says_that_another_works_and_leaves(brokerless, orq_sandbox):
    for number in range(3):
        orq_sandbox.add(f"Ticket {number}")
    orq_sandbox.latency = 10  # the second command has to start meanwhile, however busy the machine is
    with brokerless.command("orq_sync", "--full") as first:
        assert wait_until(lambda: SyncRun.objects.filter(state="running").exists()), first.text
        with brokerless.command("orq_sync", "--full") as second:
            assert second.process.wait(60) == 5, second.text
        assert "Worker: process" in second.text
        assert first.process.wait(60) == 0, first.text
    assert orq_sandbox.count() == 1
    assert SyncRun.objects.get().created == 3
    assert mirror_equals(orq_sandbox)


def test_command_needs_no_broker(brokerless, orq_sandbox):
    orq_sandbox.add("A")
    with brokerless.command("orq_sync") as command:
        assert command.process.wait(20) == 0, command.text
    assert mirror_equals(orq_sandbox)

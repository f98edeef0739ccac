"""Bulk operations whose workers are killed."""

import os
import random
import signal
import time
from collections import Counter

import pytest

from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest, Requester
from django_orq.models import Conversation, Operation
from django_orq.testing import OrqSandbox

from ..programs import wait_until
from ..walking import full_run, mirror_equals
from .fleet import exists

ITEMS = 30
KILLS = 2


@pytest.fixture
def remote():
    with OrqSandbox(conversations=ITEMS, latency=0.05) as sandbox:
        yield sandbox


@pytest.fixture
def rows(remote, settings, ledger):
    settings.ORQ_WORKSPACES = remote.settings()
    full_run()
    remote.clear_requests()
    return list(Conversation.objects.order_by("-remote_id"))


def holder(operation: Operation) -> int | None:
    """The process that is working on it."""
    operation.refresh_from_db()
    return int(operation.worker.split()[1]) if operation.token else None


def kill_holder(operation: Operation) -> None:
    assert wait_until(lambda: holder(operation) is not None or operation.is_finished)
    time.sleep(random.uniform(0, 0.3))  # noqa: S311 # no secret
    pid = holder(operation)
    if pid is not None and exists(pid):
        os.kill(pid, signal.SIGKILL)


def work_off_under_fire(fleet, operation: Operation) -> None:
    """Run the operation with workers, and kill them while it runs."""
    with fleet.worker() as worker, fleet.beat():
        for _ in range(KILLS):
            kill_holder(operation)
        assert wait_until(lambda: holder(operation) is None and operation.is_finished), worker.text
    assert "Worker exited prematurely: signal 9" in worker.text


def carried_out(remote: OrqSandbox, operation: str) -> Counter[str]:
    """How often Orq performed it, by name."""
    done = [request for request in remote.requests if request.operation == operation and request.status in (200, 201)]
    return Counter(request.body["displayName"] for request in done)


def states_of(operation: Operation) -> Counter[str]:
    return Counter(operation.items.values_list("state", flat=True))


def test_every_conversation_is_renamed_once_though_workers_were_killed(new_fleet, remote, rows):
    names = [f"New {number}" for number in range(ITEMS)]
    wanted = [ItemRequest(conversation=row, new_name=name) for row, name in zip(rows, names, strict=True)]
    operation, _is_new = operations.create_operation("rename", wanted, by=Requester(name="somebody"))

    work_off_under_fire(new_fleet(remote.settings()), operation)

    assert states_of(operation) == {"done": ITEMS}
    assert carried_out(remote, "update") == dict.fromkeys(names, 1)
    assert mirror_equals(remote)


def test_every_creation_has_a_true_outcome_and_none_is_done_twice_though_workers_were_killed(new_fleet, remote, rows):
    operation, _is_new = operations.create_operation(
        "create", [ItemRequest(conversation=row) for row in rows], by=Requester(name="somebody")
    )

    work_off_under_fire(new_fleet(remote.settings()), operation)

    states, created = states_of(operation), carried_out(remote, "create")
    assert states["done"] + states["unknown"] == ITEMS
    assert states["unknown"] <= KILLS
    assert states["done"] <= created.total() <= ITEMS
    assert created <= Counter(row.display_name for row in rows)
    full_run()
    assert mirror_equals(remote)

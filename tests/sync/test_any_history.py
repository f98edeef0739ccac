"""Whatever happens in Orq, in the network and in our processes, in the end the mirror equals the remote.

Each case is a random history: conversations come, go and change before, between and during pages; cursors vanish;
requests and statements fail; processes die. Runs that were stopped for review are approved.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.db.models import F, QuerySet
from django.test import override_settings
from hypothesis import HealthCheck, given, settings, strategies as st

from django_orq.models import Conversation, RejectedPayload, SyncRun, WorkspaceWait
from django_orq.signals import conversation_deleted
from django_orq.sync import batches, intervals, runs, slices
from django_orq.testing import OrqSandbox

from ..values import mirrored_values
from ..walking import approve, let_the_wait_pass, mirror_equals

CASES = int(os.environ.get("ORQ_HISTORIES", "26"))
FAULTS: list[dict[str, Any]] = [
    {"status": 500},
    {"status": 503, "headers": {"Retry-After": "30"}},
    {"status": 429},
    {"status": 200, "body": "<html>"},
    {"drop": "before"},
    {"drop": "reset"},
    {"cut": True},
]
EVENTS = ("create", "rename", "delete", "delete the cursor", "hide", "show")


class Died(BaseException):
    """A process dies in the middle of a statement and does nothing more."""


@dataclass(frozen=True)
class History:
    at_first: int
    page_size: int
    unknown_cursor: str
    modes: list[str]
    events: list[tuple[int, str, str, int]]
    """What happens before or after the n-th request, and to which conversation."""
    faults: list[tuple[int, int]]
    breaks: list[tuple[int, type[BaseException]]]
    """What happens at the n-th statement of each slice."""


histories = st.builds(
    History,
    at_first=st.integers(0, 14),
    page_size=st.integers(1, 5),
    unknown_cursor=st.sampled_from(["404", "400", "empty", "first_page"]),
    modes=st.lists(st.sampled_from(["full", "incremental"]), min_size=1, max_size=4),
    events=st.lists(
        st.tuples(
            st.integers(1, 20), st.sampled_from(["before", "after"]), st.sampled_from(EVENTS), st.integers(0, 30)
        ),
        max_size=14,
    ),
    faults=st.lists(st.tuples(st.integers(0, 12), st.integers(0, len(FAULTS) - 1)), max_size=4),
    breaks=st.lists(st.tuples(st.integers(1, 25), st.sampled_from([OperationalError, Died])), max_size=4),
)


@dataclass
class World:
    """The remote side, and what happens to it at each request."""

    remote: OrqSandbox
    history: History
    requests: int = 0
    next_cursor: str | None = None
    deleted_while_alive: list[str] = field(default_factory=list)

    def watch_list(self, answer: dict[str, Any]) -> dict[str, Any]:
        if answer["data"]:
            self.next_cursor = answer["data"][-1]["_id"]
        return answer

    def on_request(self, _operation: str | None, phase: str) -> None:
        self.requests += phase == "before"
        for number, when, what, which in self.history.events:
            if (number, when) == (self.requests, phase):
                self.do(what, which)

    def do(self, what: str, which: int) -> None:
        ids = [conversation["_id"] for conversation in self.remote.conversations]
        if what == "create":
            self.remote.add(f"New {which}")
        elif what == "show":
            self.remote.hidden = set()
        elif ids:
            self.do_to(what, ids[which % len(ids)])

    def do_to(self, what: str, remote_id: str) -> None:
        if what == "rename":
            self.remote.rename(remote_id, f"Renamed at {self.requests}")
        elif what == "hide":
            self.remote.hidden |= {remote_id}
        else:
            with suppress(KeyError):
                self.remote.remove((self.next_cursor or remote_id) if what == "delete the cursor" else remote_id)

    def see_deleted(self, conversation: Conversation, **_kwargs: Any) -> None:
        if self.remote.get(conversation.remote_id) is not None:
            self.deleted_while_alive.append(conversation.remote_id)


@pytest.mark.parametrize("readers", [1, 4])
@pytest.mark.django_db(transaction=True)
@settings(max_examples=CASES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_mirror_equals_the_remote_after_any_history(history: History, readers: int):
    empty_the_mirror()
    with OrqSandbox() as remote, patch.object(intervals, "MIN_ROWS", 4), patch.object(batches, "MAX_PAGES", 2):
        world = World(remote, history)
        options = remote.settings()["default"]
        options |= {
            "PAGE_SIZE": history.page_size,
            "RETRIES": {"attempts": 1},
            "MASS_DELETE_MIN": 3,
            "READERS": readers,
        }
        conversation_deleted.connect(world.see_deleted)
        try:
            with override_settings(ORQ_WORKSPACES={"default": options}):
                live_through(world)
                let_all_be_well(remote)
                assert world.deleted_while_alive == []
                assert mirror_equals(remote)
                assert syncing_again_writes_nothing()
        finally:
            conversation_deleted.disconnect(world.see_deleted)


def empty_the_mirror() -> None:
    for model in (RejectedPayload, SyncRun, WorkspaceWait, Conversation):
        QuerySet(model).delete()


def live_through(world: World) -> None:
    remote, history = world.remote, world.history
    for number in range(history.at_first):
        remote.add(f"Ticket {number}")
    remote.unknown_cursor = history.unknown_cursor
    remote.transform_list = world.watch_list
    remote.on_request = world.on_request
    for after, fault in history.faults:
        remote.fail(after=after, **FAULTS[fault])
    breaks = iter(history.breaks)
    for mode in history.modes:
        run = runs.open_run("default", mode)
        with suppress(Exception, Died), breaking(next(breaks, None)):
            slices.run_slice(run.pk)
        time_passes()


def time_passes() -> None:
    """Leases and waits expire, and runs stopped for review are approved, once for each reason.

    A run that stops again, because none of its canaries is left, is superseded by the next one.
    """
    let_the_wait_pass()
    SyncRun.objects.filter(lease_until__isnull=False).update(lease_until=datetime.now(UTC) - timedelta(seconds=1))
    for run in SyncRun.objects.all():
        if runs.can_be_approved(run) and not run.is_approved(run.needs_approval):
            with suppress(Exception):
                approve(run)


@contextmanager
def breaking(plan: tuple[int, type[BaseException]] | None) -> Iterator[None]:
    """Make the n-th statement fail; a process that dies there executes no further one."""
    executed = 0

    def execute(run: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal executed
        executed += 1
        if plan and (executed == plan[0] or (executed > plan[0] and plan[1] is Died)):
            raise plan[1]
        return run(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield


def let_all_be_well(remote: OrqSandbox) -> None:
    """Start full runs, as a schedule would, and approve them, as a user would, until a new one succeeds."""
    remote.clear_faults()
    remote.on_request = remote.transform_list = None
    remote.hidden = set()
    # An unlisted conversation is retrieved again only a day later, and may have been deleted since.
    QuerySet(Conversation).update(confirmed_at=F("confirmed_at") - timedelta(days=2))
    before = SyncRun.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    for _attempt in range(12):
        time_passes()
        for run in [*runs.adoptable("default"), runs.open_run("default", "full")]:
            with suppress(Exception):
                while slices.run_slice(run.pk) is not None:
                    pass
        if SyncRun.objects.filter(pk__gt=before, mode="full", state=SyncRun.State.SUCCEEDED).exists():
            return
    raise AssertionError(
        f"no full run succeeds: {list(SyncRun.objects.values('mode', 'state', 'error_code', 'needs_approval'))}"
    )


def syncing_again_writes_nothing() -> bool:
    before = [mirrored_values(row) for row in Conversation.objects.order_by("pk")]
    run = runs.open_run("default", "full")
    while slices.run_slice(run.pk) is not None:
        pass
    run.refresh_from_db()
    after = [mirrored_values(row) for row in Conversation.objects.order_by("pk")]
    return run.state == SyncRun.State.SUCCEEDED and before == after

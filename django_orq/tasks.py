"""The Celery tasks. Their names are public: schedules and routes refer to them.

Publishing is bounded. Left to itself (Celery 5.7, kombu 5.7, redis-py 8.1), it takes 0.7 s to give up on a broker that
refuses connections, 4 s on a RabbitMQ that accepts them and never answers, and on such a Redis it waits for ever,
for `broker_connection_timeout` does not bind Redis and `retry_policy` bounds no single attempt.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import Task, shared_task
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.utils.translation import gettext

from . import logs
from .conf import DEFAULT_ALIAS, workspace_aliases
from .mirror import operations
from .models import Operation, SyncRun, Work
from .queues import OPERATE, SYNC, WALK
from .store import leases
from .store.database import DatabaseClock, write_database
from .sync import runs, slices
from .sync.report import FormatTime, in_utc, remarks

__all__ = ["run_operation", "sync_conversations", "walk_conversations"]

if TYPE_CHECKING:
    _Task = Task[Any, Any]
else:
    _Task = Task  # takes no parameters before Celery 5.7

MAX_COUNTDOWN = 300.0
"""Seconds; a message that is held back longer outlasts some brokers' patience: the schedule sees to such a run."""
_PATIENCE = 1.0
"""Seconds for each step of publishing: to connect, to be answered."""
_NAMES: dict[type[Work], str] = {SyncRun: "sync run", Operation: "operation"}
_TRANSPORT_OPTIONS = {
    **dict.fromkeys(("socket_connect_timeout", "socket_timeout"), _PATIENCE),  # Redis
    **dict.fromkeys(("read_timeout", "write_timeout"), _PATIENCE),  # RabbitMQ
    # Once more, at once: a broker with a second address is tried there.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


class BoundedTask(_Task):
    """Tells within 3 s that the broker is out of reach: ``delay`` and ``apply_async`` raise ``Task.OperationalError``.

    Each message has a connection of its own (some milliseconds on a local network), because the time limits of one
    from Celery's pool are the project's. Whoever gives a ``producer`` or ``connection``, as beat does, is left alone.
    """

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        if more or options.get("producer") or options.get("connection") or self.app.conf.task_always_eager:
            return super().apply_async(args, kwargs, *more, **options)
        try:
            with self._own_connection() as connection:
                return self._publish(connection, args, kwargs, options)
        except (ImportError, LookupError, OSError) as error:  # no client for it, no such kind of broker, no folder
            raise self.OperationalError(str(error)) from error

    def _publish(self, connection: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        try:
            return super().apply_async(args, kwargs, **options | {"connection": connection, "retry": False})
        except (*connection.connection_errors, *connection.channel_errors) as error:  # a wrong password, for one
            raise self.OperationalError(str(error)) from error

    def _own_connection(self) -> Any:
        return self.app.connection_for_write(connect_timeout=_PATIENCE, transport_options=_TRANSPORT_OPTIONS)


@shared_task(name=SYNC, base=BoundedTask, ignore_result=True)
def sync_conversations(
    workspace: str | None = DEFAULT_ALIAS,
    mode: str = SyncRun.Mode.INCREMENTAL.value,
    max_seconds: float | None = None,
) -> None:
    """Start a sync run, or go on with the unfinished one; this is the task to schedule.

    ``mode`` is "incremental" (what is new) or "full" (everything, deletions too); ``workspace=None`` means all of
    them; ``max_seconds`` is the budget of this call. Each call also picks up every other unfinished run of the
    workspace, and every unfinished operation, that nobody works on: no message needs to be delivered twice.
    ``ValueError`` for a mode or budget that makes no sense, ``ImproperlyConfigured`` for an unknown workspace.
    """
    runs.check_mode(mode)
    if workspace is None:
        for alias in workspace_aliases():
            sync_conversations.delay(alias, mode, max_seconds)
        return
    runs.open_run(workspace, mode, max_seconds=max_seconds)
    for run in runs.adoptable(workspace):
        enqueue_slice(run.pk)
    for operation in leases.idle_operations():
        enqueue_operation(operation.pk)


@shared_task(name=WALK, base=BoundedTask, ignore_result=True, bind=True)
def walk_conversations(self: "Task[[int, str], None]", run_id: int, ticket: str = "") -> None:
    """Work on a run for one slice, from its checkpoint, and enqueue the next slice.

    Ends quietly if the run is finished, paused or waiting, or another worker has it, or (after its slice) if a newer
    message than this one, by its ``ticket``, is under way; a run that fails fails its task. Under eager mode one slice
    runs: the caller waits for it.
    """
    run = slices.run_slice(run_id)
    if run is None or run.is_finished or run.wait == SyncRun.Wait.BUDGET or self.request.is_eager:
        return
    _call_next(walk_conversations, run, ticket)


@shared_task(name=OPERATE, base=BoundedTask, ignore_result=True, bind=True)
def run_operation(self: "Task[[int, str], None]", operation_id: int, ticket: str = "") -> None:
    """Work on what a person ordered in the admin for one slice, and enqueue the next."""
    operation = operations.work_slice(operation_id)
    if operation is None or operation.is_finished or self.request.is_eager:
        return
    _call_next(run_operation, operation, ticket)


def enqueue_slice(run_id: int, *, countdown: float = 0.0) -> None:
    """Have a worker go on with a run, once the caller's transaction is committed.

    When the broker is out of reach, that is logged and costs less than 3 s: the run stays as it is for the next call.
    """
    transaction.on_commit(lambda: _publish(walk_conversations, SyncRun, run_id, countdown), using=write_database())


def enqueue_operation(operation_id: int, *, countdown: float = 0.0) -> None:
    """Have a worker go on with an operation; else as ``enqueue_slice``."""
    transaction.on_commit(lambda: _publish(run_operation, Operation, operation_id, countdown), using=write_database())


def _call_next(task: "Task[Any, Any]", work: Work, ticket: str) -> None:
    """Enqueue the next slice, unless a newer message than the one with this ticket does, or it is long until then."""
    seconds = _seconds_left(work)
    if seconds <= MAX_COUNTDOWN and leases.is_newest(type(work), work.pk, ticket):
        using = write_database()
        transaction.on_commit(lambda: _publish(task, type(work), work.pk, seconds), using=using)


def _publish(task: "Task[Any, Any]", work: type[Work], pk: int, countdown: float) -> None:
    ticket = leases.issue(work, pk, delay=countdown)
    try:
        task.apply_async((pk, ticket), countdown=countdown)
    except Task.OperationalError as error:
        # The broker's address and its refusal, without the frames of its client.
        logs.log(logs.PUBLISHING_FAILED, work=_NAMES[work], id=pk, problem=str(error))
        leases.void(work, pk, ticket)


def _seconds_left(work: Work) -> float:
    """Until what waits may go on."""
    if work.resume_at is None:
        return 0.0
    return max(0.0, (work.resume_at - DatabaseClock(write_database()).now()).total_seconds())


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    run: SyncRun
    is_not_enqueued: bool = False
    """No worker could be told: the broker is out of reach."""
    is_others: bool = False
    """Somebody else walks or calls a worker already, or the run has to wait."""

    def message(self, *, format_time: FormatTime = in_utc) -> str:
        """What became of it; ``format_time`` says times."""
        named = {"run": self.run.pk, "workspace": self.run.workspace, "state": self.run.get_state_display()}
        # A run that is queued by somebody else has a worker called for just now.
        if self.is_not_enqueued or (self.is_others and self.run.state == SyncRun.State.QUEUED):
            return self._sentence() % named
        return " ".join([self._sentence() % named, *remarks(self.run, format_time=format_time)])

    def _sentence(self) -> str:
        if self.is_not_enqueued:
            return gettext(
                "Sync run %(run)s of workspace “%(workspace)s” is queued. The broker is out of reach, so no worker "
                "was told; the run stays queued and the next scheduled sync takes it up."
            )
        if self.run.state == SyncRun.State.QUEUED:
            return gettext("Sync run %(run)s of workspace “%(workspace)s” is queued. A worker will take it.")
        return gettext("Sync run %(run)s of workspace “%(workspace)s” is %(state)s.")


def start(workspaces: Iterable[str], mode: str) -> Iterator[Enqueued | ImproperlyConfigured]:
    """Open a run in each workspace, or go on with the one that is there, paused or not; or say why that can't be.

    Once a broker is out of reach, it is not tried again: each attempt takes seconds, and a person waits.
    """
    not_enqueued = False
    for workspace in workspaces:
        try:
            run = _open(workspace, mode)
        except ImproperlyConfigured as error:
            yield error
            continue
        enqueued = Enqueued(run=run, is_not_enqueued=True) if not_enqueued else enqueue(run)
        not_enqueued = enqueued.is_not_enqueued
        yield enqueued


def start_unless_running(workspace: str, mode: str) -> Enqueued:
    """Open a run, or go on with the one that is there; left alone if somebody walks it, or it waits for Orq."""
    run = runs.unfinished(workspace, mode)
    if run is not None and not runs.can_be_resumed(run) and run not in runs.adoptable(workspace):
        return Enqueued(run=run, is_others=True)
    return enqueue(_open(workspace, mode))


def _open(workspace: str, mode: str) -> SyncRun:
    run = runs.open_run(workspace, mode)
    return runs.resume(run) if run.state == SyncRun.State.PAUSED else run


def enqueue(run: SyncRun) -> Enqueued:
    """Have a worker go on with the run, unless one does, a message is under way, or the run has to wait.

    Within a transaction of the caller's, the worker is told once that is committed.
    """
    publishes = run in runs.adoptable(run.workspace)
    if publishes:
        enqueue_slice(run.pk)
        run.refresh_from_db(using=write_database())
    is_not_enqueued = publishes and not run.ticket and not connections[write_database()].in_atomic_block
    return Enqueued(run=run, is_not_enqueued=is_not_enqueued, is_others=not publishes)

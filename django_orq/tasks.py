"""The Celery tasks. Their names are public: schedules and routes refer to them.

We limit the time that publishing takes. By default (Celery 5.7, kombu 5.7, redis-py 8.1) it gives up after 0.7 s on a
broker that refuses connections and after 4 s on a RabbitMQ that accepts them but never responds. On a Redis that never
responds it blocks forever, because `broker_connection_timeout` does not apply to Redis and `retry_policy` does not
limit the duration of a single attempt.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from celery import Task, shared_task
from celery.app import default_app
from celery.exceptions import SoftTimeLimitExceeded
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

MAX_COUNTDOWN = 300.0
"""Seconds. Longer waits are left to the next scheduled sync.

Brokers may redeliver messages that are delayed for longer.
"""
_TIMEOUT = 1.0
"""Seconds for each step of publishing: connecting, and each response."""
_TRANSPORT_OPTIONS = {
    **dict.fromkeys(("socket_connect_timeout", "socket_timeout"), _TIMEOUT),  # Redis
    **dict.fromkeys(("read_timeout", "write_timeout"), _TIMEOUT),  # RabbitMQ
    # One retry without delay, so that a broker's second address is tried as well.
    "max_retries": 1,
    **dict.fromkeys(("interval_start", "interval_step", "interval_max"), 0),
}
_CONNECTION: Any = {"connect_timeout": _TIMEOUT, "transport_options": _TRANSPORT_OPTIONS}


class BoundedTask(Task):  # type: ignore[type-arg] # takes no parameters before Celery 5.7
    """A task that raises ``Task.OperationalError`` within 3 s if ``delay`` or ``apply_async`` cannot reach the broker.

    Each message uses its own connection (a few milliseconds on a local network), because connections from Celery's
    pool have the project's timeouts. Calls with a ``producer`` or ``connection``, such as beat's, are unaffected.
    """

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        if more or options.get("producer") or options.get("connection") or self.app.conf.task_always_eager:
            return super().apply_async(args, kwargs, *more, **options)
        try:
            with self.app.connection_for_write(**_CONNECTION) as connection:
                return self._publish(connection, args, kwargs, options)
        # No client library (for Redis an AttributeError), an unknown transport, no such folder.
        except (AttributeError, ImportError, LookupError, OSError) as error:
            raise self.OperationalError(str(error)) from error
        except ValueError:  # its text may have part of the password
            raise self.OperationalError("The broker's URL is not valid.") from None

    def _publish(self, connection: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
        try:
            return super().apply_async(args, kwargs, **options | {"connection": connection, "retry": False})
        except (*connection.connection_errors, *connection.channel_errors) as error:  # for example a wrong password
            raise self.OperationalError(str(error)) from error


@shared_task(name=SYNC, base=BoundedTask, ignore_result=True)
def sync_conversations(
    workspace: str | None = DEFAULT_ALIAS, mode: str = SyncRun.Mode.INCREMENTAL.value, max_seconds: float | None = None
) -> None:
    """Start a sync run, or continue the unfinished one unless it is paused. This is the task to schedule.

    ``mode`` is "incremental" (new conversations) or "full" (all conversations, and deletions); ``workspace=None``
    means all workspaces; ``max_seconds`` is the time budget of this call. Each call also enqueues every other
    unfinished run of the workspace and every unfinished operation that could continue now, unless a worker is
    processing it or a message for it is under way. This makes up for messages that were lost. Raises ``ValueError``
    for an invalid mode or budget, and ``ImproperlyConfigured`` for an unknown workspace.
    """
    runs.check_mode(mode)
    if workspace is None:
        for alias in workspace_aliases():
            sync_conversations.delay(alias, mode, max_seconds)
        return
    opened = runs.open_run(workspace, mode, max_seconds=max_seconds)
    if opened.state == SyncRun.State.PAUSED:
        logs.log(logs.SYNC_RUN_LEFT_PAUSED, run=opened.pk, workspace=workspace, mode=mode)
    for work in (*runs.adoptable(workspace), *leases.idle_operations()):
        enqueue_slice(work)


@shared_task(name=WALK, base=BoundedTask, ignore_result=True, bind=True)
def walk_conversations(self: "Task[[int, str], None]", run_id: int, ticket: str = "") -> None:
    """Process one slice of a run, starting at its checkpoint, and enqueue the next slice.

    Does nothing if the run is finished, paused or out of budget, or still has to wait, or if another worker has it.
    ``ticket`` identifies the message that called the task: if a newer one is under way, the task enqueues nothing. If
    the run fails, the task fails. In eager mode only one slice runs, because the caller waits for it.
    """
    run = slices.run_slice(run_id, interrupts=(SoftTimeLimitExceeded,)) or leases.waiting(SyncRun, run_id)
    if run and not (run.is_finished or run.wait == SyncRun.Wait.BUDGET or self.request.is_eager):
        _enqueue_next(run, ticket)


@shared_task(name=OPERATE, base=BoundedTask, ignore_result=True, bind=True)
def run_operation(self: "Task[[int, str], None]", operation_id: int, ticket: str = "") -> None:
    """Process one slice of an operation that a user requested in the admin, and enqueue the next slice."""
    operation = operations.work_slice(operation_id) or leases.waiting(Operation, operation_id)
    if operation and not (operation.is_finished or self.request.is_eager):
        _enqueue_next(operation, ticket)


def has_no_broker() -> bool:
    """Whether the project has a Celery app that names no broker, so that Celery takes its default."""
    conf: Any = walk_conversations.app.conf if default_app else None
    return conf is not None and not (conf.broker_url or conf.task_always_eager)


def time_limits() -> Iterator[tuple[str, str, float | None]]:
    """Yield the time limits of the tasks that send requests: names of the task and the limit, and seconds if set.

    Celery has resolved its settings, including ``task_annotations``; the options of workers are not known here. Yields
    nothing if the project has no Celery app, because none should be created only to be asked.
    """
    for task in (walk_conversations, run_operation) if default_app else ():
        for limit in ("soft_time_limit", "time_limit"):
            # Before Celery 5.5, a task has only the limits of annotations; workers take the others from the settings.
            yield task.name, limit, getattr(task, limit) or task.app.conf[f"task_{limit}"]


def enqueue_slice(work: Work, *, countdown: float = 0.0) -> None:
    """Enqueue the next slice of a run or of an operation when the caller's transaction is committed.

    If the broker is unreachable, the failure is logged within 3 s, and the next scheduled sync enqueues it; then
    ``work.ticket`` is empty.
    """
    transaction.on_commit(lambda: _publish(work, countdown), using=write_database())


def _publish(work: Work, countdown: float) -> None:
    work.ticket = leases.issue(type(work), work.pk, delay=countdown)
    task = run_operation if isinstance(work, Operation) else walk_conversations
    try:
        task.apply_async((work.pk, work.ticket), countdown=countdown)
    except Task.OperationalError as error:
        # The message has the broker's address and the cause; the client's traceback would add nothing.
        logs.log(logs.PUBLISHING_FAILED, work=str(work._meta.verbose_name_raw), id=work.pk, problem=str(error))
        leases.void(type(work), work.pk, work.ticket)
        work.ticket = ""


def _enqueue_next(work: Work, ticket: str) -> None:
    """Enqueue the next slice, if the ticket is the newest one and the wait is at most ``MAX_COUNTDOWN``."""
    now = DatabaseClock(write_database()).now()
    seconds = max(0.0, (work.resume_at - now).total_seconds()) if work.resume_at else 0.0
    if seconds <= MAX_COUNTDOWN and leases.is_newest(type(work), work.pk, ticket):
        enqueue_slice(work, countdown=seconds)


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """A run, and whether it was enqueued."""

    run: SyncRun
    is_not_enqueued: bool = False
    """The broker is unreachable, so no worker was notified."""
    is_others: bool = False
    """Another process is working on the run or has enqueued it already, or the run has to wait."""

    def message(self, *, format_time: FormatTime = in_utc) -> str:
        """Return the outcome as a text; ``format_time`` formats the times in it."""
        named = {"run": self.run.pk, "workspace": self.run.workspace, "state": self.run.get_state_display()}
        state, expects_worker = self.run.state, self.run.enqueued_at is not None
        goes_on = state == SyncRun.State.RUNNING or (state == SyncRun.State.WAITING and expects_worker)
        is_queued = state == SyncRun.State.QUEUED or (goes_on and not self.is_others)
        text = gettext("Sync run %(run)s of workspace “%(workspace)s”: %(state)s.")
        if self.is_not_enqueued:
            text = gettext(
                "Sync run %(run)s of workspace “%(workspace)s” is saved, but no worker could be notified. The next "
                "scheduled sync runs it."
            )
        elif is_queued:
            text = gettext("Sync run %(run)s of workspace “%(workspace)s” is queued.")
        # A run that is queued has no problems to report yet, or old ones.
        is_new = self.is_not_enqueued or is_queued
        return " ".join([text % named, *([] if is_new else remarks(self.run, format_time=format_time))])


def start(workspace: str, mode: str) -> Enqueued:
    """Open a run or resume the unfinished one, and enqueue it."""
    run = runs.open_run(workspace, mode)
    return enqueue((runs.resume(run) or run) if run.state == SyncRun.State.PAUSED else run)


def start_unless_running(workspace: str, mode: str) -> Enqueued:
    """Open a run or resume the unfinished one, unless a worker has it or was notified, or the run has to wait."""
    run = runs.unfinished(workspace, mode)
    if run is not None and not runs.can_be_resumed(run) and run not in runs.adoptable(workspace):
        return Enqueued(run=run, is_others=True)
    return start(workspace, mode)


def enqueue(run: SyncRun) -> Enqueued:
    """Enqueue the run, unless a worker is processing it, a message is under way, or the run has to wait.

    Inside a transaction of the caller, the run is enqueued when the transaction is committed.
    """
    if publishes := run in runs.adoptable(run.workspace):
        enqueue_slice(run)
    is_not_enqueued = publishes and not run.ticket and not connections[write_database()].in_atomic_block
    if publishes:
        run.refresh_from_db(using=write_database())
    return Enqueued(run=run, is_not_enqueued=is_not_enqueued, is_others=not publishes)

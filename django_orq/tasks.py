"""The Celery tasks. Their names are public: schedules and routes refer to them."""

from datetime import UTC, datetime

from celery import Task, shared_task
from django.db import transaction

from . import runs, sync
from .conf import DEFAULT_ALIAS, workspace_aliases
from .models import SyncRun, write_database

LONGEST_COUNTDOWN = 300.0
"""Seconds; a message that is held back longer than that outlasts some brokers' patience."""


@shared_task(name="django_orq.sync_conversations", ignore_result=True)
def sync_conversations(
    workspace: str | None = DEFAULT_ALIAS,
    mode: str = SyncRun.Mode.INCREMENTAL.value,
    max_pages: int | None = None,
    max_seconds: float | None = None,
) -> None:
    """Start a sync run, or go on with the unfinished one; this is the task to schedule.

    ``mode`` is "incremental" (what is new) or "full" (everything, deletions too); ``workspace=None`` means all of
    them; ``max_pages`` and ``max_seconds`` are the budget of this call. Each call also picks up every other unfinished
    run of the workspace that nobody works on, so that no message needs to be delivered twice.
    """
    for alias in workspace_aliases() if workspace is None else [workspace]:
        runs.open_run(alias, mode, max_pages=max_pages, max_seconds=max_seconds)
        for run in runs.adoptable(alias):
            enqueue_slice(run.pk)


@shared_task(name="django_orq.walk_conversations", ignore_result=True, bind=True)
def walk_conversations(self: "Task[[int], None]", run_id: int) -> None:
    """Work on a run for one slice, from its checkpoint, and enqueue the next slice.

    Ends quietly if the run is finished, paused or waiting, or another worker has it; a run that fails fails its task.
    Under eager mode one slice runs: the caller waits for it.
    """
    run = sync.run_slice(run_id)
    if run is None or run.is_finished or run.wait == SyncRun.Wait.BUDGET or self.request.is_eager:
        return
    enqueue_slice(run.pk, countdown=_seconds_left(run))


def enqueue_slice(run_id: int, *, countdown: float = 0.0) -> None:
    """Have a worker go on with a run, once the caller's transaction is committed."""
    transaction.on_commit(
        lambda: walk_conversations.apply_async((run_id,), countdown=countdown), using=write_database()
    )


def _seconds_left(run: SyncRun) -> float:
    """Until a waiting run may go on; the schedule sees to those that wait longer."""
    if run.resume_at is None:
        return 0.0
    return min(max(0.0, (run.resume_at - datetime.now(UTC)).total_seconds()), LONGEST_COUNTDOWN)

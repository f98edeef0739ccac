"""The Celery tasks. Their names are public: schedules and routes refer to them."""

from celery import Task, shared_task
from django.db import transaction

from . import sync
from .conf import DEFAULT_ALIAS
from .models import SyncRun, write_database


@shared_task(name="django_orq.sync_conversations", ignore_result=True)
def sync_conversations(workspace: str = DEFAULT_ALIAS, mode: str = "incremental") -> None:
    """Start a sync run, or go on with the unfinished one. This is the task to schedule, with ``mode="full"``."""
    enqueue_slice(sync.open_run(workspace, mode))


@shared_task(name="django_orq.walk_conversations", ignore_result=True, bind=True)
def walk_conversations(self: "Task[[int], None]", run_id: int) -> None:
    """Page through the remote list for one slice, from the run's checkpoint, and enqueue the next slice.

    Ends quietly if another worker walks this run or it is finished; a run that fails fails its task. Under eager mode
    one slice runs: the caller waits for it.
    """
    run = sync.run_slice(run_id)
    if run is not None and not run.is_finished and not self.request.is_eager:
        enqueue_slice(run)


def enqueue_slice(run: SyncRun) -> None:
    """Have a worker walk on, once the caller's transaction is committed."""
    transaction.on_commit(lambda: walk_conversations.delay(run.pk), using=write_database())

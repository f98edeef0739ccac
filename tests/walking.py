"""Helpers for tests of the walk."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from django_orq.exceptions import OrqError
from django_orq.models import Conversation, SyncRun, WorkspaceWait
from django_orq.store.database import write_database
from django_orq.sync import runs, slices
from django_orq.testing import OrqSandbox


class Killed(BaseException):
    """Interrupts a walk as a signal would."""


def kill_after(pages: int) -> Callable[[SyncRun], None]:
    def on_progress(run: SyncRun) -> None:
        if run.pages == pages:
            raise Killed

    return on_progress


def fill(remote: OrqSandbox, count: int) -> list[str]:
    """Add conversations and return their ids, newest first."""
    return [remote.add(f"Ticket {number}")["_id"] for number in range(count)][::-1]


def full_run() -> SyncRun:
    """Work on the unfinished full run until it ends or waits; if it fails, its error is swallowed."""
    return work_on(runs.open_run("default", "full"))


def incremental_run() -> SyncRun:
    return work_on(runs.open_run("default", "incremental"))


def work_on(run: SyncRun) -> SyncRun:
    with suppress(OrqError):
        while slices.run_slice(run.pk) is not None:
            pass
    run.refresh_from_db(using=write_database())
    return run


def walk_pages(count: int, mode: str = "full") -> SyncRun:
    """Process this many pages of the unfinished run of that mode."""
    run = runs.open_run("default", mode)
    for _page in range(count):
        slices.run_slice(run.pk, seconds=0.000_001)
    run.refresh_from_db(using=write_database())
    return run


def approve(run: SyncRun) -> SyncRun:
    """Approve it, as a user who has reviewed it."""
    run.refresh_from_db(using=write_database())
    approved = runs.approve(run, reason=run.needs_approval, by="somebody")
    assert approved is not None
    return approved


def let_the_wait_pass() -> None:
    """Make the waits of runs, and those that Orq asked for, expire."""
    SyncRun.objects.filter(state="waiting").update(resume_at=datetime.now(UTC) - timedelta(seconds=1))
    WorkspaceWait.objects.all().delete()


def configure(settings, **options: object) -> None:
    """Add options to the workspace ``default``."""
    settings.ORQ_WORKSPACES = {"default": settings.ORQ_WORKSPACES["default"] | options}


def mirror_equals(remote: OrqSandbox) -> bool:
    """Whether the live rows equal the remote conversations, field by field, times to the millisecond."""
    rows = [
        {
            "_id": row.remote_id,
            "kind": "conversation",
            "displayName": row.display_name,
            "createdAt": milliseconds(row.remote_created_at),
            "updatedAt": milliseconds(row.remote_updated_at),
        }
        | ({} if row.created_by_id is None else {"createdById": row.created_by_id})
        | ({} if row.updated_by_id is None else {"updatedById": row.updated_by_id})
        | ({} if row.metadata is None else {"metadata": row.metadata})
        | row.extra
        for row in Conversation.objects.live().order_by("-remote_id")
    ]
    return rows == remote.conversations


def milliseconds(moment) -> int:
    return round(moment.timestamp() * 1000)

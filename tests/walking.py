"""What tests of the walk do over and over."""

from contextlib import suppress

from django_orq import sync
from django_orq.exceptions import OrqError
from django_orq.models import Conversation, SyncRun
from django_orq.testing import OrqSandbox


def full_run() -> SyncRun:
    """Walk the unfinished full run to its end, however that is; the error of a failed one is swallowed."""
    run = sync.open_run("default", "full")
    with suppress(OrqError):
        while sync.run_slice(run.pk) is not None:
            pass
    run.refresh_from_db()
    return run


def configure(settings, **options: object) -> None:
    """Add options to the workspace ``default``."""
    settings.ORQ_WORKSPACES = {"default": settings.ORQ_WORKSPACES["default"] | options}


def mirror_equals(remote: OrqSandbox) -> bool:
    """Whether the live rows are the remote conversations, field by field, times to the millisecond."""
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

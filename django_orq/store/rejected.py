"""Records list items that could not be mirrored, with the reason.

They are unresolved until the same conversation can be mirrored, or until a full run no longer finds them in the list.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import connections
from django.db.models import QuerySet

from ..models import RejectedPayload, SyncRun
from ..payloads import RejectedItem
from .database import all_payloads, write_database


def unresolved(workspace: str) -> QuerySet[RejectedPayload]:
    return all_payloads().filter(workspace=workspace, resolved_at=None)


def record(items: Iterable[RejectedItem], *, run: SyncRun, seen_at: datetime) -> None:
    """Store the rejected items of a page, one row for each id or digest."""
    latest = {item.key: item for item in items}
    seen = {"workspace": run.workspace, "first_seen_at": seen_at, "last_seen_at": seen_at, "last_run": run}
    rows = [RejectedPayload(key=key, reason=item.reason, excerpt=item.excerpt, **seen) for key, item in latest.items()]
    has_target = connections[write_database()].features.supports_update_conflicts_with_target
    all_payloads().bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=("workspace", "key") if has_target else None,
        update_fields=("reason", "excerpt", "last_seen_at", "last_run", "resolved_at"),
    )


def resolve(workspace: str, keys: Collection[str], *, now: datetime) -> None:
    """Mark the rejected payloads of these conversations as resolved: they have been mirrored since."""
    if keys:
        unresolved(workspace).filter(key__in=keys).update(resolved_at=now)


def resolve_unseen(run: SyncRun, *, now: datetime) -> None:
    """Mark as resolved the rejected items that this full run did not see again."""
    unresolved(run.workspace).filter(last_seen_at__lt=run.started_at).update(resolved_at=now)

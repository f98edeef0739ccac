"""Records list items that could not be mirrored, with the reason.

They are unresolved until the same conversation can be mirrored, or until a full run no longer finds them in the list.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db.models import QuerySet

from ..models import RejectedPayload, SyncRun
from ..payloads import RejectedItem
from .database import all_payloads


def has_unresolved(workspace: str) -> bool:
    return _unresolved(workspace).exists()


def count_unresolved(workspace: str) -> int:
    return _unresolved(workspace).count()


def record(items: Iterable[RejectedItem], *, run: SyncRun, seen_at: datetime) -> None:
    """Store the rejected items of a page, one row for each id or digest."""
    latest = {payload.key: payload for payload in items}
    known = list(_of(run.workspace).filter(key__in=latest))
    for row in known:
        _describe(row, latest[row.key], run, seen_at)
    new = [
        _describe(RejectedPayload(workspace=run.workspace, key=key, first_seen_at=seen_at), latest[key], run, seen_at)
        for key in latest.keys() - {row.key for row in known}
    ]
    _of(run.workspace).bulk_update(known, ["reason", "excerpt", "last_seen_at", "last_run", "resolved_at"])
    _of(run.workspace).bulk_create(new)


def resolve(workspace: str, keys: Collection[str], *, now: datetime) -> None:
    """Mark the rejected payloads of these conversations as resolved: they have been mirrored since."""
    if keys:
        _unresolved(workspace).filter(key__in=keys).update(resolved_at=now)


def resolve_unseen(run: SyncRun, *, now: datetime) -> None:
    """Mark as resolved the rejected items that this full run did not see again."""
    _unresolved(run.workspace).filter(last_seen_at__lt=run.started_at).update(resolved_at=now)


def _of(workspace: str) -> QuerySet[RejectedPayload]:
    return all_payloads().filter(workspace=workspace)


def _unresolved(workspace: str) -> QuerySet[RejectedPayload]:
    return _of(workspace).filter(resolved_at=None)


def _describe(row: RejectedPayload, payload: RejectedItem, run: SyncRun, seen_at: datetime) -> RejectedPayload:
    row.reason, row.excerpt = payload.reason, payload.excerpt
    row.last_seen_at, row.last_run, row.resolved_at = seen_at, run, None
    return row

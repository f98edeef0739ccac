"""Old tombstones: what they hold is scrubbed, and those that nothing refers to are removed.

Some hundreds at a time, in short transactions that begin with a write: a million of them take neither memory nor
locks, and what is broken off leaves nothing half done.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db import DatabaseError, connections, transaction
from django.db.models import Q, QuerySet

from ..models import Conversation
from ..store.database import all_rows, write_database
from ..store.deletion import all_but_refused, is_refusal
from . import copies
from .references import References

BATCH = 500


class _InUse(Exception):
    """Something has come to refer to one of them, or Orq has it again."""


def batches(*, before: datetime, workspace: str | None = None) -> Iterator[list[Conversation]]:
    """Tombstones of conversations deleted before then, in that workspace or in all, the oldest first."""
    rows = all_rows().filter(deleted_at__lt=before).only("workspace", "remote_id", "deleted_at")
    if workspace is not None:
        rows = rows.filter(workspace=workspace)
    rows = rows.order_by("deleted_at", "remote_id", "pk")  # as an index has them
    batch = list(rows[:BATCH])
    while batch:
        yield batch
        batch = list(rows.filter(_after(batch[-1]))[:BATCH])


def count_unscrubbed(rows: Sequence[Conversation]) -> int:
    return _unscrubbed(rows).count()


def scrub(rows: Sequence[Conversation]) -> int:
    """Take out what Orq said of them, but for ids and times; returns of how many there was anything to take.

    ``mirrored_at`` stays, for this is no answer: one that was asked for before the deletion still brings nothing back.
    """
    return (
        _unscrubbed(rows)
        .filter(deleted_at__isnull=False)
        .update(
            display_name="",
            previous_name=None,
            metadata=None,
            extra={},
            created_by_id=None,
            updated_by_id=None,
        )
    )


def unused(rows: Sequence[Conversation], *, references: References) -> list[Conversation]:
    """Those that nothing refers to, and that no unfinished operation is about."""
    used = references.to(rows) | copies.in_hand(rows)
    return [row for row in rows if row.pk not in used]


def remove(rows: Sequence[Conversation], *, before: datetime, references: References) -> int:
    """Delete those of these rows that are still old tombstones, and unused; returns how many.

    A reference that is made at the same moment either comes first, and its row stays, or fails as one to no row does.
    (PostgreSQL and SQLite look at Django's constraints when a transaction ends, so the first to end comes first.) One
    that the database knows no constraint for may be made unseen, and is left without its row.
    """

    def try_to(some: Sequence[Conversation]) -> bool:
        try:
            _remove(some, before=before, references=references)
        except _InUse:
            return False
        except DatabaseError as error:
            if not is_refusal(error):  # else of a constraint that no model tells of, or of a trigger
                raise
            return False
        return True

    return all_but_refused(unused(rows, references=references), try_to)


def _remove(rows: Sequence[Conversation], *, before: datetime, references: References) -> None:
    using = write_database()
    with transaction.atomic(using=using, durable=True):
        copies.let_items_go(rows)
        if _lock(rows, before=before) != len(rows) or len(unused(rows, references=references)) != len(rows):
            raise _InUse
        copies.scrub_payloads(rows)
        # Without the cascades of `delete`: what refers to a row must keep it, whatever its `on_delete` says.
        all_rows().filter(pk__in=[row.pk for row in rows])._raw_delete(using)


def _lock(rows: Sequence[Conversation], *, before: datetime) -> int:
    """Lock them against new references and answers, but for those that somebody else has locked; returns how many."""
    features = connections[write_database()].features
    old = all_rows().filter(pk__in=[row.pk for row in rows], deleted_at__lt=before).order_by("pk")
    return len(old.select_for_update(skip_locked=features.has_select_for_update_skip_locked).values_list("pk"))


def _unscrubbed(rows: Sequence[Conversation]) -> QuerySet[Conversation]:
    scrubbed = Q(display_name="", extra={})
    for column in ("previous_name", "metadata", "created_by_id", "updated_by_id"):
        scrubbed &= Q((f"{column}__isnull", True))
    return all_rows().filter(~scrubbed, pk__in=[row.pk for row in rows])


def _after(row: Conversation) -> Q:
    """In the order of ``batches``."""
    within = Q(remote_id__gt=row.remote_id) | Q(remote_id=row.remote_id, pk__gt=row.pk)
    return Q(deleted_at__gte=row.deleted_at) & (Q(deleted_at__gt=row.deleted_at) | within)

"""Deletes old rows from the database, except those that a model or the database protects.

This is about pruning; conversations that were deleted in Orq become tombstones in ``reconcile``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import F, QuerySet

from .database import is_refusal


def delete_rows(rows: QuerySet[Any]) -> int:
    """Delete rows with Django's cascades, and return how many of the rows themselves were deleted."""
    return rows.delete()[1].get(rows.model._meta.label, 0)


def delete_unless_refused(
    rows: QuerySet[Any], pks: Sequence[int], *, delete: Callable[[QuerySet[Any]], int] = delete_rows
) -> int:
    """Delete the rows with these primary keys, except protected ones, and return how many were deleted.

    The rows are locked first; ``delete`` is called with the locked ones and returns how many it has deleted. A row
    that ``rows`` no longer contains is kept, and so is one that another process has locked. If the deletion is
    refused, each half of the keys is tried separately, and so on, until only the protected rows are left.
    """
    connection = connections[rows.db]
    ends_later = connection.in_atomic_block
    try:
        with transaction.atomic(using=rows.db):
            locked = _lock(rows.filter(pk__in=pks))
            count = delete(QuerySet(rows.model, using=rows.db).filter(pk__in=locked))
            # A deferred constraint is checked at COMMIT, which is too late inside a transaction of the caller.
            # (MariaDB has no deferred constraints, and SQLite would have to read all of its tables.)
            if ends_later and connection.vendor == "postgresql":
                connection.check_constraints()
    except DatabaseError as error:
        if not is_refusal(error):
            raise
    else:
        return count
    middle = len(pks) // 2
    halves = (pks[:middle], pks[middle:]) if middle else ()
    return sum(delete_unless_refused(rows, half, delete=delete) for half in halves)


def _lock(rows: QuerySet[Any]) -> list[int]:
    if connections[rows.db].features.has_select_for_update_skip_locked:
        return list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    # On SQLite a transaction that begins with a read cannot always be upgraded to write, so it begins with a write.
    column = next(field.attname for field in rows.model._meta.concrete_fields if not field.primary_key)
    rows.order_by().update(**{column: F(column)})
    return list(rows.values_list("pk", flat=True))

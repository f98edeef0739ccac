"""Old rows of any kind deleted for good, but for those that something refuses to let go; not what Orq deleted."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import F, QuerySet


def delete_rows(rows: QuerySet[Any]) -> int:
    """Delete rows as their models have it, cascades included; returns how many of these rows there were."""
    return rows.delete()[1].get(rows.model._meta.label, 0)


def delete_unless_refused(
    rows: QuerySet[Any], pks: Sequence[int], *, delete: Callable[[QuerySet[Any]], int] = delete_rows
) -> int:
    """Delete those of these rows that have these keys, but for what a model or the database refuses; returns how many.

    They are locked first, and ``delete`` has the locked ones. A row that is no longer among these rows stays, and so
    does one that another process has locked. If the deletion is refused, each half of the keys is tried, and half
    again, until the refused row stands alone.
    """
    connection = connections[rows.db]
    ends_later = connection.in_atomic_block
    try:
        with transaction.atomic(using=rows.db):
            locked = _lock(rows.filter(pk__in=pks))
            count = delete(QuerySet(rows.model, using=rows.db).filter(pk__in=locked))
            # A deferred constraint speaks only when the transaction ends: too late, if that is the caller's. (MariaDB
            # has none, and SQLite would have to read all of its tables.)
            if ends_later and connection.vendor == "postgresql":
                connection.check_constraints()
    except DatabaseError as error:
        if not _is_refusal(error):
            raise
    else:
        return count
    middle = len(pks) // 2
    halves = (pks[:middle], pks[middle:]) if middle else ()
    return sum(delete_unless_refused(rows, half, delete=delete) for half in halves)


def _lock(rows: QuerySet[Any]) -> list[int]:
    if connections[rows.db].features.has_select_for_update_skip_locked:
        return list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    # On SQLite a transaction that begins by reading can't always go on to write, so it begins with a write.
    column = next(field.attname for field in rows.model._meta.concrete_fields if not field.primary_key)
    rows.order_by().update(**{column: F(column)})
    return list(rows.values_list("pk", flat=True))


def _is_refusal(error: DatabaseError) -> bool:
    """Whether the database, or a model, does not let rows go; else it is in trouble.

    PROTECT and RESTRICT raise an ``IntegrityError``, as constraints do, and triggers on SQLite. Elsewhere a trigger is
    told by its code: P0001 of PL/pgSQL's RAISE, 1644 of MariaDB's SIGNAL.
    """
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return isinstance(error, IntegrityError) or code == "P0001" or error.args[:1] == (1644,)

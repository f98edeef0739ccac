"""Rows deleted, but for those that something refuses to let go."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import F, QuerySet

Row = TypeVar("Row")


def delete_unless_refused(rows: QuerySet[Any], pks: Sequence[int]) -> int:
    """Delete those of these rows that have these keys, but for what the project's models protect; returns how many.

    They are locked first, so that one that is no longer of these rows, since somebody took it up again, stays; and so
    does one that somebody else has locked.
    """
    deleted: list[int] = []

    def try_to(some: Sequence[int]) -> bool:
        try:
            with transaction.atomic(using=rows.db):
                locked = _lock(rows.filter(pk__in=some))
                rows.filter(pk__in=locked).delete()
        except DatabaseError as error:
            if not is_refusal(error):
                raise
            return False
        deleted.extend(locked)
        return True

    all_but_refused(pks, try_to)
    return len(deleted)


def is_refusal(error: DatabaseError) -> bool:
    """Whether the database, or a model, does not let rows go; else it is in trouble.

    PROTECT and RESTRICT raise an ``IntegrityError``, as constraints do, and triggers on SQLite. Elsewhere a trigger is
    told by its code: P0001 of PL/pgSQL's RAISE, 1644 of MariaDB's SIGNAL.
    """
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return isinstance(error, IntegrityError) or code == "P0001" or error.args[:1] == (1644,)


def _lock(rows: QuerySet[Any]) -> list[int]:
    if connections[rows.db].features.has_select_for_update_skip_locked:
        return list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    # On SQLite a transaction that begins by reading can't always go on to write, so it begins with a write.
    column = next(field.attname for field in rows.model._meta.concrete_fields if not field.primary_key)
    rows.order_by().update(**{column: F(column)})
    return list(rows.values_list("pk", flat=True))


def all_but_refused(rows: Sequence[Row], act: Callable[[Sequence[Row]], bool]) -> int:
    """Have ``act`` do all of them at once, or, where it refuses, half of them and half again; returns how many it did.

    What is refused alone is left out.
    """
    if not rows or act(rows):
        return len(rows)
    if len(rows) == 1:
        return 0
    middle = len(rows) // 2
    return all_but_refused(rows[:middle], act) + all_but_refused(rows[middle:], act)

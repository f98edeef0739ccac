"""Rows deleted, but for those that something refuses to let go."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

Row = TypeVar("Row")


def delete_unless_refused(rows: QuerySet[Any], pks: Sequence[int]) -> int:
    """Delete those of these rows that have these keys, but for what the project's models protect; returns how many.

    They are locked first, so that one that is no longer of these rows, since somebody took it up again, stays.
    """

    def try_to(some: Sequence[int]) -> bool:
        try:
            with transaction.atomic(using=rows.db):
                locked = rows.filter(pk__in=some).select_for_update().values_list("pk", flat=True)
                rows.filter(pk__in=list(locked)).delete()
        except IntegrityError:  # among them what PROTECT and RESTRICT raise
            return False
        return True

    return all_but_refused(pks, try_to)


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

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.db import connections, transaction
from django.urls import URLPattern

Row = TypeVar("Row")


def outside_of_transactions(patterns: Iterable[URLPattern]) -> None:
    """Have these views called outside of ``ATOMIC_REQUESTS``, whichever database they use."""
    for pattern in patterns:
        never_atomic(pattern.callback)


def never_atomic(view: Callable[..., Any]) -> None:
    """Have this view called outside of ``ATOMIC_REQUESTS``."""
    for alias in connections:
        transaction.non_atomic_requests(using=alias)(view)


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

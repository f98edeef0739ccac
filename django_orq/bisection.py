"""Many at once, and only where they are refused, fewer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")


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

"""Parts of Orq's list that are read independently of each other, each with its own cursor."""

import itertools
from dataclasses import asdict, dataclass
from typing import Any, Self

from django.db.models import Q, QuerySet

from ..models import Conversation, ConversationState, SyncRun
from ..payloads import created_at
from ..store.database import kept_rows

MIN_ROWS = 10_000
"""A smaller mirror is read in one interval."""
NEARBY = 100
"""The list may be cut up to this many rows before or after the ideal place."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The ids below ``below`` (``None``: from the newest) down to ``down_to``, inclusive (``None``: to the oldest)."""

    below: str | None = None
    down_to: str | None = None
    cursor: str | None = None
    """The id after which the next page begins."""
    received: bool = True
    """Whether the cursor was on a page of this run; else it is a row of the mirror, and may have gone."""
    entries: int = 0
    """How many items were read."""
    done: bool = False
    short: bool = False
    """Whether the list ended above ``down_to``."""

    @property
    def condition(self) -> Q:
        older = Q() if self.below is None else Q(remote_id__lt=self.below)
        return older if self.down_to is None else older & Q(remote_id__gte=self.down_to)

    def holds(self, remote_id: str) -> bool:
        return (self.below is None or remote_id < self.below) and (self.down_to is None or remote_id >= self.down_to)

    def within(self, other: Self) -> "Interval":
        """The ids that both hold."""
        below = min(filter(None, (self.below, other.below)), default=None)
        return Interval(below=below, down_to=max(filter(None, (self.down_to, other.down_to)), default=None))


def of(run: SyncRun) -> list[Interval]:
    """The intervals of a run, the newest first. Runs that are not cut have one."""
    return [Interval(**values) for values in run.intervals] or [Interval()]


def ended_early(run: SyncRun) -> bool:
    """Whether the list ended above the end of an interval, although a lower one still had items."""
    found = of(run)
    return any(one.short and any(lower.entries for lower in found[number:]) for number, one in enumerate(found, 1))


def saved(intervals: list[Interval]) -> list[dict[str, Any]]:
    """The value of the run's column."""
    return [asdict(interval) for interval in intervals]


def listed_rows(workspace: str) -> QuerySet[Conversation]:
    """Rows that the list has shown, so that it can probably be continued from them."""
    return kept_rows(workspace).filter(indexed_state=ConversationState.LIVE, fingerprint__isnull=False)


def cut(workspace: str, count: int) -> list[Interval]:
    """Cut the list into ``count`` intervals of about equal size, at listed rows; do not cut that of a small mirror."""
    ids = listed_rows(workspace).order_by("-remote_id").values_list("remote_id", flat=True)
    if (total := ids.count()) < MIN_ROWS:
        return [Interval()]
    places = [total * number // count for number in range(1, count)]
    cuts = [_widest_gap(list(ids[max(0, place - NEARBY) : place + NEARBY])) for place in places]
    bounds = [None, *dict.fromkeys(cuts), None]
    pairs = itertools.pairwise(bounds)
    return [Interval(below=below, down_to=to, cursor=below, received=below is None) for below, to in pairs]


def _widest_gap(ids: list[str]) -> str:
    """The id on the newer side of the longest time without a new conversation."""
    times = [created_at(remote_id) for remote_id in ids]
    gaps = [newer - older for newer, older in itertools.pairwise(times)]
    return ids[gaps.index(max(gaps))]

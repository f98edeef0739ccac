"""Old rows that nobody needs are deleted, and old names scrubbed, kind by kind and some hundreds at a time.

The age of a tombstone is at least a day. An answer from before the deletion could bring back a row that is no longer
there to show that it is newer; but no request lasts a day. Should a process that was suspended for so long write its
answer all the same, the next full run finds out that the conversation is gone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, TextChoices
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import logs
from ..conf import get_workspace
from ..mirror import history
from ..models import Conversation
from ..store.database import DatabaseClock, all_items, all_operations, all_payloads, all_rows, all_runs, write_database
from ..store.deletion import delete_unless_refused
from ..sync import runs
from ..text import number
from . import copies, tombstones
from .references import References

LONGEST = 36_500
"""Days."""
CHUNK = 500
OPERATIONS_AT_ONCE = 10
"""Each has up to a thousand items."""


class Kind(TextChoices):
    """What is scrubbed, or deleted."""

    SCRUBBED = "scrubbed_conversations", _("deleted conversations")
    ITEMS = "scrubbed_items", _("items of operations")
    PAYLOADS = "scrubbed_payloads", _("unreadable entries")
    HISTORY = "scrubbed_history", _("entries of the admin's history")
    TOMBSTONES = "conversations", _("deleted conversations")
    RUNS = "sync_runs", _("sync runs")
    OPERATIONS = "operations", _("operations")
    REJECTED = "rejected_payloads", _("settled unreadable entries")

    @property
    def stays(self) -> bool:
        """Whether its rows are scrubbed, not deleted."""
        return self.value.startswith("scrubbed_")


@dataclass(frozen=True, kw_only=True)
class Ages:
    """How many days old what is deleted or scrubbed must be at least; ``None``: that kind is left alone."""

    runs: int | None = None
    operations: int | None = None
    rejected: int | None = None
    tombstones: int | None = None
    scrub: int | None = None

    def __post_init__(self) -> None:
        given = [days for days in vars(self).values() if days is not None]
        if not given:
            raise ValueError(gettext("say what is to be pruned, and how old it must be, as in --runs-older-than 90"))
        if not all(1 <= days <= LONGEST for days in given):
            text = gettext("an age is a whole number of days, from 1 to %(most)s")
            raise ValueError(text % {"most": number(LONGEST)})


@dataclass(kw_only=True)
class Tally:
    """How far the pruning of one kind is."""

    kind: Kind
    count: int = 0
    """Deleted or scrubbed, or, where it is not applied, to be."""
    kept: int = 0
    """Old enough, but needed or referred to."""


@dataclass(frozen=True, kw_only=True)
class _Scope:
    before: datetime
    workspace: str | None
    apply: bool


_Rows = Sequence[Conversation]
_Step = Callable[[_Scope], Iterator[tuple[int, int]]]
"""Yields, batch for batch, how many were pruned and how many kept."""


def prune(
    ages: Ages,
    *,
    workspace: str | None = None,
    apply: bool = False,
    on_progress: Callable[[Tally], None] | None = None,
) -> Iterator[Tally]:
    """Kind by kind; without ``apply`` nothing is written. Broken off, it goes on where it was when called again.

    ``workspace`` is an alias that is configured or of which there are rows; all of them if it is not given.
    """
    if workspace is not None and not _is_known(workspace):
        get_workspace(workspace)
    now = DatabaseClock(write_database()).now()
    for kind, days, step in _steps(ages):
        tally = Tally(kind=kind)
        scope = _Scope(before=now - timedelta(days=days), workspace=workspace, apply=apply)
        try:
            for count, kept in step(scope):
                tally.count += count
                tally.kept += kept
                if on_progress:
                    on_progress(tally)
        finally:  # what was done before it broke off is done
            if apply:
                logs.log(logs.PRUNED, kind=kind.value, count=tally.count, kept=tally.kept)
        yield tally


def _is_known(workspace: str) -> bool:
    return any(rows.filter(workspace=workspace).exists() for rows in _all_of_workspaces())


def _all_of_workspaces() -> list[QuerySet[Any]]:
    return [all_rows(), all_runs(), all_payloads(), all_items()]


def _steps(ages: Ages) -> list[tuple[Kind, int, _Step]]:
    """Names are scrubbed first, so that as many are as it is said beforehand."""
    steps: list[tuple[Kind, int | None, _Step]] = [
        (
            Kind.SCRUBBED,
            ages.scrub,
            partial(_scrub, count=tombstones.count_unscrubbed, scrub=tombstones.scrub),
        ),
        (Kind.ITEMS, ages.scrub, _scrub_items),
        (Kind.PAYLOADS, ages.scrub, partial(_scrub, count=copies.count_payloads, scrub=copies.scrub_payloads)),
        (Kind.HISTORY, ages.scrub, _scrub_history),
        (Kind.TOMBSTONES, ages.tombstones, _remove_tombstones),
        (Kind.RUNS, ages.runs, _delete_runs),
        (Kind.OPERATIONS, ages.operations, _delete_operations),
        (Kind.REJECTED, ages.rejected, _delete_rejected),
    ]
    return [(kind, days, step) for kind, days, step in steps if days is not None]


def _scrub(
    scope: _Scope, *, count: Callable[[_Rows], int], scrub: Callable[[_Rows], int]
) -> Iterator[tuple[int, int]]:
    for rows in _tombstones(scope):
        found = count(rows)
        yield scrub(rows) if found and scope.apply else found, 0


def _scrub_items(scope: _Scope) -> Iterator[tuple[int, int]]:
    yield from _scrub(scope, count=copies.count_items, scrub=copies.scrub_items)
    others = copies.items_of_no_row(before=scope.before, workspace=scope.workspace)
    for count in copies.scrub(others) if scope.apply else (others.count(),):
        yield count, 0


def _scrub_history(scope: _Scope) -> Iterator[tuple[int, int]]:
    for count in history.scrub(before=scope.before, workspace=scope.workspace, apply=scope.apply):
        yield count, 0


def _remove_tombstones(scope: _Scope) -> Iterator[tuple[int, int]]:
    references = References()
    for rows in _tombstones(scope):
        if scope.apply:
            count = tombstones.remove(rows, before=scope.before, references=references)
            yield count, _still_there(all_rows(), [row.pk for row in rows])
        else:
            count = len(tombstones.unused(rows, references=references))
            yield count, len(rows) - count


def _tombstones(scope: _Scope) -> Iterator[_Rows]:
    return tombstones.batches(before=scope.before, workspace=scope.workspace)


def _delete_runs(scope: _Scope) -> Iterator[tuple[int, int]]:
    old = all_runs().filter(finished_at__lt=scope.before)
    aliases = (
        [scope.workspace] if scope.workspace else list(old.order_by().values_list("workspace", flat=True).distinct())
    )
    for alias in aliases:
        unneeded = runs.unneeded(alias).filter(finished_at__lt=scope.before)
        yield 0, old.filter(workspace=alias).count() - unneeded.count()
        yield from _delete(unneeded, scope)


def _delete_operations(scope: _Scope) -> Iterator[tuple[int, int]]:
    """Of one workspace: those that are about no other."""
    old = all_operations().filter(finished_at__lt=scope.before)
    if scope.workspace is not None:
        items = all_items().filter(operation=OuterRef("pk"))
        theirs = Exists(items.filter(workspace=scope.workspace))
        old = old.filter(theirs, ~Exists(items.exclude(workspace=scope.workspace)))
    yield from _delete(old, scope, at_once=OPERATIONS_AT_ONCE)


def _delete_rejected(scope: _Scope) -> Iterator[tuple[int, int]]:
    old = all_payloads().filter(resolved_at__lt=scope.before)
    yield from _delete(old if scope.workspace is None else old.filter(workspace=scope.workspace), scope)


def _still_there(rows: QuerySet[Any], keys: Sequence[int]) -> int:
    """Another process may have deleted some, too."""
    return rows.filter(pk__in=keys).count()


def _delete(old: QuerySet[Any], scope: _Scope, *, at_once: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Those of them that the project's own models let go."""
    if not scope.apply:
        yield old.count(), 0
        return

    keys = old.order_by("pk").values_list("pk", flat=True)
    chunk = list(keys[:at_once])
    while chunk:
        yield delete_unless_refused(old, chunk), _still_there(old, chunk)
        chunk = list(keys.filter(pk__gt=chunk[-1])[:at_once])

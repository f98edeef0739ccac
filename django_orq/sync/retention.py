"""Which finished sync runs are kept, and which pruned."""

from django.db import DatabaseError
from django.db.models import Q, QuerySet

from .. import logs
from ..models import SyncRun
from ..store.database import all_runs
from ..store.deletion import delete_unless_refused
from .holds import awaiting_a_word
from .runs import SETTLED, freshness

Mode, State = SyncRun.Mode, SyncRun.State
KEPT = 500
"""Finished runs of a workspace that are kept."""
KEPT_UNCHANGED = 100
"""Of those that changed nothing."""
PRUNED_AT_ONCE = 50
"""The newest of the others; older ones may be there because something refuses to let them go."""


def prune(workspace: str, *, ended_run: int) -> None:
    """Delete old finished runs, those that changed nothing first; none that others need, or a person may let go.

    A database that can't is logged: the run has ended all the same, and the next one's end tries again.
    """
    try:
        _prune(workspace, ended_run)
    except DatabaseError:
        logs.log(logs.PRUNING_FAILED, kind="sync_runs", exc_info=True)


def _prune(workspace: str, ended_run: int) -> None:
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    unchanged = Q(state=State.SUCCEEDED, created=0, updated=0, restored=0, missing=0, unlisted=0, tombstoned=0)
    for some, count in ((unchanged, KEPT_UNCHANGED), (Q(), KEPT)):
        oldest_kept = finished.filter(some).values_list("pk", flat=True)[count - 1 : count].first()
        if oldest_kept is not None:
            old = unneeded(workspace).filter(some, pk__lt=oldest_kept).exclude(pk=ended_run)
            delete_unless_refused(old, list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]))


def unneeded(workspace: str) -> QuerySet[SyncRun]:
    """Finished ones, but for those that a person may let go, that are being continued, or are the newest complete.

    One that continues another stays as long as that: it tells that a person has let it go on.
    """
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    kinds = (*(Q(mode=mode) for mode in Mode.values), SETTLED)
    newest = {pk for kind in kinds for pk in finished.filter(kind, is_complete=True).values_list("pk", flat=True)[:1]}
    continued = all_runs().exclude(slot=None).exclude(continues=None).values("continues")
    awaiting = awaiting_a_word(workspace, since=freshness(workspace))
    return (
        finished.filter(~Q(pk__in=continued), continues=None)
        .exclude(pk__in=newest)
        .exclude(pk__in=awaiting.values("pk"))
    )

"""Runs that wait for a person's word, since guard, canary or workspace proof held them, and what follows it."""

from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from .. import logs
from ..conf import get_workspace
from ..exceptions import WorkspaceDoubted
from ..models import SyncRun
from ..store.database import all_runs
from .runs import Freshness, resume, slot_of

Mode, State = SyncRun.Mode, SyncRun.State


def can_go_on(run: SyncRun) -> bool:
    """Whether a person can let this run go: it is paused, or the guard, the canary or the workspace proof held it."""
    return run.state == State.PAUSED or (is_held(run) and not _is_settled(run))


def is_held(run: SyncRun) -> bool:
    """Whether the guard, the canary or the workspace proof held this run: letting it go on is a decision."""
    doubted = run.state == State.FAILED and run.error_code == WorkspaceDoubted.code
    return doubted or (run.state == State.PARTIAL and bool(run.hold))


def rests(run: SyncRun) -> bool:
    """Whether it goes on as soon as somebody asks for it."""
    return run.state == State.PAUSED or (run.state == State.WAITING and run.wait == SyncRun.Wait.BUDGET)


def go_on(run: SyncRun) -> SyncRun:
    """Let a paused or held run go, and return the run to work on. ``ValueError`` if there is nothing to let go.

    A person's word: a held confirmation goes on without the guard, limited to what was missing when the run ended; a
    run that doubted its workspace goes on as a full run that does not. An unfinished run is simply worked on.
    ``ImproperlyConfigured`` if its workspace is no longer configured.
    """
    get_workspace(run.workspace)
    if rests(run):
        return resume(run)
    if not run.is_finished:
        return run
    following = newest_continuation(run)
    if following is not None and not following.is_finished:
        return go_on(following)
    if following is not None and _is_settled(run):
        text = _("sync run {run} is continued by run {following} already")
        raise ValueError(format_lazy(text, run=run.pk, following=following.pk))
    if not is_held(run):
        text = _("sync run {run} is {state}: there is nothing to let go on")
        raise ValueError(format_lazy(text, run=run.pk, state=State(run.state).label))
    return _continue(run)


def held_until(run: SyncRun) -> datetime:
    """Up to when a row must have been missing for a confirm run to take it: the end of the run that was held first."""
    held = _continued(run)
    while held is not None and held.mode == Mode.CONFIRM and held.continues_id is not None:
        held = _continued(held)
    return held.finished_at if held is not None and held.finished_at else run.queued_at


def disputed_until(workspace: str) -> datetime | None:
    """Rows missing since before then wait for a person: the run that missed them was vouched for, and was held."""
    held = all_runs().filter(workspace=workspace, is_vouched=True).exclude(hold="").exclude(finished_at=None)
    return held.filter(continued_by=None).order_by("-finished_at").values_list("finished_at", flat=True).first()


def newest_continuation(run: SyncRun) -> SyncRun | None:
    """The run that continues it, if it was let go on."""
    return _continuations(run).order_by("-pk").first()


def newest_held(workspace: str, *, since: Freshness) -> SyncRun | None:
    """The newest run that waits for a person's word, unless what ``since`` tells of has settled it."""
    return awaiting_a_word(workspace, since=since).order_by("-pk").first()


def awaiting_a_word(workspace: str, *, since: Freshness) -> QuerySet[SyncRun]:
    held = Q(state=State.PARTIAL) & ~Q(hold="")
    doubted = Q(state=State.FAILED, error_code=WorkspaceDoubted.code)
    if since.everything is not None:
        held &= Q(started_at__gte=since.everything)
    if since.new is not None:
        doubted &= Q(started_at__gte=since.new)
    continued = all_runs().filter(continues=OuterRef("pk")).exclude(state__in=(State.FAILED, State.CANCELLED))
    return all_runs().filter(held | doubted, ~Exists(continued), workspace=workspace)


def _continue(run: SyncRun) -> SyncRun:
    doubted = run.state == State.FAILED
    mode = Mode.FULL if doubted else Mode.CONFIRM
    following, created = all_runs().get_or_create(
        slot=slot_of(run.workspace, mode),
        defaults={
            "workspace": run.workspace,
            "mode": mode,
            "phase": SyncRun.Phase.WALK if doubted else SyncRun.Phase.CONFIRM,
            "continues_id": run.pk,
            "is_vouched": doubted,
        },
    )
    if not created:
        text = _("sync run {run} is unfinished (orq_sync --go-on {run}); it comes first")
        raise ValueError(format_lazy(text, run=following.pk))
    logs.log(logs.SYNC_RUN_QUEUED, run=following.pk, workspace=following.workspace, mode=following.mode)
    return following


def _continued(run: SyncRun) -> SyncRun | None:
    return None if run.continues_id is None else all_runs().filter(pk=run.continues_id).first()


def _continuations(run: SyncRun) -> QuerySet[SyncRun]:
    return all_runs().filter(continues=run.pk)


def _is_settled(run: SyncRun) -> bool:
    """Whether a run that continues it came to its end, or is on the way."""
    return _continuations(run).exclude(state__in=(State.FAILED, State.CANCELLED)).exists()

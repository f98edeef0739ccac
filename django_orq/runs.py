"""Sync runs as people and schedules handle them: opened, paused, cancelled, let go on; how fresh the mirror is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from . import events, tickets
from .clock import DatabaseClock
from .conf import get_workspace
from .deletion import delete_unless_refused
from .exceptions import WorkspaceDoubted
from .leases import unclaimed
from .models import SyncRun
from .primary import all_runs, write_database
from .signals import sync_run_finished
from .wording import number_lazy

__all__ = ["Freshness", "freshness", "newest_finished", "under_way"]

Mode, State = SyncRun.Mode, SyncRun.State
UNFINISHED = (State.QUEUED, State.RUNNING, State.WAITING, State.PAUSED)
MOST_PAGES = 1_000_000_000
LONGEST_BUDGET = 30 * 86_400
"""Seconds."""
KEPT = 500
"""Finished runs of a workspace that are kept."""
KEPT_UNCHANGED = 100
"""Of those that changed nothing."""
PRUNED_AT_ONCE = 50
"""The newest of the others; older ones may be there because something refuses to let them go."""


_SETTLED = Q(mode=Mode.FULL, state__in=(State.SUCCEEDED, State.PARTIAL), hold="")
"""Runs that found out what became of all that their walk had missed."""
_NEWEST = {"new": Max("started_at"), "everything": Max("started_at", filter=_SETTLED)}


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """When the newest complete runs began; ``None`` if there was none."""

    new: datetime | None
    """From then on back, every conversation that existed is mirrored."""
    everything: datetime | None
    """Renames and deletions up to then are mirrored."""


def check_mode(mode: str) -> SyncRun.Mode:
    """The mode of that name; ``ValueError`` says which a person may ask for."""
    if mode not in (Mode.INCREMENTAL, Mode.FULL):
        raise ValueError(format_lazy(_("mode must be 'incremental' or 'full', not {mode!r}"), mode=mode))
    return Mode(mode)


def open_run(workspace: str, mode: str, *, max_pages: int | None = None, max_seconds: float | None = None) -> SyncRun:
    """The unfinished run of that workspace and mode, a new one if there is none.

    ``max_pages`` and ``max_seconds`` are the budget of this call: when it is spent, the run waits for the next one.
    ``ValueError`` if there is no such mode, or no sense in the budget.
    """
    get_workspace(workspace)
    mode = check_mode(mode)
    check_budget(max_pages, max_seconds)
    run, created = all_runs().get_or_create(
        slot=_slot(workspace, mode), defaults={"workspace": workspace, "mode": mode}
    )
    if created:
        events.SYNC_RUN_QUEUED.log(run=run.pk, workspace=workspace, mode=mode.value)
    elif run.state == State.PAUSED:
        events.SYNC_RUN_LEFT_PAUSED.log(run=run.pk, workspace=workspace, mode=mode.value)
        return run
    _set_budget(run, max_pages, max_seconds)
    return run


def unfinished(workspace: str, mode: str) -> SyncRun | None:
    return all_runs().filter(slot=_slot(workspace, check_mode(mode))).first()


def resume(run: SyncRun, *, max_pages: int | None = None, max_seconds: float | None = None) -> SyncRun:
    """Let a paused run go on from where it was, with the budget of this call; old troubles are forgotten."""
    all_runs().filter(pk=run.pk, state=State.PAUSED).update(
        state=State.QUEUED,
        failures=0,
        malformed=0,
        trouble_since=None,
        error_code="",
        error_params={},
        ticket="",
        enqueued_at=None,
    )
    _set_budget(run, max_pages, max_seconds)
    return run


def pause(run: SyncRun) -> bool:
    """Stop an unfinished run where it is; ``False`` if it is not running."""
    paused = all_runs().filter(pk=run.pk, state__in=UNFINISHED).exclude(state=State.PAUSED)
    if not paused.update(state=State.PAUSED, token="", lease_until=None, resume_at=None, wait=""):
        return False
    events.SYNC_RUN_PAUSED.log(run=run.pk, workspace=run.workspace, mode=run.mode)
    return True


def cancel(run: SyncRun) -> bool:
    """End an unfinished run for good; ``False`` if it has ended already."""
    if not end(run.pk, state=State.CANCELLED, now=DatabaseClock(write_database()).now()):
        return False
    events.SYNC_RUN_CANCELLED.log(run=run.pk, workspace=run.workspace, mode=run.mode)
    return True


def end(run_id: int, *, state: SyncRun.State, now: datetime, token: str | None = None, **values: object) -> bool:
    """Write the end of an unfinished run, if it is still ``token``'s, and what follows; tell receivers."""
    using = write_database()
    ours = all_runs().filter(pk=run_id, state__in=UNFINISHED)
    if token is not None:
        ours = ours.filter(token=token)
    free = {"slot": None, "token": "", "lease_until": None, "resume_at": None}
    with transaction.atomic(using=using):
        if not ours.update(state=state, finished_at=now, **free, **values):
            return False
        if all_runs().filter(pk=run_id, is_complete=False).exists():
            all_runs().filter(rests_on=run_id).update(is_complete=False)
        transaction.on_commit(lambda: _tell(run_id), using=using)
    return True


def _tell(run_id: int) -> None:
    if sync_run_finished.has_listeners(SyncRun):
        sync_run_finished.send_robust(SyncRun, run=all_runs().get(pk=run_id))


def can_go_on(run: SyncRun) -> bool:
    """Whether a person can let this run go: it is paused, or the guard, the canary or the workspace proof held it."""
    return run.state == State.PAUSED or (is_held(run) and not _is_settled(run))


def is_held(run: SyncRun) -> bool:
    """Whether the guard, the canary or the workspace proof held this run: letting it go on is a decision."""
    doubted = run.state == State.FAILED and run.error_code == WorkspaceDoubted.code
    return doubted or (run.state == State.PARTIAL and bool(run.hold))


def go_on(run: SyncRun) -> SyncRun:
    """Let a paused or held run go, and return the run to work on. ``ValueError`` if there is nothing to let go.

    A person's word: a held confirmation goes on without the guard, limited to what was missing when the run ended; a
    run that doubted its workspace goes on as a full run that does not. An unfinished run is simply worked on.
    """
    if run.state == State.PAUSED:
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


def _continued(run: SyncRun) -> SyncRun | None:
    return None if run.continues_id is None else all_runs().filter(pk=run.continues_id).first()


def _continuations(run: SyncRun) -> QuerySet[SyncRun]:
    return all_runs().filter(continues=run.pk)


def _is_settled(run: SyncRun) -> bool:
    """Whether a run that continues it came to its end, or is on the way."""
    return _continuations(run).exclude(state__in=(State.FAILED, State.CANCELLED)).exists()


def _continue(run: SyncRun) -> SyncRun:
    doubted = run.state == State.FAILED
    mode = Mode.FULL if doubted else Mode.CONFIRM
    following, created = all_runs().get_or_create(
        slot=_slot(run.workspace, mode),
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
    events.SYNC_RUN_QUEUED.log(run=following.pk, workspace=following.workspace, mode=following.mode)
    return following


def adoptable(workspace: str) -> list[SyncRun]:
    """Unfinished runs that nobody works on, that nothing keeps from it, and that no fresh message is under way for."""
    now = DatabaseClock(write_database()).now()
    idle = tickets.idle(now, patience=timedelta(seconds=get_workspace(workspace).lease_seconds))
    runs = all_runs().filter(idle, workspace=workspace, state__in=UNFINISHED).order_by("pk")
    return list(runs.exclude(state=State.PAUSED).exclude(state=State.WAITING, wait=SyncRun.Wait.BUDGET))


def freshness(workspace: str) -> Freshness:
    return Freshness(**_all_complete(workspace).aggregate(**_NEWEST))


def freshness_and(workspace: str, other: Subquery) -> tuple[Freshness, Any]:
    """The freshness, and in the same statement the value of another question to the same database."""
    nothing = Max(Value(None, output_field=other.output_field))
    as_aggregate = Coalesce(nothing, other)  # Django wants one
    found = _all_complete(workspace).aggregate(**_NEWEST, other=as_aggregate)
    value = found.pop("other")
    return Freshness(**found), value


def _all_complete(workspace: str) -> QuerySet[SyncRun]:
    return all_runs().filter(workspace=workspace, is_complete=True)


def newest_finished(workspace: str, mode: str | None = None) -> SyncRun | None:
    """The run that ended last, of that mode or of any."""
    ended = all_runs().filter(workspace=workspace).exclude(finished_at=None)
    return (ended if mode is None else ended.filter(mode=mode)).order_by("-finished_at", "-pk").first()


def newest_held(workspace: str, *, since: Freshness) -> SyncRun | None:
    """The newest run that waits for a person's word, unless what ``since`` tells of has settled it."""
    return _awaiting_a_word(workspace, since=since).order_by("-pk").first()


def _awaiting_a_word(workspace: str, *, since: Freshness) -> QuerySet[SyncRun]:
    held = Q(state=State.PARTIAL) & ~Q(hold="")
    doubted = Q(state=State.FAILED, error_code=WorkspaceDoubted.code)
    if since.everything is not None:
        held &= Q(started_at__gte=since.everything)
    if since.new is not None:
        doubted &= Q(started_at__gte=since.new)
    continued = all_runs().filter(continues=OuterRef("pk")).exclude(state__in=(State.FAILED, State.CANCELLED))
    return all_runs().filter(held | doubted, ~Exists(continued), workspace=workspace)


def under_way(workspace: str) -> list[SyncRun]:
    """Unfinished runs, paused ones included."""
    return list(all_runs().filter(workspace=workspace).exclude(slot=None).order_by("pk"))


def set_stop(run: SyncRun) -> None:
    """Decide where an incremental run may stop: at the newest id of the newest complete run.

    While there is none, at that of the unfinished first full run: then it rests on that one.
    """
    complete = all_runs().filter(workspace=run.workspace, is_complete=True).order_by("-started_at", "-pk").first()
    base = complete or all_runs().filter(slot=_slot(run.workspace, Mode.FULL)).first()
    if base is None or base.head_id is None:
        return
    run.stop_id = base.head_id
    run.rests_on = base.rests_on if complete else base
    all_runs().filter(pk=run.pk, token=run.token).update(stop_id=run.stop_id, rests_on=run.rests_on)


def prune(workspace: str, *, ended_run: int) -> None:
    """Delete old finished runs, those that changed nothing first; none that others need, or a person may let go."""
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    unchanged = Q(state=State.SUCCEEDED, created=0, updated=0, restored=0, missing=0, unlisted=0, tombstoned=0)
    for some, count in ((unchanged, KEPT_UNCHANGED), (Q(), KEPT)):
        oldest_kept = finished.filter(some).values_list("pk", flat=True)[count - 1 : count].first()
        if oldest_kept is not None:
            old = unneeded(workspace).filter(some, pk__lt=oldest_kept).exclude(pk=ended_run)
            delete_unless_refused(old, list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]))


def unneeded(workspace: str) -> QuerySet[SyncRun]:
    """Finished ones, but for those that a person may let go, that are being continued, or are the newest complete."""
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    kinds = (*(Q(mode=mode) for mode in Mode.values), _SETTLED)
    newest = {pk for kind in kinds for pk in finished.filter(kind, is_complete=True).values_list("pk", flat=True)[:1]}
    continued = all_runs().exclude(slot=None).exclude(continues=None).values("continues")
    awaiting = _awaiting_a_word(workspace, since=freshness(workspace))
    return finished.filter(~Q(pk__in=continued)).exclude(pk__in=newest).exclude(pk__in=awaiting.values("pk"))


def check_budget(max_pages: int | None, max_seconds: float | None) -> None:
    """``ValueError`` if there is no sense in a budget."""
    if max_pages is not None and not (_is_a(int, max_pages) and 1 <= max_pages <= MOST_PAGES):
        text = _("max_pages must be a whole number from 1 to {most}")
        raise ValueError(format_lazy(text, most=number_lazy(MOST_PAGES)))
    if max_seconds is not None and not (_is_a((int, float), max_seconds) and 0 < max_seconds <= LONGEST_BUDGET):
        text = _("max_seconds must be a number above 0 and at most {most}")
        raise ValueError(format_lazy(text, most=number_lazy(LONGEST_BUDGET)))


def _is_a(kinds: type | tuple[type, ...], given: object) -> bool:
    """As a task's arguments may be anything; ``True`` is no number."""
    return isinstance(given, kinds) and not isinstance(given, bool)


def _set_budget(run: SyncRun, max_pages: int | None, max_seconds: float | None) -> None:
    """Unless somebody walks the run right now under the budget of an earlier call."""
    now = DatabaseClock(write_database()).now()
    values = {
        "budget_pages": None if max_pages is None else run.pages + max_pages,
        "budget_until": None if max_seconds is None else now + timedelta(seconds=max_seconds),
    }
    all_runs().filter(unclaimed(now), pk=run.pk).update(**values)
    spent = all_runs().filter(pk=run.pk, state=State.WAITING, wait=SyncRun.Wait.BUDGET)
    spent.update(state=State.QUEUED, wait="", **values)
    run.refresh_from_db(using=write_database())


def _slot(workspace: str, mode: str) -> str:
    return f"{workspace}:{mode}"

"""Sync runs as people and schedules handle them: opened, resumed, paused, cancelled; how fresh the mirror is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from .. import logs
from ..conf import get_workspace, is_number, is_whole
from ..models import SyncRun
from ..signals import sync_run_finished
from ..store import leases
from ..store.database import DatabaseClock, all_runs, write_database
from ..store.leases import unclaimed
from ..text import number_lazy

Mode, State = SyncRun.Mode, SyncRun.State
UNFINISHED = (State.QUEUED, State.RUNNING, State.WAITING, State.PAUSED)
MOST_PAGES = 1_000_000_000
LONGEST_BUDGET = 30 * 86_400
"""Seconds."""
SETTLED = Q(mode=Mode.FULL, state__in=(State.SUCCEEDED, State.PARTIAL), hold="")
"""Runs that found out what became of all that their walk had missed."""
_NEWEST = {"new": Max("started_at"), "everything": Max("started_at", filter=SETTLED)}


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
    ``ValueError`` if there is no such mode, or no sense in the budget; ``ImproperlyConfigured`` if there is no such
    workspace.
    """
    get_workspace(workspace)
    mode = check_mode(mode)
    check_budget(max_pages, max_seconds)
    run, created = all_runs().get_or_create(
        slot=slot_of(workspace, mode), defaults={"workspace": workspace, "mode": mode}
    )
    if created:
        logs.log(logs.SYNC_RUN_QUEUED, run=run.pk, workspace=workspace, mode=mode.value)
    elif run.state == State.PAUSED:
        logs.log(logs.SYNC_RUN_LEFT_PAUSED, run=run.pk, workspace=workspace, mode=mode.value)
        return run
    _set_budget(run, max_pages, max_seconds)
    return run


def unfinished(workspace: str, mode: str) -> SyncRun | None:
    return all_runs().filter(slot=slot_of(workspace, check_mode(mode))).first()


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
    logs.log(logs.SYNC_RUN_PAUSED, run=run.pk, workspace=run.workspace, mode=run.mode)
    return True


def cancel(run: SyncRun) -> bool:
    """End an unfinished run for good; ``False`` if it has ended already."""
    if not end(run.pk, state=State.CANCELLED, now=DatabaseClock(write_database()).now()):
        return False
    logs.log(logs.SYNC_RUN_CANCELLED, run=run.pk, workspace=run.workspace, mode=run.mode)
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


def adoptable(workspace: str) -> list[SyncRun]:
    """Unfinished runs that nobody works on, that nothing keeps from it, and that no fresh message is under way for."""
    now = DatabaseClock(write_database()).now()
    idle = leases.idle(now, patience=timedelta(seconds=get_workspace(workspace).lease_seconds))
    runs = all_runs().filter(idle, workspace=workspace, state__in=UNFINISHED).order_by("pk")
    return list(runs.exclude(state=State.PAUSED).exclude(state=State.WAITING, wait=SyncRun.Wait.BUDGET))


def freshness(workspace: str) -> Freshness:
    """How fresh the mirror of that workspace is, known here or not."""
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


def under_way(workspace: str) -> list[SyncRun]:
    """Unfinished runs, paused ones included."""
    return list(all_runs().filter(workspace=workspace).exclude(slot=None).order_by("pk"))


def set_stop(run: SyncRun) -> None:
    """Decide where an incremental run may stop: at the newest id of the newest complete run.

    While there is none, at that of the unfinished first full run: then it rests on that one.
    """
    complete = all_runs().filter(workspace=run.workspace, is_complete=True).order_by("-started_at", "-pk").first()
    base = complete or all_runs().filter(slot=slot_of(run.workspace, Mode.FULL)).first()
    if base is None or base.head_id is None:
        return
    run.stop_id = base.head_id
    run.rests_on = base.rests_on if complete else base
    all_runs().filter(pk=run.pk, token=run.token).update(stop_id=run.stop_id, rests_on=run.rests_on)


def check_budget(max_pages: int | None, max_seconds: float | None) -> None:
    """``ValueError`` if there is no sense in a budget; a task's arguments may be anything."""
    if max_pages is not None and not (is_whole(max_pages) and 1 <= max_pages <= MOST_PAGES):
        text = _("max_pages must be a whole number from 1 to {most}")
        raise ValueError(format_lazy(text, most=number_lazy(MOST_PAGES)))
    if max_seconds is not None and not (is_number(max_seconds) and 0 < max_seconds <= LONGEST_BUDGET):
        text = _("max_seconds must be a number above 0 and at most {most}")
        raise ValueError(format_lazy(text, most=number_lazy(LONGEST_BUDGET)))


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


def slot_of(workspace: str, mode: str) -> str:
    """What only one unfinished run can have."""
    return f"{workspace}:{mode}"

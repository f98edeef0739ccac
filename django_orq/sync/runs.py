"""The states of sync runs, as people and schedules change them, and how fresh the mirror is.

Opened, paused, resumed, approved, cancelled and pruned. When a run ends, waits or fails, ``slices`` decides.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Max, Q, QuerySet
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from .. import logs
from ..conf import get_workspace, is_number
from ..models import SyncRun
from ..signals import sync_run_finished
from ..store import leases
from ..store.database import DatabaseClock, all_runs, write_database
from ..store.deletion import delete_unless_refused
from ..store.leases import unclaimed
from ..text import number_lazy

Mode, State, Approval = SyncRun.Mode, SyncRun.State, SyncRun.Approval
UNFINISHED = (State.QUEUED, State.RUNNING, State.WAITING, State.PAUSED)
MAX_BUDGET = 30 * 86_400
"""Seconds."""
KEPT = 500
"""Finished runs of a workspace that are kept."""
KEPT_UNCHANGED = 100
"""Of those that changed nothing."""
PRUNED_AT_ONCE = 50
"""The newest of the others; older ones may be there because something refuses to let them go."""
FULLY_CONFIRMED = Q(mode=Mode.FULL, state__in=(State.SUCCEEDED, State.PARTIAL), needs_approval="")
"""Runs that found out what became of all that their walk had missed."""
_NEWEST = {"last_incremental": Max("started_at"), "last_full": Max("started_at", filter=FULLY_CONFIRMED)}
_RESET: dict[str, Any] = {
    "state": State.QUEUED,
    "failures": 0,
    "malformed": 0,
    "trouble_since": None,
    "error_code": "",
    "error_params": {},
    "ticket": "",
    "enqueued_at": None,
    "budget_until": None,
}
"""The columns of a run that goes on after a person's word: old troubles are forgotten."""
_COUNTERS = (
    *("pages", "seen", "created", "updated", "unchanged", "restored", "skipped", "outdated", "rejected"),
    *("missing", "unlisted", "tombstoned"),
)
_RESTART: dict[str, Any] = {
    **dict.fromkeys(_COUNTERS, 0),
    **dict.fromkeys(("cursor", "head_id", "stop_id", "started_at"), None),
    "reached_end": False,
    "out_of_place": [],
}
"""The columns of a run that begins its walk anew."""


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """When the newest complete runs began; ``None`` if there was none."""

    last_incremental: datetime | None
    """From then on back, every conversation that existed is mirrored."""
    last_full: datetime | None
    """Renames and deletions up to then are mirrored."""


def check_mode(mode: str) -> SyncRun.Mode:
    """The mode of that name; ``ValueError`` says which there are."""
    if mode not in Mode.values:
        raise ValueError(format_lazy(_("mode must be 'incremental' or 'full', not {mode!r}"), mode=mode))
    return Mode(mode)


def check_budget(max_seconds: float | None) -> None:
    """``ValueError`` if there is no sense in a budget; a task's arguments may be anything."""
    if max_seconds is not None and not (is_number(max_seconds) and 0 < max_seconds <= MAX_BUDGET):
        text = _("max_seconds must be a number above 0 and at most {most}")
        raise ValueError(format_lazy(text, most=number_lazy(MAX_BUDGET)))


def open_run(workspace: str, mode: str, *, max_seconds: float | None = None) -> SyncRun:
    """The unfinished run of that workspace and mode, a new one if there is none.

    ``max_seconds`` is the budget of this call: when it is spent, the run waits for the next one. ``ValueError`` if
    there is no such mode, or no sense in the budget; ``ImproperlyConfigured`` if there is no such workspace.
    """
    get_workspace(workspace)
    mode = check_mode(mode)
    check_budget(max_seconds)
    defaults = {"workspace": workspace, "mode": mode}
    run, created = all_runs().get_or_create(slot=_slot_of(workspace, mode), defaults=defaults)
    if created:
        logs.log(logs.SYNC_RUN_QUEUED, run=run.pk, workspace=workspace, mode=mode.value)
    elif run.state == State.PAUSED:
        logs.log(logs.SYNC_RUN_LEFT_PAUSED, run=run.pk, workspace=workspace, mode=mode.value)
        return run
    _set_budget(run, max_seconds)
    return run


def unfinished(workspace: str, mode: str) -> SyncRun | None:
    return all_runs().filter(slot=_slot_of(workspace, check_mode(mode))).first()


def can_be_resumed(run: SyncRun) -> bool:
    """Whether it goes on as soon as somebody asks for it: it is paused, or its budget is spent."""
    return run.state == State.PAUSED or (run.state == State.WAITING and run.wait == SyncRun.Wait.BUDGET)


def resume(run: SyncRun, *, max_seconds: float | None = None) -> SyncRun:
    """Let a paused run go on from where it was, with the budget of this call.

    ``ImproperlyConfigured`` if its workspace is no longer configured.
    """
    get_workspace(run.workspace)
    all_runs().filter(pk=run.pk, state=State.PAUSED).update(**_RESET)
    _set_budget(run, max_seconds)
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


def approve(run: SyncRun, *, reason: str, by: str) -> SyncRun | None:
    """Reopen a run that was stopped for review, and return it; ``None`` if it is not stopped for that reason now.

    The approval of a stopped confirmation waives the guard and the lack of a canary for the rows that were missing
    when the walk ended. Newer runs that doubt their workspace repeat one doubt, so the newest of them is reopened: it
    starts at the head and does not doubt. ``ValueError`` if a later run has settled it, or another run of that mode is
    unfinished; ``ImproperlyConfigured`` if the workspace is no longer configured. Of ``by``, 255 characters are kept.
    """
    get_workspace(run.workspace)
    stopped = all_runs().filter(workspace=run.workspace, needs_approval=reason, slot=None).order_by("-pk")
    if not reason or (known := stopped.filter(pk=run.pk).first()) is None:
        return None
    if later := _superseding(known):
        text = _("Sync run {run} is superseded: the later run {later} is complete.")
        raise ValueError(format_lazy(text, run=run.pk, later=later.pk))
    newest = stopped.first() if reason == Approval.WORKSPACE else known
    return newest and _reopen(newest, reason, by[:255].encode(errors="replace").decode())  # what can be stored


def _reopen(run: SyncRun, reason: str, by: str) -> SyncRun | None:
    doubted = reason == Approval.WORKSPACE
    entry = {
        "reason": reason,
        "by": by,
        "at": DatabaseClock(write_database()).now().isoformat(),
        "to_approve": run.to_approve,
    }
    anew = _RESET | (_RESTART if doubted else {})
    stopped = all_runs().filter(needs_approval=reason, slot=None)
    try:
        with transaction.atomic(using=write_database()):
            if not stopped.filter(pk=run.pk).update(
                slot=_slot_of(run.workspace, run.mode), finished_at=None, needs_approval="", to_approve=0, **anew
            ):
                return None
            run.refresh_from_db(using=write_database())  # locked by now, so no approval is lost
            run.approvals = [*run.approvals, entry]
            run.save(using=write_database(), update_fields=["approvals"])
            if doubted:
                stopped.filter(workspace=run.workspace).update(needs_approval="")
    except IntegrityError:
        other = unfinished(run.workspace, run.mode)
        text = _("Sync run {other} of that mode is unfinished. Wait for its end or cancel it, then approve again.")
        raise ValueError(format_lazy(text, other=other.pk if other else "?")) from None
    logs.log(logs.SYNC_RUN_APPROVED, run=run.pk, workspace=run.workspace, mode=run.mode, reason=reason)
    return run


def _superseding(run: SyncRun) -> SyncRun | None:
    """The later run that settled what this one was stopped for."""
    later = _all_complete(run.workspace).filter(started_at__gt=run.started_at)
    return (
        (later if run.needs_approval == Approval.WORKSPACE else later.filter(FULLY_CONFIRMED)).order_by("-pk").first()
    )


def awaiting_approval(workspace: str) -> QuerySet[SyncRun]:
    """Runs that were stopped for review, the newest first, but for those that later ones have settled."""
    fresh = freshness(workspace)
    doubted = Q(needs_approval=Approval.WORKSPACE)
    awaiting = Q(slot=None) & ~Q(needs_approval="")
    if fresh.last_full is not None:
        awaiting &= doubted | Q(started_at__gte=fresh.last_full)
    if fresh.last_incremental is not None:
        awaiting &= ~doubted | Q(started_at__gte=fresh.last_incremental)
    return all_runs().filter(awaiting, workspace=workspace).order_by("-pk")


def can_be_approved(run: SyncRun) -> bool:
    return bool(run.needs_approval) and awaiting_approval(run.workspace).filter(pk=run.pk).exists()


def approved_doubts(workspace: str) -> list[int]:
    """Keys of the runs whose doubt of the workspace a person approved, until a later full run has settled all.

    While there are any, whatever is missing may be another workspace's, and each deletion is for a person to decide.
    """
    settled = freshness(workspace).last_full
    later = Q() if settled is None else Q(started_at__gt=settled)
    approved = all_runs().filter(later, workspace=workspace).exclude(approvals=[])
    return [run.pk for run in approved if run.is_approved(Approval.WORKSPACE)]


def end(run_id: int, *, state: SyncRun.State, now: datetime, token: str | None = None, **values: object) -> bool:
    """Write the end of an unfinished run, if it is still ``token``'s; tell receivers."""
    using = write_database()
    ours = all_runs().filter(pk=run_id, state__in=UNFINISHED)
    if token is not None:
        ours = ours.filter(token=token)
    free = {"slot": None, "token": "", "lease_until": None, "resume_at": None}
    with transaction.atomic(using=using):
        if not ours.update(state=state, finished_at=now, **free, **values):
            return False
        transaction.on_commit(lambda: _notify(run_id), using=using)
    return True


def _notify(run_id: int) -> None:
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

    While there is none, at that of the unfinished first full run: then it is complete only with that one.
    """
    complete = _all_complete(run.workspace).order_by("-started_at", "-pk").first()
    base = complete or unfinished(run.workspace, Mode.FULL)
    if base is not None and base.head_id is not None:
        run.stop_id = base.head_id
        all_runs().filter(pk=run.pk, token=run.token).update(stop_id=run.stop_id)


def is_known_below_stop(run: SyncRun) -> bool:
    """Whether a complete run looked at all that an incremental one left out."""
    return run.stop_id is None or _all_complete(run.workspace).filter(head_id=run.stop_id).exists()


def complete_incrementals(full: SyncRun) -> None:
    """Those that stopped at the head of this run are complete now that its walk is."""
    stopped = all_runs().filter(workspace=full.workspace, mode=Mode.INCREMENTAL, stop_id=full.head_id)
    stopped.filter(state__in=(State.SUCCEEDED, State.PARTIAL), ended_early=False).update(is_complete=True)


def prune(workspace: str, *, ended_run: int) -> None:
    """Delete old finished runs, those that changed nothing first; none that others need, or a person may approve.

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
    """Finished runs, but for those that a person may approve, the newest complete ones, and ``approved_doubts``."""
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    kinds = (*(Q(mode=mode) for mode in Mode.values), FULLY_CONFIRMED)
    needed = {pk for kind in kinds for pk in finished.filter(kind, is_complete=True).values_list("pk", flat=True)[:1]}
    needed.update(approved_doubts(workspace))
    return finished.exclude(pk__in=needed).exclude(pk__in=awaiting_approval(workspace).values("pk"))


def _set_budget(run: SyncRun, max_seconds: float | None) -> None:
    """Unless somebody walks the run right now under the budget of an earlier call."""
    now = DatabaseClock(write_database()).now()
    until = None if max_seconds is None else now + timedelta(seconds=max_seconds)
    all_runs().filter(unclaimed(now), pk=run.pk).update(budget_until=until)
    spent = all_runs().filter(pk=run.pk, state=State.WAITING, wait=SyncRun.Wait.BUDGET)
    spent.update(state=State.QUEUED, wait="", budget_until=until)
    run.refresh_from_db(using=write_database())


def _slot_of(workspace: str, mode: str) -> str:
    """What only one unfinished run can have."""
    return f"{workspace}:{mode}"

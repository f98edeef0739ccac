"""Changes the states of sync runs for users and schedules, and reads how fresh the mirror is.

Runs are opened, paused, resumed, approved, cancelled and pruned here; ``slices`` decides when they wait, fail or end.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Case, Max, Min, OuterRef, Q, QuerySet, Subquery, When
from django.utils.translation import gettext as _

from .. import logs
from ..conf import get_workspace, is_number
from ..models import SyncRun
from ..signals import sync_run_finished
from ..store import leases
from ..store.database import DatabaseClock, all_runs, is_contention, write_database
from ..store.deletion import delete_unless_refused
from ..store.history import Requester
from ..store.leases import unclaimed
from ..text import number

Mode, State, Approval = SyncRun.Mode, SyncRun.State, SyncRun.Approval
UNFINISHED = (State.QUEUED, State.RUNNING, State.WAITING, State.PAUSED)
MAX_CONTENTION = 1.0
"""Seconds for which a process that competes with others tries to open a run."""
MAX_BUDGET = 30 * 86_400
"""Seconds."""
KEPT = 500
"""How many finished runs of a workspace are kept."""
KEPT_UNCHANGED = 100
"""How many finished runs that changed nothing are kept."""
PRUNED_AT_ONCE = 50
"""How many surplus runs are deleted at a time: the newest, so that old ones that can't be deleted don't block them."""
FULLY_CONFIRMED = Q(mode=Mode.FULL, state__in=(State.SUCCEEDED, State.PARTIAL), needs_approval="")
"""Full runs that confirmed all rows that were missing after their walk."""
_NEWEST = {"last_incremental": Max("started_at"), "last_full": Max("started_at", filter=FULLY_CONFIRMED)}
_RESET: dict[str, Any] = {
    **dict.fromkeys(("failures", "malformed"), 0),
    **dict.fromkeys(("trouble_since", "enqueued_at", "budget_until"), None),
    **dict.fromkeys(("error_code", "ticket"), ""),
    "state": State.QUEUED,
    "error_params": {},
}
"""The columns that resuming or approving a run resets: earlier errors no longer count."""
_COUNTERS = ["pages", "seen", "created", "updated", "unchanged", "restored", "skipped", "outdated", "rejected"]
_COUNTERS += ["missing", "unlisted", "looked_up", "tombstoned"]
_RESTART: dict[str, Any] = {
    **dict.fromkeys(_COUNTERS, 0),
    **dict.fromkeys(("cursor", "head_id", "stop_id", "started_at"), None),
    "reached_end": False,
    "out_of_place": [],
    "intervals": [],
}
"""The columns of a run that restarts its walk at the head of the list."""


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """When the newest complete runs began (aware, UTC); ``None`` if there was none yet."""

    last_incremental: datetime | None
    """Every conversation created up to then is mirrored. Full runs count as well."""
    last_full: datetime | None
    """Every rename and deletion up to then is mirrored."""


def check_mode(mode: str) -> SyncRun.Mode:
    """Return the mode with that name, or raise ``ValueError``, which names the modes, if there is none."""
    if mode not in Mode.values:
        raise ValueError(_("mode must be 'incremental' or 'full', not %(mode)r") % {"mode": mode})
    return Mode(mode)


def check_budget(max_seconds: float | None) -> None:
    """Raise ``ValueError`` if the budget, in seconds, is invalid. Celery does not validate the arguments of tasks."""
    if max_seconds is not None and not (is_number(max_seconds) and 0 < max_seconds <= MAX_BUDGET):
        raise ValueError(_("max_seconds must be a number above 0 and at most %(most)s") % {"most": number(MAX_BUDGET)})


def open_run(workspace: str, mode: str, *, max_seconds: float | None = None) -> SyncRun:
    """Return the unfinished run of that workspace and mode, or a new one if there is none.

    ``max_seconds`` is the budget of this call: when it is used up, the run waits for the next call. Raises
    ``ValueError`` if the mode or the budget is invalid, and ``ImproperlyConfigured`` if the workspace is not
    configured.
    """
    get_workspace(workspace)
    mode = check_mode(mode)
    check_budget(max_seconds)
    slot, defaults = _slot_of(workspace, mode), {"workspace": workspace, "mode": mode}
    until = time.monotonic() + MAX_CONTENTION
    while True:
        try:
            run, created = all_runs().get_or_create(slot=slot, defaults=defaults)
            break
        except DatabaseError as error:  # others opened one at the same moment, which has already ended
            if time.monotonic() > until or not (isinstance(error, IntegrityError) or is_contention(error)):
                raise
    if created:
        logs.log(logs.SYNC_RUN_QUEUED, run=run.pk, workspace=workspace, mode=mode.value)
    if run.state != State.PAUSED:
        _set_budget(run, max_seconds)
    return run


def unfinished(workspace: str, mode: str) -> SyncRun | None:
    return all_runs().filter(slot=_slot_of(workspace, check_mode(mode))).first()


def can_be_resumed(run: SyncRun) -> bool:
    """Whether resuming the run has an effect: it is paused, or its budget is used up."""
    return run.state == State.PAUSED or (run.state == State.WAITING and run.wait == SyncRun.Wait.BUDGET)


def resume(run: SyncRun, *, max_seconds: float | None = None) -> SyncRun | None:
    """Let a run that is paused or out of budget resume at its last checkpoint, and return it; the caller enqueues it.

    ``max_seconds`` is the budget of this call, also for a run that is neither, or is no longer; then returns ``None``.
    Raises ``ImproperlyConfigured`` if the run's workspace is no longer configured.
    """
    get_workspace(run.workspace)
    was_paused = all_runs().filter(pk=run.pk, state=State.PAUSED).update(**_RESET)
    return run if _set_budget(run, max_seconds) or was_paused else None


def pause(run: SyncRun) -> bool:
    """Pause an unfinished run. Returns ``False`` if it is finished or already paused."""
    paused = all_runs().filter(pk=run.pk, state__in=UNFINISHED).exclude(state=State.PAUSED)
    if not paused.update(state=State.PAUSED, token="", lease_until=None, resume_at=None, wait=""):
        return False
    logs.log(logs.SYNC_RUN_PAUSED, run=run.pk, workspace=run.workspace, mode=run.mode)
    return True


def cancel(run: SyncRun) -> bool:
    """Cancel an unfinished run. Returns ``False`` if it has already ended."""
    if not end(run.pk, state=State.CANCELLED, now=DatabaseClock(write_database()).now()):
        return False
    logs.log(logs.SYNC_RUN_CANCELLED, run=run.pk, workspace=run.workspace, mode=run.mode)
    return True


def approve(run: SyncRun, *, reason: str, by: Any) -> SyncRun | None:
    """Reopen a run that was stopped for review, and return it, or ``None`` if it is not stopped for that reason now.

    Approving a stopped confirmation lifts the guard for the rows that were missing when the walk ended, and does
    without a canary if the mirror has no candidate for one. A run that could not verify its workspace restarts at the
    head of the list and does not verify the workspace again; the same doubt of other runs is settled with it. Earlier
    runs may have read another workspace, so none of them counts as complete any longer. ``by`` is a user or a text.
    Raises ``ValueError`` if a later run has superseded this one, or if another run is unfinished (for a stopped
    confirmation: one of that mode), and ``ImproperlyConfigured`` if the workspace is no longer configured.
    """
    get_workspace(run.workspace)
    if reason not in Approval.values:
        return None
    of_workspace = all_runs().filter(workspace=run.workspace)
    oldest = of_workspace.aggregate(Min("pk"))["pk__min"]
    unfinished = _("Sync run %(run)s is unfinished. Let it end or cancel it, then approve again.")
    try:
        with transaction.atomic(using=write_database()):
            # Locks one for all approvals, so that they wait for each other; then those that could end meanwhile.
            of_workspace.filter(pk=oldest).update(workspace=run.workspace)
            of_workspace.exclude(slot=None).update(workspace=run.workspace)
            stopped = _stopped_for_review(run.workspace).filter(pk=run.pk, needs_approval=reason)
            if (known := stopped.first()) is None:
                return None
            if known.superseded_by is not None:
                text = _("Sync run %(run)s is superseded: the later run %(later)s is complete.")
                raise ValueError(text % {"run": run.pk, "later": known.superseded_by})
            if reason == Approval.WORKSPACE and (other := of_workspace.exclude(slot=None).first()):
                raise ValueError(unfinished % {"run": other.pk})
            _reopen(known, reason, Requester.of(by).name[:255])
    except IntegrityError:
        other = of_workspace.filter(slot=_slot_of(run.workspace, run.mode)).first()
        raise ValueError(unfinished % {"run": other.pk if other else "?"}) from None
    logs.log(logs.SYNC_RUN_APPROVED, run=run.pk, workspace=run.workspace, mode=run.mode, reason=reason)
    return all_runs().get(pk=run.pk)


def _reopen(run: Any, reason: str, by: str) -> None:
    at = DatabaseClock(write_database()).now().isoformat()
    entry = {"reason": reason, "by": by, "at": at, "to_approve": run.to_approve}
    values = _RESET | {"slot": _slot_of(run.workspace, run.mode), "approvals": [*run.approvals, entry]}
    values |= {"finished_at": None, "needs_approval": "", "to_approve": 0}
    of_workspace, doubted = all_runs().filter(workspace=run.workspace), reason == Approval.WORKSPACE
    of_workspace.filter(pk=run.pk).update(**values, **(_RESTART if doubted else {}))
    if doubted:
        of_workspace.update(is_complete=False)
        of_workspace.filter(needs_approval=reason, slot=None).update(needs_approval="")


def awaiting_approval(workspace: str) -> QuerySet[SyncRun]:
    """Runs that were stopped for review and not superseded since, the newest first."""
    return _stopped_for_review(workspace).filter(superseded_by=None).order_by("-pk")


def _stopped_for_review(workspace: str) -> QuerySet[Any]:
    """Runs that were stopped for review, each with the primary key of the newest run that has settled it since."""
    of_workspace = all_runs().filter(workspace=workspace)
    verified = of_workspace.filter(is_complete=True, finished_at__gt=OuterRef("finished_at"))
    confirmed = of_workspace.filter(FULLY_CONFIRMED, started_at__gt=OuterRef("started_at"))
    of_doubt, of_others = (Subquery(some.order_by("-pk").values("pk")[:1]) for some in (verified, confirmed))
    superseded_by = Case(When(needs_approval=Approval.WORKSPACE, then=of_doubt), default=of_others)
    return of_workspace.filter(slot=None).exclude(needs_approval="").annotate(superseded_by=superseded_by)


def can_be_approved(run: SyncRun) -> bool:
    return bool(run.needs_approval) and awaiting_approval(run.workspace).filter(pk=run.pk).exists()


def approved_doubts(workspace: str) -> list[int]:
    """Primary keys of the runs that were approved although they could not verify their workspace.

    They count until a later full run has confirmed everything. Until then, missing rows may belong to another
    workspace, so every deletion needs approval.
    """
    last_full = freshness(workspace).last_full
    later = Q() if last_full is None else Q(started_at__gt=last_full)
    approved = all_runs().filter(later, workspace=workspace).exclude(approvals=[])
    return [run.pk for run in approved if run.is_approved(Approval.WORKSPACE)]


def end(run_id: int, *, state: SyncRun.State, now: datetime, token: str | None = None, **values: object) -> bool:
    """End an unfinished run if it still has this token, and send ``sync_run_finished``; return whether it ended."""
    using = write_database()
    ours = all_runs().filter(pk=run_id, state__in=UNFINISHED)
    if token is not None:
        ours = ours.filter(token=token)
    free = {"slot": None, "token": "", "lease_until": None, "resume_at": None, "wait": ""}
    with transaction.atomic(using=using):
        if not ours.update(state=state, finished_at=now, **free, **values):
            return False
        if sync_run_finished.has_listeners(SyncRun):
            send = partial(sync_run_finished.send_robust, SyncRun)
            transaction.on_commit(lambda: send(run=all_runs().get(pk=run_id)), using=using)
    return True


def adoptable(workspace: str) -> list[SyncRun]:
    """Unfinished runs that a worker could process now, but that no worker has and for which no message is expected."""
    now = DatabaseClock(write_database()).now()
    idle = leases.idle(now, patience=timedelta(seconds=get_workspace(workspace).lease_seconds))
    runs = all_runs().filter(idle, workspace=workspace, state__in=UNFINISHED).order_by("pk")
    return list(runs.exclude(state=State.PAUSED).exclude(state=State.WAITING, wait=SyncRun.Wait.BUDGET))


def freshness(workspace: str) -> Freshness:
    """How fresh the mirror of that workspace is. The workspace need not be configured."""
    return Freshness(**_all_complete(workspace).aggregate(**_NEWEST))


def _all_complete(workspace: str) -> QuerySet[SyncRun]:
    return all_runs().filter(workspace=workspace, is_complete=True)


def newest_finished(workspace: str, mode: str | None = None, *, cancelled: bool = True) -> SyncRun | None:
    """The run that ended last, of that mode or of any mode; ``None`` if there is none.

    ``cancelled=False`` leaves out those that were cancelled.
    """
    ended = all_runs().filter(workspace=workspace).exclude(finished_at=None)
    ended = ended if cancelled else ended.exclude(state=State.CANCELLED)
    return (ended if mode is None else ended.filter(mode=mode)).order_by("-finished_at", "-pk").first()


def under_way(workspace: str) -> list[SyncRun]:
    """Unfinished runs, paused ones included."""
    return list(all_runs().filter(workspace=workspace).exclude(slot=None).order_by("pk"))


def set_stop(run: SyncRun) -> None:
    """Decide where an incremental run may stop: at the newest id of the newest complete run.

    Before there is one, it stops where the first full run began, or the newest incremental run since then. It is
    complete when that full run is.
    """
    base = _all_complete(run.workspace).order_by("-started_at", "-pk").first()
    if base is None and (full := unfinished(run.workspace, Mode.FULL)) is not None:
        base = _stopped_since(full).order_by("-head_id").first() or full
    if base is not None and base.head_id is not None:
        run.stop_id = base.head_id
        all_runs().filter(pk=run.pk, token=run.token).update(stop_id=run.stop_id)


def is_known_below_stop(run: SyncRun) -> bool:
    """Whether this incremental run has no stop, or a complete run has read everything below its stop."""
    return run.stop_id is None or _all_complete(run.workspace).filter(head_id=run.stop_id).exists()


def complete_incrementals(full: SyncRun) -> None:
    """Mark the incremental runs since this run began as complete, because everything below them is known now."""
    _stopped_since(full).update(is_complete=True)


def _stopped_since(full: SyncRun) -> QuerySet[SyncRun]:
    """The incremental runs that began after this full run and reached their stop."""
    began = {"mode": Mode.INCREMENTAL, "started_at__gte": full.started_at or full.queued_at}
    ended = all_runs().filter(workspace=full.workspace, state__in=(State.SUCCEEDED, State.PARTIAL), **began)
    return ended.filter(ended_early=False, stop_id__isnull=False)


def prune(workspace: str, *, ended_run: int) -> None:
    """Delete old finished runs, those that changed nothing first, except those that are still needed.

    A database error is only logged: the run itself has ended, and the end of the next one tries again.
    """
    try:
        _prune(workspace, ended_run)
    except DatabaseError:
        logs.log(logs.PRUNING_FAILED, kind="sync_runs", exc_info=True)


def _prune(workspace: str, ended_run: int) -> None:
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    unchanged = Q(state=State.SUCCEEDED, created=0, updated=0, restored=0, missing=0, unlisted=0, tombstoned=0)
    for some, count in ((unchanged, KEPT_UNCHANGED), (Q(), KEPT)):
        if oldest_kept := finished.filter(some).values_list("pk", flat=True)[count - 1 : count].first():
            old = unneeded(workspace).filter(some, pk__lt=oldest_kept).exclude(pk=ended_run)
            delete_unless_refused(old, list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]))


def unneeded(workspace: str) -> QuerySet[SyncRun]:
    """Finished runs, except those that can be approved, the newest complete ones, and ``approved_doubts``."""
    finished = all_runs().filter(workspace=workspace, slot=None).order_by("-pk")
    kinds = (*(Q(mode=mode) for mode in Mode.values), FULLY_CONFIRMED)
    needed = {pk for kind in kinds for pk in finished.filter(kind, is_complete=True).values_list("pk", flat=True)[:1]}
    needed.update(approved_doubts(workspace))
    return finished.exclude(pk__in=needed).exclude(pk__in=awaiting_approval(workspace).values("pk"))


def _set_budget(run: SyncRun, max_seconds: float | None) -> bool:
    """Set the budget, unless a worker is processing the run under that of an earlier call; return whether that ends
    the wait for one."""
    now = DatabaseClock(write_database()).now()
    until = None if max_seconds is None else now + timedelta(seconds=max_seconds)
    all_runs().filter(unclaimed(now), pk=run.pk).update(budget_until=until)
    spent = all_runs().filter(pk=run.pk, state=State.WAITING, wait=SyncRun.Wait.BUDGET)
    ends_wait = spent.update(state=State.QUEUED, wait="", budget_until=until)
    run.refresh_from_db(using=write_database())
    return bool(ends_wait)


def _slot_of(workspace: str, mode: str) -> str:
    """The unique value that allows only one unfinished run of each workspace and mode."""
    return f"{workspace}:{mode}"

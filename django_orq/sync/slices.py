"""One slice of a sync run: claim it, walk and confirm for some seconds, and leave the rest to the next slice.

This module decides whether a run continues, waits, fails or ends.

Pages are written together with their checkpoint, and only by the worker whose token is in the run's row. Therefore any
process may die at any moment, and another one continues from the last checkpoint.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .. import exceptions as orq, logs
from ..conf import get_workspace
from ..models import SyncRun
from ..store import creations, database, rate_limits, rejected
from ..store.database import DatabaseClock, all_runs, kept_rows, write_database
from ..store.leases import LeaseLost
from . import intervals, runs
from .claim import Claim, end_of
from .confirm import Confirmation
from .readers import Readers
from .walk import Walk

MAX_CRASHES = 5
MAX_MALFORMED = 3
MAX_TROUBLE = timedelta(hours=24)
_FIRST_BACKOFF, _MAX_BACKOFF = 5.0, 300.0

_OF_THE_END = ["state", "pages", "requests", "seen", "created", "updated", "restored", "tombstoned", "rejected"]
_OF_THE_END += ["to_approve", "seconds"]
_FIELDS = {"created": "new", "tombstoned": "deleted"}
"""Columns of a run that have another name in the log."""

OnProgress = Callable[[SyncRun], object]
Interrupts = tuple[type[Exception], ...]


def run_slice(
    run_id: int, *, seconds: float | None = None, on_progress: OnProgress = lambda _: None, interrupts: Interrupts = ()
) -> SyncRun | None:
    """Work on a run for about ``seconds`` (by default the workspace's ``SLICE_SECONDS``), or until it ends.

    Returns the run as it is afterwards: still running, waiting, or finished. Returns ``None`` if the run cannot be
    claimed or the claim was lost, because it is finished, paused or deleted, has to wait, or is out of budget, or
    because another worker has it. If the run fails, it is recorded as failed and the error is raised. An exception of
    ``interrupts``, such as that of a soft time limit, ends the slice early: pages that were received are written, and
    the rest is left to the next slice.
    """
    if (before := all_runs().filter(pk=run_id).first()) is None:
        return None
    claim = Claim.take(run_id, workspace=get_workspace(before.workspace), clock=DatabaseClock(write_database()))
    if claim is None:
        return None
    if before.started_at is None:
        _log(logs.SYNC_RUN_STARTED, claim.run)
    if claim.run.crashes > before.crashes:
        _log(logs.SYNC_RUN_ADOPTED, claim.run, ("crashes",))
    try:
        _work_or_wait(claim, time.monotonic() + (seconds or claim.workspace.slice_seconds), on_progress, interrupts)
    except LeaseLost:
        logs.log(logs.SYNC_RUN_LEASE_LOST, run=run_id, workspace=before.workspace)
        return None
    return claim.run


def _work_or_wait(claim: Claim, stop: float, on_progress: OnProgress, interrupts: Interrupts) -> None:
    """Work until the slice ends, and record an error in the run. Raises ``LeaseLost`` if another worker has it now."""
    run = claim.run
    try:
        _work(claim, stop=stop, on_progress=on_progress)
    except LeaseLost:
        raise
    except Exception as error:
        database.leave_broken_connection()
        if _is_interruption(error, interrupts):
            claim.release()
        elif isinstance(error, orq.OrqError):
            _wait_or_fail(claim, error)
        elif isinstance(error, database.DATABASE_TROUBLE) and database.is_contention(error):
            _wait_or_fail(claim, orq.MirrorContended())
        elif isinstance(error, database.DATABASE_TROUBLE):
            logs.log(logs.SYNC_RUN_DATABASE_FAILED, run=run.pk, workspace=run.workspace, exc_info=True)
            _wait_or_fail(claim, orq.Problem("database_trouble", error=type(error).__name__))
        else:
            with suppress(LeaseLost):
                _fail(claim, error)
            raise
    except BaseException:
        database.leave_broken_connection()
        with suppress(LeaseLost):
            claim.release()
        raise


def _is_interruption(error: BaseException | None, interrupts: Interrupts) -> bool:
    """Whether an error is an interruption, or followed from one: a database's driver may replace it by its own."""
    while error is not None and not isinstance(error, interrupts):
        error = error.__context__
    return error is not None


def _work(claim: Claim, *, stop: float, on_progress: OnProgress) -> None:
    run = claim.run
    if run.crashes >= MAX_CRASHES:
        raise orq.Problem("workers_crashed", crashes=run.crashes)
    if run.phase == SyncRun.Phase.WALK:
        _begin(claim)
    with closing(Readers(claim, count=max(claim.workspace.readers, len(run.intervals)))) as readers:
        if run.phase == SyncRun.Phase.WALK:
            if not _walk(claim, readers, stop, on_progress):
                return
            if run.mode == SyncRun.Mode.FULL:
                Confirmation(claim, readers).begin()
        if run.phase == SyncRun.Phase.CONFIRM and not _confirm(claim, readers, stop, on_progress):
            return
    _finish(claim)


def _begin(claim: Claim) -> None:
    run = claim.run
    if run.mode == SyncRun.Mode.INCREMENTAL:
        # In each slice, because the first full run may have begun meanwhile. (After a doubt, all of it is to be read.)
        if run.stop_id is None and not run.is_approved(SyncRun.Approval.WORKSPACE):
            runs.set_stop(run)
    elif not (run.pages or run.intervals):
        parts = intervals.saved(intervals.cut(run.workspace, claim.workspace.readers))
        claim.save_now(mirrored_before=kept_rows(run.workspace).count(), intervals=parts)


def _walk(claim: Claim, readers: Readers, stop: float, on_progress: OnProgress) -> bool:
    """Whether the walk reached its end."""
    walk = Walk(claim, readers)
    return walk.read(must_stop=lambda: _must_stop(claim, stop), on_progress=on_progress) or _release(claim)


def _confirm(claim: Claim, readers: Readers, stop: float, on_progress: OnProgress) -> bool:
    """Whether the confirmation is finished, or the rest needs approval."""
    confirmation = Confirmation(claim, readers)
    while not confirmation.process_batch(stop=stop):
        on_progress(claim.run)
        if _must_stop(claim, stop):
            return _release(claim)
    return True


def _must_stop(claim: Claim, stop: float) -> bool:
    """Whether the slice's time or the call's budget is used up."""
    return time.monotonic() >= stop or _is_spent(claim)


def _is_spent(claim: Claim) -> bool:
    return claim.run.budget_until is not None and claim.clock.now() >= claim.run.budget_until


def _release(claim: Claim) -> bool:
    """Leave the rest to the next slice, or to the next call if the budget is used up; always false."""
    claim.release(**{"state": SyncRun.State.WAITING, "wait": SyncRun.Wait.BUDGET} if _is_spent(claim) else {})
    return False


def _finish(claim: Claim) -> None:
    run = claim.run
    whole = not (run.rejected or run.outdated or run.unlisted or run.needs_approval or run.ended_early)
    is_incremental = run.mode == SyncRun.Mode.INCREMENTAL
    complete = run.is_complete or (is_incremental and not run.ended_early and runs.is_known_below_stop(run))
    if complete:
        creations.resolve(run, now=claim.clock.latest())
    _end(claim, SyncRun.State.SUCCEEDED if whole else SyncRun.State.PARTIAL, is_complete=complete)
    if run.mode == SyncRun.Mode.FULL and run.finished_at is not None:
        runs.complete_incrementals(run)
        if not run.needs_approval:  # otherwise it has not looked for all of them
            rejected.resolve_unseen(run, now=run.finished_at)
    _log(logs.SYNC_RUN_FINISHED, run, _OF_THE_END, level=logging.INFO if whole else logging.WARNING)
    runs.prune(run.workspace, ended_run=run.pk)


def _fail(claim: Claim, error: Exception) -> None:
    run = claim.run
    needs_approval = SyncRun.Approval.WORKSPACE if isinstance(error, orq.WorkspaceDoubted) else ""
    _end(claim, SyncRun.State.FAILED, needs_approval=needs_approval, **_describe(error))
    _log(logs.SYNC_RUN_FAILED, run, ("pages", "requests", "error_code", "seconds"))
    runs.prune(run.workspace, ended_run=run.pk)


def _end(claim: Claim, state: SyncRun.State, **values: Any) -> None:
    run = claim.run
    values = {"requests": run.requests, **claim.deferred, **values}
    if not runs.end(run.pk, token=run.token, state=state, now=end_of(claim), **values):
        raise LeaseLost
    run.refresh_from_db(using=write_database())


def _log(event: logs.Event, run: SyncRun, columns: Iterable[str] = (), level: int | None = None, **more: Any) -> None:
    values = {_FIELDS.get(column, column): getattr(run, column) for column in ("workspace", "mode", *columns)}
    logs.log(event, level=level, run=run.pk, **values, **more)


def _wait_or_fail(claim: Claim, error: orq.OrqError) -> None:
    run, now = claim.run, claim.clock.now()
    if (pause := pause_after(error, run, now=now)) is None:
        _fail(claim, error)
        raise error
    reason, seconds = pause
    counted = {name: getattr(run, name) for name in ("failures", "malformed", "trouble_since")}
    resume_at = now + timedelta(seconds=seconds)
    claim.release(state=SyncRun.State.WAITING, wait=reason, resume_at=resume_at, **counted, **_describe(error))
    _log(logs.SYNC_RUN_WAITS, run, ("error_code",), seconds=seconds)


def pause_after(error: orq.OrqError, run: SyncRun, *, now: datetime) -> tuple[SyncRun.Wait, float] | None:
    """Count the error, and return why and for how many seconds the run waits; ``None`` if it fails."""
    is_asked_for = error.retry_after is not None or error.code == "pace_kept"
    run.failures += not is_asked_for
    if isinstance(error, orq.MalformedResponse):
        run.malformed += 1
    elif not isinstance(error, (orq.Problem, orq.MustWait)):  # these two are not responses from Orq
        run.malformed = 0
    if not (is_asked_for or isinstance(error, orq.MirrorContended)):
        run.trouble_since = run.trouble_since or now
        if now - run.trouble_since > MAX_TROUBLE:
            return None
    return _pause(error, run) if _may_pass(error, run) else None


def _may_pass(error: orq.OrqError, run: SyncRun) -> bool:
    """Whether the error may pass, so that the run waits instead of failing."""
    if isinstance(error, orq.MalformedResponse):
        return run.malformed < MAX_MALFORMED and not isinstance(error, orq.CursorIgnored)
    return error.retryable


def _pause(error: orq.OrqError, run: SyncRun) -> tuple[SyncRun.Wait, float]:
    """Why a run waits, and for how many seconds."""
    if error.code == "pace_kept":
        return SyncRun.Wait.PACE, error.params["seconds"]
    if error.retry_after is not None:
        # At least one second, so that 0 does not cause a busy loop.
        return SyncRun.Wait.RETRY_AFTER, min(max(error.retry_after, 1.0), rate_limits.MAX_WAIT.total_seconds())
    cause = SyncRun.Wait.DATABASE if error.code in ("database_trouble", "mirror_contended") else SyncRun.Wait.BACKOFF
    seconds = min(_FIRST_BACKOFF * 2.0 ** (run.failures - 1), _MAX_BACKOFF)
    return cause, seconds * random.uniform(0.8, 1)  # noqa: S311 # jitter, not a secret


def _describe(error: Exception) -> dict[str, Any]:
    if isinstance(error, ImproperlyConfigured):
        error = orq.Problem("not_configured", problem=str(error))
    elif not isinstance(error, orq.OrqError):
        error = orq.Problem("internal_error", error=type(error).__name__)
    return {"error_code": error.code, "error_params": error.params}

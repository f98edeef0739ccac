"""Checks the health of the mirror and yields findings, for people and for monitoring.

Reads only the database, with a few queries for each workspace; sends no requests to Orq.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext, gettext_lazy as _

from ..conf import DEFAULT_ALIAS, get_workspace, workspace_aliases
from ..exceptions import AuthenticationFailed, PermissionRefused, WorkspaceDoubted, explain
from ..models import SyncRun
from ..store import rejected
from ..store.database import DatabaseClock, write_database
from ..store.leases import idle_operations
from ..text import in_words
from . import runs
from .confirm import needs_review
from .report import PATIENCE, FormatTime, counted_in_words, counts, database_in_words, in_utc, not_taken, remarks

MAX_AGE = 900.0
"""The default limit for the newest complete run of any mode, in seconds."""
MAX_FULL_AGE = 26 * 3600.0
"""The same for full runs: they are expected once a day and may take two hours."""
MAX_LIMIT = 36_500 * 86_400.0
"""The highest limit, in seconds: a hundred years."""
MAX_OPERATIONS = 10
"""How many stalled operations are reported."""

Mode, State = SyncRun.Mode, SyncRun.State
_AGES = {
    "last_incremental": (
        _("The list has not been read to its end yet. Run “%(command)s --full”, and schedule runs of both modes."),
        _(
            "New conversations: as of %(age)s ago (limit: %(limit)s). Check that sync_conversations is "
            "scheduled and that a worker is running. To sync now, run “%(command)s”."
        ),
        _("New conversations: as of %(age)s ago."),
    ),
    "last_full": (
        _(
            "No full run has completed without needing approval yet, so renames and deletions of older conversations "
            "may not be mirrored. Run “%(command)s --full”, or approve a full run that was stopped for review, and "
            "schedule full runs."
        ),
        _(
            "Renames and deletions: as of %(age)s ago (limit: %(limit)s). Check that full runs are "
            "scheduled, and how the last one ended. To sync now, run “%(command)s --full”."
        ),
        _("Renames and deletions: as of %(age)s ago."),
    ),
}
"""The texts for each kind of freshness: for no complete run, for one that is too old, and for a recent one."""
_OF_ACCESS = (AuthenticationFailed.code, PermissionRefused.code, WorkspaceDoubted.code)
"""Failures that a later run without them settles, of whichever mode."""
_FROM_THE_FUTURE = _(
    "The newest complete run appears to have begun in the future: the database's clock was ahead, or is behind now. "
    "Until that time has passed, the age of the mirror is unknown."
)


class Level(StrEnum):
    OK = "ok"
    LOOK = "look"
    """Needs attention."""
    FAIL = "fail"
    """The mirror is not healthy."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    code: str
    """Stable name of the check."""
    level: Level
    text: str
    """What was found, and what to do about it."""
    workspace: str | None = None
    numbers: Mapping[str, object] = field(default_factory=dict)
    """Details for programs, by stable names."""


def examine(
    workspace: str | None = None, *, max_age: float = MAX_AGE, max_full_age: float = MAX_FULL_AGE
) -> Iterator[Finding]:
    """Yield the findings for one workspace, or for all that are configured. A database error is the last finding.

    The ages are limits, in seconds, for the newest complete run of any mode and for the newest complete full run.
    Raises ``ValueError`` if one is invalid, and ``ImproperlyConfigured`` if the workspace is not configured, or if
    none is.
    """
    if not (0 < max_age <= MAX_LIMIT and 0 < max_full_age <= MAX_LIMIT):
        raise ValueError(gettext("an age must be a number of seconds above 0 and at most a hundred years"))
    aliases = workspace_aliases() if workspace is None else [workspace]
    if workspace is not None or not aliases:
        get_workspace(DEFAULT_ALIAS if workspace is None else workspace)
    try:
        now = DatabaseClock(write_database()).now()
        for alias in aliases:
            yield from _examine(alias, now, max_age, max_full_age)
        yield from _examine_operations(workspace, now)
    except AnyDatabaseError as error:
        name = type(error).__name__
        yield Finding(code="database", level=Level.FAIL, text=database_in_words(error), numbers={"error": name})


@dataclass(kw_only=True)
class Standing:
    """The worst that has to be said about the sync of a workspace, for the people who use the mirror."""

    now: datetime
    fresh: runs.Freshness
    last: SyncRun | None
    """The run that ended last."""
    under_way: list[SyncRun]
    level: Level = Level.OK
    text: str = field(default_factory=lambda: gettext("The sync is healthy."))
    action: str = ""
    """What helps: “start” a run like ``run``, “fetch” new conversations, a “full” sync, or “review” ``run``."""
    run: SyncRun | None = None


def standing(alias: str, *, is_operator: bool, format_time: FormatTime = in_utc) -> Standing:
    """Judge the sync of a workspace with the default limits of ``examine``; only operators read technical advice."""
    now, ended, under_way = DatabaseClock(write_database()).now(), _ended(alias), runs.under_way(alias)
    last = max(ended, key=_end, default=None)
    found = partial(Standing, now=now, fresh=(fresh := runs.freshness(alias)), last=last, under_way=under_way)
    failures = (run for run in ended if run.state == State.FAILED)
    if failed := next((run for run in failures if run == last or run.error_code not in _OF_ACCESS), None):
        is_refused = failed.error_code in (AuthenticationFailed.code, PermissionRefused.code)
        text = explain(failed.error_code, failed.error_params, for_operator=is_operator)
        text += " " + gettext("Run “manage.py orq_doctor”.") if is_refused and is_operator else ""
        return found(level=Level.FAIL, text=text, action="" if is_refused else "start", run=failed)
    taken = [run for run in under_way if not _is_fresh(run, now)]
    works: list[Any] = [*taken, *idle_operations(alias, overdue_at=now - PATIENCE)[:MAX_OPERATIONS]]
    for work in works:
        if why := not_taken(work, for_terminal=is_operator):
            return found(level=Level.FAIL, text=" ".join(why))
    if _judge_age("last_incremental", alias, fresh.last_incremental, now, MAX_AGE).level != Level.OK:
        return found(level=Level.LOOK, text=gettext("New conversations may be missing here."), action="fetch")
    if stopped := needs_review(alias):  # a full sync would be stopped, too
        text = " ".join([gettext("A sync was stopped for review."), *remarks(stopped, format_time=format_time)])
        return found(level=Level.LOOK, text=text, action="review", run=stopped)
    if _judge_age("last_full", alias, fresh.last_full, now, MAX_FULL_AGE).level != Level.OK:
        text = gettext("Names may be out of date here, and deleted conversations may still be listed.")
        return found(level=Level.LOOK, text=text, action="full")
    for run in taken:
        if run.state == State.WAITING or _is_stalled(run, now):
            text = " ".join(remarks(run, format_time=format_time)) or gettext("A sync is paused.")
            return found(level=Level.LOOK, text=text, action="review", run=run)
    return found()


def _examine(alias: str, now: datetime, max_age: float, max_full_age: float) -> Iterator[Finding]:
    try:
        get_workspace(alias)
    except ImproperlyConfigured as error:
        yield Finding(code="settings", level=Level.FAIL, text=str(error), workspace=alias)
    fresh = runs.freshness(alias)
    yield _judge_age("last_incremental", alias, fresh.last_incremental, now, max_age)
    yield _judge_age("last_full", alias, fresh.last_full, now, max_full_age)
    ended = _ended(alias)
    yield from (_judge_ended(run, now) for run in ended)
    if (stopped := needs_review(alias)) and stopped not in ended:
        text = gettext("%(name)s was stopped for review.") % {"name": _name(stopped)}
        yield _run_finding("needs_approval", stopped, Level.LOOK, text, *remarks(stopped, for_terminal=True))
    yield from (_judge_unfinished(run, now) for run in runs.under_way(alias))
    if count := rejected.unresolved(alias).count():
        numbers, text = {"count": count}, counted_in_words("rejected", count)
        yield Finding(code="rejected", level=Level.LOOK, text=text, workspace=alias, numbers=numbers)


def _judge_age(code: str, alias: str, began: datetime | None, now: datetime, limit: float) -> Finding:
    never, late, fine = _AGES[code]
    age = None if began is None else now - began
    if age is None:
        level, text = Level.FAIL, never
    elif age < -PATIENCE:
        level, text = Level.LOOK, _FROM_THE_FUTURE
    elif age.total_seconds() > limit:
        level, text = Level.FAIL, late
    else:
        level, text = Level.OK, fine
    command = "manage.py orq_sync" + ("" if alias == DEFAULT_ALIAS else f" --workspace {shlex.quote(alias)}")
    words = {"command": command, "limit": _long(timedelta(seconds=limit)), "age": age and _long(age)}
    numbers = {"age_seconds": age and age.total_seconds(), "limit_seconds": limit}
    return Finding(code=code, level=level, text=text % words, workspace=alias, numbers=numbers)


def _long(length: timedelta) -> str:
    """Return a length of time in words, with plain spaces, because the output is for terminals and for grep."""
    return in_words(length).replace("\N{NO-BREAK SPACE}", " ")


def _ended(alias: str) -> list[SyncRun]:
    """Return the last finished run of each mode, without an incremental one that ended before the full one.

    Cancelled ones say nothing of the sync.
    """
    ended = (runs.newest_finished(alias, mode, cancelled=False) for mode in Mode.values)
    newest = [run for run in ended if run is not None]
    full = next((run for run in newest if run.mode == Mode.FULL), None)
    return [run for run in newest if full is None or run == full or _end(run) > _end(full)]


def _end(run: SyncRun) -> datetime:
    return run.finished_at or datetime.min.replace(tzinfo=UTC)


def _judge_ended(run: SyncRun, now: datetime) -> Finding:
    words = {"name": _name(run), "state": run.get_state_display(), "age": _long(now - _end(run))}
    level = {State.FAILED: Level.FAIL, State.PARTIAL: Level.LOOK}.get(State(run.state), Level.OK)
    text = gettext("%(name)s: %(state)s %(age)s ago.") % words
    return _run_finding("last_run", run, level, text, *remarks(run, for_terminal=True))


def _judge_unfinished(run: SyncRun, now: datetime) -> Finding:
    words = {"name": _name(run), "state": run.get_state_display(), "counts": counts(run)}
    parts = [gettext("%(name)s is %(state)s (%(counts)s).") % words]
    if run.state == State.PAUSED:
        text = gettext("The Celery task does not resume it. To resume it, run “manage.py orq_sync --resume %(run)s”.")
        parts.append(text % {"run": run.pk})
    if not _is_fresh(run, now):
        parts += remarks(run, for_terminal=True)
    level = Level.LOOK if _is_stalled(run, now) else Level.OK
    ends = {"lease_seconds": run.lease_until, "wait_seconds": run.resume_at}
    seconds = {name: until and (until - now).total_seconds() for name, until in ends.items()}
    return _run_finding("unfinished_run", run, level, *parts, **seconds)


def _is_stalled(run: SyncRun, now: datetime) -> bool:
    """Return whether the run is paused, or no worker has taken it although one should have by now."""
    abandoned = run.lease_until is not None and now - run.lease_until > PATIENCE
    overdue = not _is_fresh(run, now) and not_taken(run, for_terminal=True)
    return bool(run.state == State.PAUSED or abandoned or overdue)


def _is_fresh(run: SyncRun, now: datetime) -> bool:
    """Return whether the run was opened so recently that a worker may not have taken it yet."""
    return run.state == State.QUEUED and abs(now - run.queued_at) < PATIENCE


def _name(run: SyncRun) -> str:
    return gettext("Sync run %(run)s (%(mode)s)") % {"run": run.pk, "mode": run.mode}


def _run_finding(code: str, run: SyncRun, level: Level, *sentences: str, **numbers: object) -> Finding:
    numbers |= {"run": run.pk, "mode": run.mode, "state": run.state, "error_code": run.error_code or None}
    return Finding(code=code, level=level, text=" ".join(sentences), workspace=run.workspace, numbers=numbers)


def _examine_operations(workspace: str | None, now: datetime) -> Iterator[Finding]:
    """Report the oldest operations that no worker has taken; an operation may have items of several workspaces."""
    for operation in idle_operations(workspace, overdue_at=now - PATIENCE)[:MAX_OPERATIONS]:
        if why := not_taken(operation, for_terminal=True):
            text = gettext("Unfinished operation %(operation)s.") % {"operation": operation}
            numbers = {"operation": operation.pk, "verb": operation.verb, "items": operation.total}
            yield Finding(code="operation", level=Level.LOOK, text=" ".join([text, *why]), numbers=numbers)

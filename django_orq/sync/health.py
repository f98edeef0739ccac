"""Whether the mirror is in order, as the database has it: finding after finding, for people and for monitoring.

Asks the database alone, a few statements for each workspace, and never Orq.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..conf import DEFAULT_ALIAS, get_workspace, workspace_aliases
from ..models import SyncRun
from ..store import rejected
from ..store.database import DatabaseClock, write_database
from ..store.leases import idle_operations
from ..text import in_words
from . import runs
from .report import PATIENCE, counted_in_words, counts, database_in_words, not_taken_operation, not_taken_run, remarks

MAX_AGE = 900.0
"""Seconds."""
MAX_FULL_AGE = 26 * 3600.0
"""Seconds: a full run every day, and two hours for it."""
MAX_LIMIT = 36_500 * 86_400.0
"""Seconds that a limit may be: a hundred years."""
MAX_AHEAD = timedelta(days=1)
"""No lease and no wait ends later than that."""
_TIMES_AHEAD = ("lease_until", "resume_at", "enqueued_at")
"""Until when nobody else takes a piece of work, or calls for it anew."""
_TOO_FAR_AHEAD = _("No lease and no wait is so long: the database's clock was ahead.")
MAX_OPERATIONS = 10
"""That are reported."""

Mode, State = SyncRun.Mode, SyncRun.State
_AGES = {
    "last_incremental": (
        _("Nothing has been mirrored yet. Run “%(command)s --full”, and schedule both modes."),
        _(
            "What is new was mirrored %(age)s ago, which is longer than %(limit)s. Look whether the schedule calls "
            "sync_conversations and a worker runs; “%(command)s” does it now."
        ),
        _("What is new was mirrored %(age)s ago."),
    ),
    "last_full": (
        _(
            "No full run has come to its end yet, so renames and deletions of old conversations are not mirrored. Run "
            "“%(command)s --full”, and schedule it."
        ),
        _(
            "Everything was mirrored %(age)s ago, which is longer than %(limit)s. Look whether full runs are "
            "scheduled, and how the last one ended; “%(command)s --full” does it now."
        ),
        _("Everything was mirrored %(age)s ago."),
    ),
}
"""What is said of each kind of freshness: if there is none, if it is too old, and if all is well."""
_FROM_THE_FUTURE = _(
    "The newest complete run began in the future: the database's clock was ahead then, or is behind now. How fresh "
    "the mirror is can't be told until that time has come."
)


class Level(StrEnum):
    OK = "ok"
    LOOK = "look"
    """A person should look at it."""
    FAIL = "fail"
    """The mirror is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    code: str
    """Stable: what it is about."""
    level: Level
    text: str
    """What is so, and what a person can do."""
    workspace: str | None = None
    numbers: Mapping[str, object] = field(default_factory=dict)
    """By stable names, what a program wants to know of it."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How old the newest complete run may be, in seconds: of any mode, and a full one."""

    age: float = MAX_AGE
    full_age: float = MAX_FULL_AGE

    def __post_init__(self) -> None:
        if not (0 < self.age <= MAX_LIMIT and 0 < self.full_age <= MAX_LIMIT):
            raise ValueError(gettext("an age is a number of seconds, above 0 and at most a hundred years"))


def examine(workspace: str | None = None, *, limits: Limits | None = None) -> Iterator[Finding]:
    """All findings on one workspace, or on each that is configured; ends with a database that does not answer.

    ``ImproperlyConfigured`` if there is no such workspace, or none at all.
    """
    aliases = workspace_aliases() if workspace is None else [workspace]
    if workspace is not None or not aliases:
        get_workspace(DEFAULT_ALIAS if workspace is None else workspace)
    try:
        now = DatabaseClock(write_database()).now()
        for alias in aliases:
            yield from _examine(alias, now, limits or Limits())
        yield from _examine_operations(workspace)
    except AnyDatabaseError as error:
        name = type(error).__name__
        yield Finding(code="database", level=Level.FAIL, text=database_in_words(error), numbers={"error": name})


def _examine(alias: str, now: datetime, limits: Limits) -> Iterator[Finding]:
    yield from _check_settings(alias)
    fresh = runs.freshness(alias)
    yield _judge_age("last_incremental", alias, fresh.last_incremental, now, limits.age)
    yield _judge_age("last_full", alias, fresh.last_full, now, limits.full_age)
    ended = _ended(alias)
    yield from (_judge_ended(run, now) for run in ended)
    stopped = runs.awaiting_approval(alias).first()
    if stopped is not None and stopped not in ended:
        text = gettext("%(name)s was stopped for review.") % {"name": _name(stopped)}
        yield _run_finding("needs_approval", stopped, Level.LOOK, text, *remarks(stopped, for_terminal=True))
    yield from (_judge_unfinished(run, now) for run in runs.under_way(alias))
    yield from _count_rejected(alias)


def _check_settings(alias: str) -> Iterator[Finding]:
    try:
        get_workspace(alias)
    except ImproperlyConfigured as error:
        yield Finding(code="settings", level=Level.FAIL, text=str(error), workspace=alias)


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
    words = {"command": _command(alias), "limit": _long(timedelta(seconds=limit)), "age": age and _long(age)}
    numbers = {"age_seconds": age and age.total_seconds(), "limit_seconds": limit}
    return Finding(code=code, level=level, text=text % words, workspace=alias, numbers=numbers)


def _command(alias: str) -> str:
    """What a person types to sync that workspace."""
    return "manage.py orq_sync" + ("" if alias == DEFAULT_ALIAS else f" --workspace {shlex.quote(alias)}")


def _long(length: timedelta) -> str:
    """With plain spaces: the lines are for terminals, and are searched."""
    return in_words(length).replace("\N{NO-BREAK SPACE}", " ")


def _ended(alias: str) -> list[SyncRun]:
    """The last run of each mode that has ended, unless a full one after it tells more."""
    newest = [run for mode in Mode.values if (run := runs.newest_finished(alias, mode)) is not None]
    full = next((run for run in newest if run.mode == Mode.FULL), None)
    return [run for run in newest if full is None or run == full or _end(run) > _end(full)]


def _end(run: SyncRun) -> datetime:
    return run.finished_at or datetime.min.replace(tzinfo=UTC)


def _judge_ended(run: SyncRun, now: datetime) -> Finding:
    words = {"name": _name(run), "state": run.get_state_display(), "age": _long(now - _end(run))}
    level = {State.FAILED: Level.FAIL, State.PARTIAL: Level.LOOK}.get(State(run.state), Level.OK)
    text = gettext("%(name)s %(state)s %(age)s ago.") % words
    return _run_finding("last_run", run, level, text, *remarks(run, for_terminal=True))


def _judge_unfinished(run: SyncRun, now: datetime) -> Finding:
    words = {"name": _name(run), "state": run.get_state_display(), "counts": counts(run)}
    parts = [gettext("%(name)s is %(state)s (%(counts)s).") % words]
    if run.lease_until is not None and run.lease_until > now:
        parts.append(gettext("The %(worker)s works on it.") % {"worker": run.worker})
    if run.state == State.PAUSED:
        text = gettext("The schedule leaves it alone. To resume it: orq_sync --resume %(run)s")
        parts.append(text % {"run": run.pk})
    if _is_blocked(run, now):
        anew = _command(run.workspace) + (" --full --fresh" if run.mode == Mode.FULL else " --fresh")
        parts += [str(_TOO_FAR_AHEAD), gettext("To start anew: %(command)s") % {"command": anew}]
    if not _is_fresh(run, now):
        parts += remarks(run)
    level = Level.LOOK if _is_stalled(run, now) else Level.OK
    seconds = {
        f"{name}_seconds": until and (until - now).total_seconds()
        for name, until in (("lease", run.lease_until), ("wait", run.resume_at))
    }
    return _run_finding("unfinished_run", run, level, *parts, **seconds)


def _is_stalled(run: SyncRun, now: datetime) -> bool:
    """Whether nobody takes it, though the schedule would have done so by now."""
    abandoned = run.lease_until is not None and now - run.lease_until > PATIENCE
    kept = run.state == State.PAUSED or _is_blocked(run, now)
    return kept or abandoned or bool(not _is_fresh(run, now) and not_taken_run(run))


def _is_blocked(run: SyncRun, now: datetime) -> bool:
    times = (getattr(run, column) for column in _TIMES_AHEAD)
    return any(until is not None and until - now > MAX_AHEAD for until in times)


def _is_fresh(run: SyncRun, now: datetime) -> bool:
    """Whether it was opened a moment ago, so that no worker can be expected to have taken it."""
    return run.state == State.QUEUED and abs(now - run.queued_at) < PATIENCE


def _name(run: SyncRun) -> str:
    words = {"run": run.pk, "mode": run.get_mode_display()}
    return gettext("Sync run %(run)s (%(mode)s)") % words


def _run_finding(code: str, run: SyncRun, level: Level, *sentences: str, **numbers: object) -> Finding:
    known = {"run": run.pk, "mode": run.mode, "state": run.state, "error_code": run.error_code or None}
    text = " ".join(sentences)
    return Finding(code=code, level=level, text=text, workspace=run.workspace, numbers=known | numbers)


def _count_rejected(alias: str) -> Iterator[Finding]:
    if count := rejected.count_unresolved(alias):
        text = counted_in_words("rejected", count)
        yield Finding(code="rejected", level=Level.LOOK, text=text, workspace=alias, numbers={"count": count})


def _examine_operations(workspace: str | None) -> Iterator[Finding]:
    """Of operations that nobody takes, the oldest few; one may be about several workspaces."""
    for operation in idle_operations(workspace)[:MAX_OPERATIONS]:
        if why := not_taken_operation(operation):
            text = gettext("Operation %(operation)s is not finished.") % {"operation": operation}
            numbers = {"operation": operation.pk, "verb": operation.verb, "items": operation.total}
            yield Finding(code="operation", level=Level.LOOK, text=" ".join([text, *why]), numbers=numbers)

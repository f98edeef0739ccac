"""Mirror the conversations of an Orq workspace in this process, without Celery.

Exit codes: 0 completed, 1 failed or cancelled, 2 wrong usage or unknown workspace, 3 completed with problems,
4 unfinished (paused, waiting or out of budget), 5 another process is working on the run, 6 a dry run found
differences. With --all, the worst of them all, in this order: 2, 1, 5, 4, 3, 6.
"""

import getpass
import logging
import math
import sys
import time
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper
from django.db import Error as AnyDatabaseError, reset_queries
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from ... import logs
from ...conf import DEFAULT_ALIAS, get_workspace, workspace_aliases
from ...exceptions import OrqError
from ...models import SyncRun
from ...store.database import DatabaseClock, all_runs, write_database
from ...sync import runs, slices
from ...sync.preview import Preview
from ...sync.report import counts, database_in_words, how_far, is_being_done, remarks
from ...text import in_words, number
from ..base import FAILED, WRONG_USAGE, OrqCommand, alias

PARTIAL, UNFINISHED, BUSY, DIFFERENCES = 3, 4, 5, 6
"""Exit codes in addition to the common ones; 0 means that the run completed without problems."""
_WORST_FIRST = (WRONG_USAGE, FAILED, BUSY, UNFINISHED, PARTIAL, DIFFERENCES)
_BAR_WIDTH = 24
_SECONDS_BETWEEN_LINES = 5.0
MAX_WAIT = 300.0
"""Seconds that a terminal's user is kept waiting until a run can continue."""

State = SyncRun.State
_EXIT_CODES = {
    State.SUCCEEDED: 0,
    State.PARTIAL: PARTIAL,
    **dict.fromkeys((State.FAILED, State.CANCELLED), FAILED),
    **dict.fromkeys((State.WAITING, State.PAUSED), UNFINISHED),
}


_HEADINGS = {
    "created": gettext_lazy("To create"),
    "renamed": gettext_lazy("To rename"),
    "changed": gettext_lazy("To change in other ways"),
    "restored": gettext_lazy("To restore"),
    "missing": gettext_lazy("To mark as missing"),
    "looked_up": gettext_lazy("To look up by id, and mark as deleted if Orq does not have them"),
    "rejected": gettext_lazy("Items that cannot be mirrored"),
}


class Progress:
    """Writes a run's progress to a stream."""

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._started = self._last_line_at = time.monotonic()

    def show(self, run: SyncRun) -> None:
        if self._on_terminal:
            self._stream.write(f"\r{self._bar(run)} {self._counts(run)}\033[K", ending="")
        elif time.monotonic() - self._last_line_at >= _SECONDS_BETWEEN_LINES:
            self._last_line_at = time.monotonic()
            self._stream.write(self._counts(run))

    def wait(self, seconds: float, *, why: str) -> None:
        """Wait so many seconds: with a countdown on a terminal, or else after a line that says why."""
        is_first = True
        while seconds > 0:
            left = in_words(timedelta(seconds=math.ceil(seconds)))
            text = _("Waiting for %(time)s: %(why)s.") % {"time": left, "why": why}
            if self._on_terminal:
                self._stream.write(f"\r{text}\033[K", ending="")
            elif is_first:
                self._stream.write(text)
            is_first = False
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0

    def close(self) -> None:
        if self._on_terminal:
            self._stream.write("")

    def _bar(self, run: SyncRun) -> str:
        progress = how_far(run)
        # Until the length of the list is known, the bar stays empty and only the counters next to it change.
        done = progress.done * _BAR_WIDTH // progress.total if progress.total else _BAR_WIDTH * run.reached_end
        return f"[{'#' * done}{'.' * (_BAR_WIDTH - done)}]"

    def _counts(self, run: SyncRun) -> str:
        return f"{counts(run)}, {time.monotonic() - self._started:.0f} s"


class Command(OrqCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        of = parser.add_mutually_exclusive_group()
        of.add_argument("--workspace", type=alias, help=f"alias in ORQ_WORKSPACES (default: {DEFAULT_ALIAS})")
        of.add_argument("--all", action="store_true", help="sync all configured workspaces, one after the other")
        parser.add_argument("--full", action="store_true", help="read the whole list, not only new conversations")
        parser.add_argument("--max-seconds", type=float, metavar="S", help="time budget; a later call resumes the run")
        text = "wait until the run can continue, not exit with code 4 (default: on a terminal, for 5 minutes)"
        parser.add_argument("--wait", action=BooleanOptionalAction, help=text)
        parser.add_argument("--by", metavar="NAME", help="name to record for the approval (default: your login name)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--resume", type=int, metavar="RUN", help="resume a run that is paused or out of budget")
        which.add_argument("--approve", type=int, metavar="RUN", help="approve a run that was stopped for review")
        which.add_argument("--dry-run", action="store_true", help="with --full: only show what it would change")
        which.add_argument("--fresh", action="store_true", help="cancel the unfinished run and start a new one")

    def handle(self, *args: Any, verbosity: int, workspace: str | None, wait: bool | None, **options: Any) -> None:
        if not verbosity:  # remarks and errors still go to stderr
            self.stdout = OutputWrapper(StringIO())
        self._max_wait = MAX_WAIT if self.stdout.isatty() else 0.0
        if wait is not None:
            self._max_wait = math.inf if wait else 0.0
        last_resort = logging.lastResort or logging.NullHandler()
        last_resort.addFilter(_is_not_shown)
        try:
            codes = list(self._each(workspace, **options))
        except KeyboardInterrupt as interrupt:
            raise CommandError(str(interrupt), returncode=UNFINISHED) from None
        finally:
            last_resort.removeFilter(_is_not_shown)
        if worst := [code for code in _WORST_FIRST if code in codes]:
            sys.exit(worst[0])

    def _each(self, workspace: str | None, **options: Any) -> Iterator[int]:
        """Sync one workspace, or with ``--all`` each of them, and yield the exit codes."""
        if not options["all"]:
            yield self._sync(workspace, **options)
            return
        for each in workspace_aliases() or [DEFAULT_ALIAS]:  # which says what is missing
            self.stdout.write(_("Workspace %(alias)s:") % {"alias": each})
            try:
                yield self._sync(each, **options)
            except (CommandError, ImproperlyConfigured) as error:
                self.stderr.write(str(error))
                yield getattr(error, "returncode", WRONG_USAGE)
            except AnyDatabaseError as error:
                self.stderr.write(database_in_words(error))
                yield FAILED

    def _sync(self, workspace: str | None, **options: Any) -> int:
        """Sync a workspace, or compare it, and return the exit code."""
        if options["dry_run"]:
            if not options["full"] or options["max_seconds"] is not None:
                raise ValueError(_("--dry-run requires --full and cannot be combined with --max-seconds."))
            return self._compare(Preview(workspace or DEFAULT_ALIAS))
        run = self._choose(workspace=workspace, **options)
        if run.pages:
            text = _("Sync run %(run)s is unfinished. Pages already read: %(count)s.")
            self.stdout.write(text % {"run": run.pk, "count": number(run.pages)})
        run = self._work(run)
        self.stdout.write(_summary(run))
        for remark in remarks(run, for_terminal=True):
            self.stderr.write(remark)
        return _EXIT_CODES.get(State(run.state), BUSY)

    def _choose(self, *, workspace: str | None, full: bool, max_seconds: float | None, **options: Any) -> SyncRun:
        resume, approve = options["resume"], options["approve"]
        if (resume or approve) and (full or workspace or options["all"]):
            raise ValueError(_("--workspace, --all and --full cannot be combined with --resume or --approve."))
        runs.check_budget(max_seconds)
        if resume is not None:
            if (run := _find(resume)).is_finished:
                text = _("Sync run %(run)s cannot be resumed, because it has ended (state: %(state)s).")
                raise ValueError(text % {"run": run.pk, "state": run.get_state_display()})
            return runs.resume(run, max_seconds=max_seconds) or run
        if approve is not None:
            try:
                by = options["by"] or getpass.getuser()
            except (KeyError, OSError):  # in a container with any user id
                raise ValueError(_("Your login name is unknown. Use --by to give a name.")) from None
            run = _find(approve)
            if (approved := runs.approve(run, reason=run.needs_approval, by=by)) is None:
                text = _("Sync run %(run)s does not need approval (state: %(state)s).")
                raise ValueError(text % {"run": run.pk, "state": run.get_state_display()})
            return runs.resume(approved, max_seconds=max_seconds) or approved
        mode = SyncRun.Mode.FULL if full else SyncRun.Mode.INCREMENTAL
        return _open(workspace or DEFAULT_ALIAS, mode, max_seconds, fresh=options["fresh"])

    def _compare(self, preview: Preview) -> int:
        """Show what a full run would change, and return the exit code."""
        progress = Progress(self.stdout)
        try:
            while (error := preview.read(on_progress=progress.show)) is not None:
                pause = slices.pause_after(error, preview.run, now=preview.clock.now())
                if pause is None or pause[1] > self._max_wait:
                    raise CommandError(str(error), returncode=UNFINISHED if pause else FAILED)
                progress.wait(pause[1], why=str(pause[0].label))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_("Interrupted. Nothing was written.")) from None
        finally:
            progress.close()
        self.stdout.write(_("Compared: %(counts)s. Nothing was written.") % {"counts": counts(preview.run)})
        found = {kind: preview.found[kind] for kind in _HEADINGS if preview.found[kind].count}
        for kind, one in found.items():
            self.stdout.write(f"{_HEADINGS[kind]}: {number(one.count)}")
            for name in [*one.names, "…"][: one.count]:
                self.stdout.write("  " + "".join(one if one.isprintable() else "\ufffd" for one in name))
        if preview.found["looked_up"].count > preview.max_missing:
            text = _("If more than %(most)s are missing, the run stops for review before it looks them up.")
            self.stdout.write(text % {"most": number(preview.max_missing)})
        return DIFFERENCES if found else 0

    def _work(self, run: SyncRun) -> SyncRun:
        progress = Progress(self.stdout)
        try:
            return self._walk(run, progress)
        except KeyboardInterrupt:
            runs.pause(run)
            text = _("Sync run %(run)s was paused. The next orq_sync of this mode resumes it at its last checkpoint.")
            raise KeyboardInterrupt(text % {"run": run.pk}) from None
        except (OrqError, ImproperlyConfigured) as error:
            run.refresh_from_db(using=write_database())
            why = " ".join(remarks(run, for_terminal=True)) or str(getattr(error, "message", error))
            text = _("Sync run %(run)s failed: %(why)s")
            raise CommandError(text % {"run": run.pk, "why": why}, returncode=FAILED) from None
        finally:
            progress.close()

    def _walk(self, run: SyncRun, progress: Progress) -> SyncRun:
        """Process slices until the run ends, waits, or belongs to another worker; return the run as it is then."""
        while True:
            reset_queries()  # with DEBUG, Django keeps every statement
            worked = slices.run_slice(run.pk, on_progress=progress.show)
            run.refresh_from_db(using=write_database())
            # This process may have been suspended for so long that it lost the run, without another that took it.
            is_free = worked is None and run.state == State.RUNNING and not is_being_done(run)
            if is_free or (run.state == State.WAITING and self._wait(run, progress)):
                continue
            if worked is None or run.is_finished or run.state == State.WAITING:
                return run

    def _wait(self, run: SyncRun, progress: Progress) -> bool:
        """Wait until the run can continue; return ``False`` if that takes too long, or if only a call resumes it."""
        if run.resume_at is None or (run.budget_until is not None and run.resume_at >= run.budget_until):
            return False
        if (seconds := (run.resume_at - DatabaseClock(write_database()).now()).total_seconds()) > self._max_wait:
            return False
        progress.wait(seconds, why=run.get_wait_display())
        return True


def _is_not_shown(record: logging.LogRecord) -> bool:
    """Tell Python's last resort, which prints records that no handler takes, which ones the command shows itself."""
    shown = (logs.SYNC_RUN_WAITS, logs.SYNC_RUN_FINISHED, logs.SYNC_RUN_FAILED, logs.SYNC_RUN_DATABASE_FAILED)
    return getattr(record, "event", None) not in [event.name for event in shown]


def _open(workspace: str, mode: SyncRun.Mode, max_seconds: float | None, *, fresh: bool) -> SyncRun:
    get_workspace(workspace)  # raises before a run is cancelled
    if fresh and (unfinished := runs.unfinished(workspace, mode)):
        runs.cancel(unfinished)
    run = runs.open_run(workspace, mode, max_seconds=max_seconds)
    return (runs.resume(run, max_seconds=max_seconds) or run) if run.state == State.PAUSED else run


def _find(pk: int) -> SyncRun:
    if run := all_runs().filter(pk=pk).first():
        return run
    raise ValueError(_("There is no sync run %(run)s.") % {"run": pk})


def _summary(run: SyncRun) -> str:
    names = ("created", "updated", "unchanged", "tombstoned", "restored", "rejected")
    fields: list[Any] = [SyncRun._meta.get_field(name) for name in names]
    requests = ngettext("%(count)s request", "%(count)s requests", run.requests) % {"count": number(run.requests)}
    named = {"run": run.pk, "state": run.get_state_display(), "progress": counts(run), "requests": requests}
    counted = ", ".join(f"{number(getattr(run, each.name))} {each.verbose_name}" for each in fields)
    text = _("Sync run %(run)s %(state)s: %(progress)s, %(requests)s; %(counted)s.")
    return text % {**named, "counted": counted}

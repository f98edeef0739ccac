"""Runs a sync in this process, slice by slice, with the code that Celery workers run."""

import getpass
import sys
from argparse import ArgumentParser
from io import StringIO
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, OutputWrapper
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...conf import DEFAULT_ALIAS, get_workspace
from ...exceptions import OrqError
from ...models import SyncRun
from ...store.database import all_runs, write_database
from ...sync import runs, slices
from ...sync.report import counts, remarks
from ...text import number
from ..base import FAILED, WRONG_USAGE, OrqCommand, alias
from ..progress import Progress

PARTIAL, UNFINISHED, BUSY = 3, 4, 5
"""Exit codes in addition to the common ones; 0 means that the run completed without problems."""

State = SyncRun.State
_EXIT_CODES = {
    State.SUCCEEDED: 0,
    State.PARTIAL: PARTIAL,
    **dict.fromkeys((State.FAILED, State.CANCELLED), FAILED),
    **dict.fromkeys((State.WAITING, State.PAUSED), UNFINISHED),
}


class Command(OrqCommand):
    help = (
        "Mirror the conversations of an Orq workspace in this process, without Celery. Exit codes: 0 completed, "
        "1 failed or cancelled, 2 wrong usage or unknown workspace, 3 completed with problems, 4 unfinished (paused, "
        "waiting or out of budget), 5 another process is working on the run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", type=alias, help=f"alias in ORQ_WORKSPACES (default: {DEFAULT_ALIAS})")
        parser.add_argument("--full", action="store_true", help="read the whole list, not only new conversations")
        parser.add_argument("--max-seconds", type=float, metavar="S", help="time budget; a later call resumes the run")
        parser.add_argument("--by", metavar="NAME", help="name to record for the approval (default: your login name)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--resume", type=int, metavar="RUN", help="resume a run that is paused or out of budget")
        which.add_argument("--approve", type=int, metavar="RUN", help="approve a run that was stopped for review")
        which.add_argument("--fresh", action="store_true", help="cancel the unfinished run and start a new one")

    def handle(self, *args: Any, verbosity: int, **options: Any) -> None:
        if not verbosity:  # remarks and errors still go to stderr
            self.stdout = OutputWrapper(StringIO())
        try:
            run = self._choose(**options)
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error), returncode=WRONG_USAGE) from None
        if run.pages:
            self.stdout.write(_pages_read(run))
        self._report(self._work(run))

    def _choose(
        self,
        *,
        workspace: str | None,
        full: bool,
        max_seconds: float | None,
        by: str | None,
        resume: int | None,
        approve: int | None,
        fresh: bool,
        **options: Any,
    ) -> SyncRun:
        if (resume or approve) and (full or workspace):
            raise ValueError(_("--workspace and --full cannot be combined with --resume or --approve."))
        runs.check_budget(max_seconds)
        if resume is not None:
            return _resume(_find(resume), max_seconds)
        if approve is not None:
            return runs.resume(_approve(_find(approve), by or getpass.getuser()), max_seconds=max_seconds)
        mode = SyncRun.Mode.FULL if full else SyncRun.Mode.INCREMENTAL
        return _open(workspace or DEFAULT_ALIAS, mode, max_seconds, fresh=fresh)

    def _work(self, run: SyncRun) -> SyncRun:
        progress = Progress(self.stdout)
        try:
            return self._walk(run, progress)
        except KeyboardInterrupt:
            runs.pause(run)
            text = _("Sync run %(run)s was paused. The next orq_sync of this mode resumes it at its last checkpoint.")
            raise CommandError(text % {"run": run.pk}, returncode=UNFINISHED) from None
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
            following = slices.run_slice(run.pk, on_progress=progress.show)
            if following is None:
                run.refresh_from_db(using=write_database())
                return run
            if following.is_finished or following.state == State.WAITING:
                return following

    def _report(self, run: SyncRun) -> None:
        self.stdout.write(_summary(run))
        for remark in remarks(run, for_terminal=True):
            self.stderr.write(remark)
        if code := _EXIT_CODES.get(State(run.state), BUSY):
            sys.exit(code)


def _open(workspace: str, mode: SyncRun.Mode, max_seconds: float | None, *, fresh: bool) -> SyncRun:
    unfinished = runs.unfinished(workspace, mode)
    get_workspace(workspace)  # raises before a run is cancelled
    if fresh and unfinished is not None:
        runs.cancel(unfinished)
    run = runs.open_run(workspace, mode, max_seconds=max_seconds)
    return runs.resume(run, max_seconds=max_seconds) if run.state == State.PAUSED else run


def _find(pk: int) -> SyncRun:
    run = all_runs().filter(pk=pk).first()
    if run is None:
        raise ValueError(_("There is no sync run %(run)s.") % {"run": pk})
    return run


def _resume(run: SyncRun, max_seconds: float | None) -> SyncRun:
    if run.is_finished:
        text = _("Sync run %(run)s cannot be resumed, because it has ended (state: %(state)s).")
        raise ValueError(text % {"run": run.pk, "state": run.get_state_display()})
    return runs.resume(run, max_seconds=max_seconds)


def _approve(run: SyncRun, by: str) -> SyncRun:
    approved = runs.approve(run, reason=run.needs_approval, by=by)
    if approved is None:
        text = _("Sync run %(run)s does not need approval (state: %(state)s).")
        raise ValueError(text % {"run": run.pk, "state": run.get_state_display()})
    return approved


def _pages_read(run: SyncRun) -> str:
    text = _("Sync run %(run)s is unfinished. Pages already read: %(count)s.")
    return text % {"run": run.pk, "count": number(run.pages)}


def _summary(run: SyncRun) -> str:
    text = _(
        "Sync run %(run)s %(state)s: %(progress)s, %(requests)s; %(created)s created, "
        "%(updated)s updated, %(unchanged)s unchanged, %(tombstoned)s deleted, %(restored)s restored, "
        "%(skipped)s not updated because the local copy was newer, %(rejected)s rejected."
    )
    requests = ngettext("%(count)s request", "%(count)s requests", run.requests)
    counted = ("created", "updated", "unchanged", "tombstoned", "restored", "rejected")
    return text % {
        "run": run.pk,
        "state": run.get_state_display(),
        "progress": counts(run),
        "requests": requests % {"count": number(run.requests)},
        "skipped": number(run.skipped + run.outdated),
        **{name: number(getattr(run, name)) for name in counted},
    }

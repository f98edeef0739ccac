import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from ... import sync
from ...conf import DEFAULT_ALIAS
from ...exceptions import OrqError
from ...models import Conversation, SyncRun
from ..progress import Progress

FAILED, PARTIAL, INTERRUPTED, BUSY = 1, 3, 4, 5
"""Exit codes; 0 is for a run that succeeded."""


class Command(BaseCommand):
    help = "Mirror the conversations of an Orq workspace, here and now, without Celery."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workspace", default=DEFAULT_ALIAS, help="its alias in ORQ_WORKSPACES")
        parser.add_argument("--full", action="store_true", help="walk through the whole list")

    def handle(self, *args: Any, workspace: str, full: bool, **options: Any) -> None:
        if not full:
            raise CommandError("This version knows full runs only. Say so: manage.py orq_sync --full", returncode=2)
        try:
            run = sync.open_run(workspace, SyncRun.Mode.FULL)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from None
        if run.pages:
            self.stdout.write(f"Going on with sync run {run.pk} after {run.pages:,} pages.")
        self._report(self._walk(run))

    def _walk(self, run: SyncRun) -> SyncRun:
        mirrored = Conversation.objects.filter(workspace=run.workspace, deleted_at=None).count()
        progress = Progress(self.stdout, expected=mirrored)
        try:
            while not run.is_finished:
                run = sync.run_slice(run.pk, on_page=progress.show) or self._stop_busy(run)
        except KeyboardInterrupt:
            progress.close()
            raise CommandError(
                "Interrupted. The next `orq_sync --full` goes on from the last page.", returncode=INTERRUPTED
            ) from None
        except (OrqError, ImproperlyConfigured) as error:
            progress.close()
            raise CommandError(f"Sync run {run.pk} failed: {error}", returncode=FAILED) from None
        progress.close()
        return run

    def _stop_busy(self, run: SyncRun) -> NoReturn:
        run.refresh_from_db()
        until = f" and holds it until {run.lease_until:%H:%M:%S} UTC at least" if run.lease_until else ""
        raise CommandError(f"Another process walks sync run {run.pk}{until}.", returncode=BUSY)

    def _report(self, run: SyncRun) -> None:
        self.stdout.write(
            f"Sync run {run.pk} {run.get_state_display()}: {run.seen:,} conversations in {run.pages:,} pages and "
            f"{run.requests:,} requests; {run.created:,} new, {run.updated:,} updated, {run.unchanged:,} unchanged, "
            f"{run.skipped + run.outdated:,} skipped as older, {run.rejected:,} rejected."
        )
        if run.state == SyncRun.State.PARTIAL:
            self.stderr.write(self._what_is_missing(run))
            sys.exit(PARTIAL)

    def _what_is_missing(self, run: SyncRun) -> str:
        reasons = []
        if run.rejected:
            reasons.append(f"{run.rejected:,} payloads could not be mirrored: the admin lists them with the reason")
        if run.outdated:
            reasons.append(f"{run.outdated:,} conversations were listed with older values than Orq gave before")
        return f"Not all could be taken over: {'; '.join(reasons)}."

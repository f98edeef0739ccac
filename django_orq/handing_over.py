"""A run handed over to the workers, and what to tell the person who did it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.translation import gettext

from . import holds, runs, tasks
from .models import SyncRun
from .primary import write_database
from .remarks import Tell, in_utc, remarks

State = SyncRun.State


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    run: SyncRun
    is_untold: bool = False
    """No worker could be told: the broker is out of reach."""
    is_others: bool = False
    """Somebody else walks or calls a worker already, or the run has to wait."""

    def message(self, *, tell: Tell = in_utc) -> str:
        """What became of it; ``tell`` says times."""
        named = {"run": self.run.pk, "workspace": self.run.workspace, "state": self.run.get_state_display()}
        # A run that is queued by somebody else has a worker called for just now.
        if self.is_untold or (self.is_others and self.run.state == State.QUEUED):
            return self._sentence() % named
        return " ".join([self._sentence() % named, *remarks(self.run, tell=tell)])

    def _sentence(self) -> str:
        if self.is_untold:
            return gettext(
                "Sync run %(run)s of workspace “%(workspace)s” is queued. The broker is out of reach, so no worker "
                "was told; the run stays queued and the next scheduled sync takes it up."
            )
        if self.run.state == State.QUEUED:
            return gettext("Sync run %(run)s of workspace “%(workspace)s” is queued. A worker will take it.")
        return gettext("Sync run %(run)s of workspace “%(workspace)s” is %(state)s.")


def start(workspaces: Iterable[str], mode: str) -> Iterator[HandedOver | ImproperlyConfigured]:
    """Open a run in each workspace, or go on with the one that is there, paused or not; or say why that can't be.

    Once a broker is out of reach, it is not tried again: each attempt takes seconds, and a person waits.
    """
    untold = False
    for workspace in workspaces:
        try:
            run = _open(workspace, mode)
        except ImproperlyConfigured as error:
            yield error
            continue
        handed_over = HandedOver(run=run, is_untold=True) if untold else hand_over(run)
        untold = handed_over.is_untold
        yield handed_over


def start_unless_walked(workspace: str, mode: str) -> HandedOver:
    """Open a run, or go on with the one that is there; left alone if somebody walks it, or it waits for Orq."""
    run = runs.unfinished(workspace, mode)
    if run is not None and not holds.rests(run) and run not in runs.adoptable(workspace):
        return HandedOver(run=run, is_others=True)
    return hand_over(_open(workspace, mode))


def _open(workspace: str, mode: str) -> SyncRun:
    run = runs.open_run(workspace, mode)
    return runs.resume(run) if run.state == State.PAUSED else run


def hand_over(run: SyncRun) -> HandedOver:
    """Have a worker go on with the run, unless one does, a message is under way, or the run has to wait.

    Within a transaction of the caller's, the worker is told once that is committed.
    """
    publishes = run in runs.adoptable(run.workspace)
    if publishes:
        tasks.enqueue_slice(run.pk)
        run.refresh_from_db(using=write_database())
    is_untold = publishes and not run.ticket and not connections[write_database()].in_atomic_block
    return HandedOver(run=run, is_untold=is_untold, is_others=not publishes)

"""How far a sync run is, as numbers and in words: what a terminal and a page show alike."""

from dataclasses import dataclass

from django.utils.translation import gettext, ngettext

from .confirm import left_to_confirm
from .models import SyncRun
from .wording import number


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a bar shows: ``done`` of ``total``."""

    done: int
    total: int | None
    """``None`` while nobody knows, for the list does not say how long it is."""


def how_far(run: SyncRun) -> Extent:
    return extent(run, left=left_to_confirm(run) if run.phase == SyncRun.Phase.CONFIRM else 0)


def extent(run: SyncRun, *, left: int = 0) -> Extent:
    """``left``: how many missing conversations are still to be confirmed, if the run has come to that."""
    if run.phase == SyncRun.Phase.CONFIRM:
        confirmed = _confirmed(run)
        return Extent(done=confirmed, total=(confirmed + left) or None)
    if run.reached_end:
        return Extent(done=run.seen, total=run.seen or None)
    if run.mode == SyncRun.Mode.FULL and run.mirrored_before:
        return Extent(done=run.seen, total=max(run.mirrored_before, run.seen + 1))
    return Extent(done=run.seen, total=None)


def counts(run: SyncRun) -> str:
    """“12,300 conversations, 123 pages”, and how many missing ones were confirmed."""
    walked = [
        ngettext("%(count)s conversation", "%(count)s conversations", run.seen) % {"count": number(run.seen)},
        ngettext("%(count)s page", "%(count)s pages", run.pages) % {"count": number(run.pages)},
    ]
    confirmed = gettext("%(count)s missing ones confirmed") % {"count": number(_confirmed(run))}
    if run.mode == SyncRun.Mode.CONFIRM:
        return confirmed
    return ", ".join([*walked, confirmed] if run.phase == SyncRun.Phase.CONFIRM else walked)


def _confirmed(run: SyncRun) -> int:
    return run.tombstoned + run.unlisted

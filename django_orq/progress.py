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
    confirms = _is_about_missing_ones(run) and not run.is_finished
    return extent(run, left=left_to_confirm(run) if confirms else 0)


def extent(run: SyncRun, *, left: int = 0) -> Extent:
    """``left``: how many missing conversations are still to be confirmed, if the run has come to that."""
    ended_short = run.state in (SyncRun.State.FAILED, SyncRun.State.CANCELLED)
    if _is_about_missing_ones(run):
        confirmed = _confirmed(run)
        return Extent(done=confirmed, total=None if ended_short else (confirmed + left) or None)
    if run.reached_end and not ended_short:
        return Extent(done=run.seen, total=run.seen or None)
    if run.mode == SyncRun.Mode.FULL and run.mirrored_before:
        return Extent(done=run.seen, total=max(run.mirrored_before, run.seen + 1))
    return Extent(done=run.seen, total=None)


def counts(run: SyncRun) -> str:
    """“12,300 conversations, 123 pages”, and how many missing ones were looked up."""
    walked = [
        ngettext("%(count)s conversation", "%(count)s conversations", run.seen) % {"count": number(run.seen)},
        ngettext("%(count)s page", "%(count)s pages", run.pages) % {"count": number(run.pages)},
    ]
    confirmed = gettext("%(count)s of the missing looked up") % {"count": number(_confirmed(run))}
    if run.mode == SyncRun.Mode.CONFIRM:
        return confirmed
    return ", ".join([*walked, confirmed] if _is_about_missing_ones(run) or _confirmed(run) else walked)


def _is_about_missing_ones(run: SyncRun) -> bool:
    """Rather than about the list: a full run confirms at its end, and once it is over, its list is what counts."""
    is_confirming = run.phase == SyncRun.Phase.CONFIRM
    return is_confirming and (run.mode == SyncRun.Mode.CONFIRM or not run.is_finished)


def _confirmed(run: SyncRun) -> int:
    return run.tombstoned + run.unlisted

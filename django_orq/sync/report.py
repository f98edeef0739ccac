"""What a person should know: how a sync run ended, why it or an operation stands still, what the database lacks."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils.translation import gettext, ngettext, ngettext_lazy
from django.utils.translation import gettext as _

from ..exceptions import MustWait, WorkspaceDoubted
from ..models import Operation, SyncRun, Work
from ..queues import OPERATE, WALK, queue_of
from ..store.database import DatabaseClock, write_database
from ..store.leases import process_in_words
from ..text import number
from .confirm import left_to_confirm

PATIENCE = timedelta(minutes=1)
"""For so long, a run that no worker has taken need not mean that something is wrong."""
_COUNTED = {
    "rejected": ngettext_lazy(
        "%(count)s entry of Orq’s list could not be read: the admin lists it among the unreadable entries.",
        "%(count)s entries of Orq’s list could not be read: the admin lists them among the unreadable entries.",
        "counted",
    ),
    "outdated": ngettext_lazy(
        "Orq’s list shows %(count)s conversation with older values than Orq told before; the newer ones are kept.",
        "Orq’s list shows %(count)s conversations with older values than Orq told before; the newer ones are kept.",
        "counted",
    ),
    "unlisted": ngettext_lazy(
        "%(count)s conversation is missing from the list, though Orq still has it.",
        "%(count)s conversations are missing from the list, though Orq still has them.",
        "counted",
    ),
}

Tell = Callable[[datetime], str]
"""How a door says a time."""


def in_utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def remarks(run: SyncRun, *, for_terminal: bool = False, tell: Tell = in_utc) -> list[str]:
    """What a person should know about how a run ended or why it stands still; empty if all is well.

    ``for_terminal`` adds what to type, and who works on it; ``tell`` says times.
    """
    found = []
    if run.error_message and run.error_code != MustWait.code:  # which the wait says as well
        found.append(run.error_message)
    if run.error_code == WorkspaceDoubted.code and for_terminal:
        found.append(_("If key and address are right, let it go on: orq_sync --go-on %(run)s") % {"run": run.pk})
    if run.state == SyncRun.State.WAITING:
        found.append(_waiting(run, tell))
    elif run.state == SyncRun.State.RUNNING and run.lease_until:
        found.extend(_working(run, run.lease_until, tell if for_terminal else None))
    found.extend(untaken_run(run))
    found += [counted_in_words(counter, counted) for counter in _COUNTED if (counted := getattr(run, counter))]
    if run.fell_short:
        found.append(_("Orq’s list ended before it came to what is known here; the next full run will tell why."))
    if run.hold:
        found.append(_held(run))
        if for_terminal:
            found.append(_("To let it go on: orq_sync --go-on %(run)s") % {"run": run.pk})
    return found


def counted_in_words(counter: str, counted: int) -> str:
    """What is said of a column that counts what was not as it should be."""
    return str(_COUNTED[counter] % {"counted": counted, "count": number(counted)})


def database_in_words(error: Exception) -> str:
    """What a person should know whom the database gave this error."""
    text = _("The database does not answer as it should (%(error)s). Check DATABASES, and run “manage.py migrate”.")
    return text % {"error": type(error).__name__}


def _working(run: SyncRun, until: datetime, tell: Tell | None) -> list[str]:
    """Who works on it; to people who watch a page (no ``tell``) it is of interest only if that ended long ago."""
    if tell is not None:
        text = _("The %(walker)s works on it, or did and was killed: then others can go on after %(time)s.")
        return [text % {"walker": process_in_words(run.walker), "time": tell(until)}]
    if until > DatabaseClock(write_database()).now():
        return []
    return [_("The worker that had it seems to have been killed. The next scheduled sync goes on from the last page.")]


def _needs_worker(run: SyncRun) -> bool:
    """Whether the run stands still, though neither a person nor a budget holds it."""
    if run.is_finished or run.lease_until or run.wait == SyncRun.Wait.BUDGET:
        return False
    return run.state in (SyncRun.State.QUEUED, SyncRun.State.RUNNING, SyncRun.State.WAITING)


def remarks_on_operation(operation: Operation, *, tell: Tell = in_utc) -> list[str]:
    """Why an operation stands still; empty if it does not. ``tell`` says times."""
    if operation.is_finished or is_being_done(operation):
        return []
    return [*_why(operation, tell), *untaken_operation(operation)]


def _why(operation: Operation, tell: Tell) -> list[str]:
    if operation.error_code == MustWait.code and operation.resume_at is not None:
        return [_("Orq asks us to wait until %(time)s.") % {"time": tell(operation.resume_at)}]
    return [operation.error_message] if operation.error_message else []


def is_being_done(work: Work) -> bool:
    """Whether somebody works on it, who may have died a moment ago."""
    return work.lease_until is not None and work.lease_until >= DatabaseClock(write_database()).now()


def untaken_operation(operation: Operation) -> list[str]:
    """Why no worker does it, if that has been so for a while."""
    due = operation.resume_at or operation.lease_until or operation.started_at or operation.ordered_at
    return _untaken(operation, task=OPERATE, due=due)


def _untaken(work: Work, *, task: str, due: datetime) -> list[str]:
    """``due`` is since when a worker should."""
    now = DatabaseClock(write_database()).now()
    if work.enqueued_at is None:
        return [] if now - due < PATIENCE else [_untold()]
    if now - work.enqueued_at < PATIENCE:
        return []
    minutes = int((now - work.enqueued_at) / timedelta(minutes=1))
    text = ngettext(
        "No worker has taken it for %(count)s minute. Is a worker listening to the queue “%(queue)s”?",
        "No worker has taken it for %(count)s minutes. Is a worker listening to the queue “%(queue)s”?",
        minutes,
    )
    return [text % {"count": number(minutes), "queue": queue_of(task)}]


def untaken_run(run: SyncRun) -> list[str]:
    """Why no worker takes it, if that has been so for a while, and neither a person nor a budget holds it."""
    if not _needs_worker(run):
        return []
    if run.enqueued_at is None and run.state == SyncRun.State.QUEUED:
        return [_untold()]
    # Without a message for a moment, between two slices or before a wait is over, is as it should be.
    return _untaken(run, task=WALK, due=run.resume_at or run.checkpoint_at or run.started_at or run.queued_at)


def _untold() -> str:
    return _(
        "No worker knows of it: the broker was out of reach, or nobody asked. The next scheduled sync takes it up."
    )


def _held(run: SyncRun) -> str:
    text = ngettext(
        "%(count)s missing conversation was held back, because %(reason)s. It was not marked as deleted. "
        "Look whether it should be gone; if so, let this run go on.",
        "%(count)s missing conversations were held back, because %(reason)s. None of them was marked as deleted. "
        "Look whether they should be gone; if so, let this run go on.",
        run.held,
    )
    return text % {"count": number(run.held), "reason": run.get_hold_display()}


def _waiting(run: SyncRun, tell: Tell) -> str:
    if run.wait == SyncRun.Wait.BUDGET or run.resume_at is None:
        return _("It has used up its budget of time or pages; the next sync of its kind goes on from there.")
    text = _("It waits until %(time)s, because %(reason)s.")
    return text % {"time": tell(run.resume_at), "reason": run.get_wait_display()}


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

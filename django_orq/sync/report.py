"""Status texts: how far a sync run is, how it ended, what approving it means, and why work stands still."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.utils.translation import ngettext, ngettext_lazy

from ..exceptions import MustWait
from ..models import Operation, SyncRun, Work
from ..queues import OPERATE, WALK, queue_of
from ..store.database import DatabaseClock, write_database
from ..text import number
from .confirm import left_to_confirm
from .runs import can_be_approved

State = SyncRun.State

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

FormatTime = Callable[[datetime], str]
"""How a door says a time."""


def in_utc(moment: datetime) -> str:
    """“14:05:09 UTC”, with the date if that is not today."""
    moment = moment.astimezone(UTC)
    day = "" if moment.date() == datetime.now(UTC).date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M:%S} UTC"


def remarks(run: SyncRun, *, for_terminal: bool = False, format_time: FormatTime = in_utc) -> list[str]:
    """What a person should know about how a run ended or why it stands still; empty if all is well.

    ``for_terminal`` adds what to type, and who works on it; ``format_time`` says times.
    """
    found = []
    if run.error_message and run.error_code != MustWait.code:  # which the wait says as well
        found.append(run.error_message)
    if run.state == State.WAITING:
        found.append(_waiting(run, format_time))
    elif run.state == State.RUNNING and run.lease_until:
        found.extend(_working(run, run.lease_until, format_time if for_terminal else None))
    found.extend(not_taken_run(run))
    found += [counted_in_words(counter, counted) for counter in _COUNTED if (counted := getattr(run, counter))]
    if run.ended_early:
        found.append(_("Orq’s list ended before it came to what is known here; the next full run will tell why."))
    if run.needs_approval:
        found.extend(_needs_review(run, for_terminal=for_terminal))
    return found + [_approved(approval, format_time) for approval in run.approvals]


_MEANINGS = {
    State.QUEUED: _lazy("It waits for a worker to take it."),
    State.WAITING: _lazy("Waiting; it resumes automatically."),
    State.PAUSED: _lazy("Paused. Resume it to continue from its last page."),
    State.SUCCEEDED: _lazy("Completed."),
    State.PARTIAL: _lazy("Completed with problems:"),
    State.FAILED: _lazy("It broke off. What it had mirrored until then is here; the next sync starts anew."),
    State.CANCELLED: _lazy("Cancelled. What it had mirrored until then is here."),
    SyncRun.Phase.WALK: _lazy("A worker goes through Orq’s list."),
    SyncRun.Phase.CONFIRM: _lazy("A worker asks Orq for the conversations that are missing, one by one."),
    SyncRun.Mode.INCREMENTAL: _lazy("It looks for new conversations, from the newest on until it meets known ones."),
    SyncRun.Mode.FULL: _lazy("It goes through all of Orq’s list, and finds renamed and deleted conversations too."),
}


def meaning_of_state(run: SyncRun) -> str:
    """What it means for a run to be in its state; for one that is running, what it does now."""
    return str(_MEANINGS[SyncRun.Phase(run.phase) if run.state == State.RUNNING else State(run.state)])


def meaning_of_mode(run: SyncRun) -> str:
    """What a run of its kind does."""
    return str(_MEANINGS[SyncRun.Mode(run.mode)])


def counted_in_words(counter: str, counted: int) -> str:
    """What is said of a column that counts what was not as it should be."""
    return str(_COUNTED[counter] % {"counted": counted, "count": number(counted)})


def database_in_words(error: Exception) -> str:
    """What a person should know whom the database gave this error."""
    text = _("The database does not answer as it should (%(error)s). Check DATABASES, and run “manage.py migrate”.")
    return text % {"error": type(error).__name__}


def _working(run: SyncRun, until: datetime, format_time: FormatTime | None) -> list[str]:
    """Who works on it; on a page (without ``format_time``) only if that ended long ago."""
    if format_time is not None:
        text = _("The %(worker)s works on it, or did and was killed: then others can go on after %(time)s.")
        return [text % {"worker": run.worker, "time": format_time(until)}]
    if until > DatabaseClock(write_database()).now():
        return []
    return [_("The worker that had it seems to have been killed. The next scheduled sync goes on from the last page.")]


def _needs_worker(run: SyncRun) -> bool:
    """Whether the run stands still, though neither a person nor a budget holds it."""
    if run.is_finished or run.lease_until or run.wait == SyncRun.Wait.BUDGET:
        return False
    return run.state in (State.QUEUED, State.RUNNING, State.WAITING)


def remarks_on_operation(operation: Operation, *, format_time: FormatTime = in_utc) -> list[str]:
    """Why an operation stands still; empty if it does not. ``format_time`` says times."""
    if operation.is_finished or is_being_done(operation):
        return []
    return [*_why(operation, format_time), *not_taken_operation(operation)]


def _why(operation: Operation, format_time: FormatTime) -> list[str]:
    if operation.error_code == MustWait.code and operation.resume_at is not None:
        return [_("Orq asks us to wait until %(time)s.") % {"time": format_time(operation.resume_at)}]
    return [operation.error_message] if operation.error_message else []


def is_being_done(work: Work) -> bool:
    """Whether somebody works on it, who may have died a moment ago."""
    return work.lease_until is not None and work.lease_until >= DatabaseClock(write_database()).now()


def not_taken_operation(operation: Operation) -> list[str]:
    """Why no worker does it, if that has been so for a while."""
    due = operation.resume_at or operation.lease_until or operation.started_at or operation.requested_at
    return _not_taken(operation, task=OPERATE, due=due)


def _not_taken(work: Work, *, task: str, due: datetime) -> list[str]:
    """``due`` is since when a worker should."""
    now = DatabaseClock(write_database()).now()
    if work.enqueued_at is None:
        return [] if now - due < PATIENCE else [_not_enqueued()]
    if now - work.enqueued_at < PATIENCE:
        return []
    minutes = int((now - work.enqueued_at) / timedelta(minutes=1))
    text = ngettext(
        "No worker has taken it for %(count)s minute. Is a worker listening to the queue “%(queue)s”?",
        "No worker has taken it for %(count)s minutes. Is a worker listening to the queue “%(queue)s”?",
        minutes,
    )
    return [text % {"count": number(minutes), "queue": queue_of(task)}]


def not_taken_run(run: SyncRun) -> list[str]:
    """Why no worker takes it, if that has been so for a while, and neither a person nor a budget holds it."""
    if not _needs_worker(run):
        return []
    if run.enqueued_at is None and run.state == State.QUEUED:
        return [_not_enqueued()]
    # Without a message for a moment, between two slices or before a wait is over, is as it should be.
    return _not_taken(run, task=WALK, due=run.resume_at or run.checkpoint_at or run.started_at or run.queued_at)


def _not_enqueued() -> str:
    return _(
        "No worker knows of it: the broker was out of reach, or nobody asked. The next scheduled sync takes it up."
    )


def _needs_review(run: SyncRun, *, for_terminal: bool) -> list[str]:
    if not can_be_approved(run):
        return [_("It was stopped for review, and a later sync run has settled that.")]
    found = [_missing_in_words(run)] if run.to_approve else []
    if for_terminal:
        found.append(_("To approve it: orq_sync --approve %(run)s") % {"run": run.pk})
    return found


def _missing_in_words(run: SyncRun) -> str:
    text = ngettext(
        "%(count)s missing conversation needs review (%(reason)s). Nothing was deleted. If the deletion is correct, "
        "approve this run.",
        "%(count)s missing conversations need review (%(reason)s). Nothing was deleted. If the deletions are correct, "
        "approve this run.",
        run.to_approve,
    )
    return text % {"count": number(run.to_approve), "reason": run.get_needs_approval_display()}


def _approved(approval: Mapping[str, Any], format_time: FormatTime) -> str:
    text = _("Approved by %(by)s at %(time)s (%(reason)s).")
    time = format_time(datetime.fromisoformat(approval["at"]))
    return text % {"by": approval["by"], "time": time, "reason": SyncRun.Approval(approval["reason"]).label}


def what_approval_does(run: SyncRun) -> list[str]:
    """What follows from approving a run that was stopped for review, for the person who decides; a paragraph each."""
    if run.needs_approval == SyncRun.Approval.WORKSPACE:
        vouched = _(
            "By approving you confirm that the API key and base URL belong to this workspace: the run goes through "
            "Orq’s list again from its beginning and mirrors what it finds. What Orq’s list does not show is deleted "
            "here only after another approval. In Orq itself, nothing is changed."
        )
        return [run.error_message, vouched]
    text = ngettext(
        "If you approve it, the run asks Orq for the %(count)s conversation that is still missing. If Orq does not "
        "know it, it is marked as deleted here; if Orq has it, it stays. What went missing later is left alone. In "
        "Orq itself, nothing is changed.",
        "If you approve it, the run asks Orq for each of the %(count)s conversations that are still missing. Those "
        "that Orq does not know are marked as deleted here, however many they are; those that Orq has stay. What "
        "went missing later is left alone. In Orq itself, nothing is changed.",
        left := left_to_confirm(run),
    )
    none_left = _("None of them is missing any more: the run finds nothing to do.")
    return [_missing_in_words(run), text % {"count": number(left)} if left else none_left]


def _waiting(run: SyncRun, format_time: FormatTime) -> str:
    if run.wait == SyncRun.Wait.BUDGET or run.resume_at is None:
        return _("It has used up its budget of time; the next sync of its kind goes on from there.")
    text = _("It waits until %(time)s, because %(reason)s.")
    return text % {"time": format_time(run.resume_at), "reason": run.get_wait_display()}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a bar shows: ``done`` of ``total``."""

    done: int
    total: int | None
    """``None`` while nobody knows, for the list does not say how long it is."""


def how_far(run: SyncRun) -> Progress:
    """Of the list, or, once the run has come to that, of the missing conversations."""
    if _is_confirming(run):
        confirmed = _confirmed(run)
        return Progress(done=confirmed, total=(confirmed + left_to_confirm(run)) or None)
    ended_short = run.state in (State.FAILED, State.CANCELLED)
    if run.reached_end and not ended_short:
        return Progress(done=run.seen, total=run.seen or None)
    if run.mode == SyncRun.Mode.FULL and run.mirrored_before:
        return Progress(done=run.seen, total=max(run.mirrored_before, run.seen + 1))
    return Progress(done=run.seen, total=None)


def counts(run: SyncRun) -> str:
    """“12,300 conversations, 123 pages”, and how many missing ones were looked up."""
    found = [
        ngettext("%(count)s conversation", "%(count)s conversations", run.seen) % {"count": number(run.seen)},
        ngettext("%(count)s page", "%(count)s pages", run.pages) % {"count": number(run.pages)},
    ]
    if _is_confirming(run) or _confirmed(run):
        found.append(_("%(count)s of the missing looked up") % {"count": number(_confirmed(run))})
    return ", ".join(found)


def _is_confirming(run: SyncRun) -> bool:
    return run.phase == SyncRun.Phase.CONFIRM and not run.is_finished


def _confirmed(run: SyncRun) -> int:
    return run.tombstoned + run.unlisted

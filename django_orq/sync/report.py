"""Status texts: the progress of a sync run, how it ended, what its approval means, and why work has stalled."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.formats import date_format
from django.utils.module_loading import import_string
from django.utils.timezone import localtime
from django.utils.translation import gettext as _, gettext_lazy as _lazy, ngettext, ngettext_lazy

from .. import logs
from ..conf import get_workspace
from ..exceptions import MustWait, explain
from ..models import ConversationChange, Operation, SyncRun, Work
from ..payloads import created_at
from ..queues import OPERATE, WALK, queue_of
from ..store.database import DatabaseClock, write_database
from ..text import for_reader, number
from . import intervals
from .claim import CLAIMABLE
from .confirm import left_to_confirm
from .runs import can_be_approved

State = SyncRun.State

PATIENCE = timedelta(minutes=1)
"""How long a run may wait for a worker before that is reported."""
_COUNTED = {
    "rejected": ngettext_lazy(
        "%(count)s item from Orq was rejected. See “Rejected items” in the admin.",
        "%(count)s items from Orq were rejected. See “Rejected items” in the admin.",
        "counted",
    ),
    "outdated": ngettext_lazy(
        "Orq’s list was out of date for %(count)s conversation. The newer values that Orq returned before were kept.",
        "Orq’s list was out of date for %(count)s conversations. The newer values that Orq returned before were kept.",
        "counted",
    ),
    "unlisted": ngettext_lazy(
        "%(count)s conversation is missing from Orq’s list, but still exists in Orq.",
        "%(count)s conversations are missing from Orq’s list, but still exist in Orq.",
        "counted",
    ),
}

_MAX_ID = 12
"""Characters of a person's id that are shown completely."""
FormatTime = Callable[[datetime], str]
"""Formats a time for the reader."""


def people(workspace: str, ids: Iterable[str | None]) -> dict[str, str]:
    """Return the names of people by their ids in Orq, as far as the workspace's ``PEOPLE`` knows them."""
    wanted = sorted({id_ for id_ in ids if id_})
    try:
        source: Any = get_workspace(workspace).people if wanted else None
        source = import_string(source) if isinstance(source, str) else source
        names = source(wanted) if callable(source) else source or {}
        return {id_: str(names[id_]) for id_ in wanted if names.get(id_)}
    except ImproperlyConfigured:  # reported by a check, and when Orq is contacted
        return {}
    except Exception:  # of the project's; the page is more important
        logs.log(logs.PEOPLE_FAILED, workspace=workspace, exc_info=True)
        return {}


def name_actors(changes: list[dict[str, Any]]) -> None:
    """Set ``actor_name`` of the values of changes that were made in Orq, as far as the names are known."""
    in_orq = [row for row in changes if row["origin"] == ConversationChange.Origin.ORQ]
    names = people(changes[0]["workspace"], [row["actor_id"] for row in in_orq])
    for row in in_orq:
        row["actor_name"] = names.get(row["actor_id"], "")


def person(id_: str | None, names: Mapping[str, str]) -> str:
    """Return a person's name, or a short form of the id."""
    id_ = id_ or ""
    return names.get(id_) or (id_ if len(id_) <= _MAX_ID else f"{id_[:4]}…{id_[-4:]}")


def in_utc(moment: datetime) -> str:
    """Return the time as “14:05:09 UTC”, with the date if it is not today."""
    moment = moment.astimezone(UTC)
    day = "" if moment.date() == datetime.now(UTC).date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M:%S} UTC"


def remarks(run: SyncRun, *, for_terminal: bool = False, format_time: FormatTime = in_utc) -> list[str]:
    """Return sentences on how a run ended or why it does not continue; empty if there is nothing to report.

    ``for_terminal`` adds what only operators need: technical advice, the commands to run, and the worker that has the
    run. Other readers are told to ask the administrator. ``format_time`` formats times.
    """
    found = []
    if run.error_code not in ("", MustWait.code, "pace_kept"):  # `_waiting` reports these two
        found.append(explain(run.error_code, run.error_params, for_operator=for_terminal))
    if run.state == State.WAITING:
        found.append(_waiting(run, format_time))
    elif run.state == State.RUNNING and run.lease_until:
        found.extend(_working(run, run.lease_until, format_time, for_terminal=for_terminal))
    found.extend(not_taken(run, for_terminal=for_terminal))
    found += [counted_in_words(counter, counted) for counter in _COUNTED if (counted := getattr(run, counter))]
    if run.ended_early:
        found.append(_("Orq’s list ended early: it did not reach what had been mirrored before."))
    if run.needs_approval:
        found.extend(_needs_review(run, for_terminal=for_terminal))
    return found + [_approved(approval, format_time) for approval in run.approvals]


_MEANINGS = {
    State.QUEUED: _lazy("Waiting to be processed."),
    State.WAITING: _lazy("Resumes automatically."),
    State.PAUSED: _lazy("Resume it to continue where it stopped."),
    State.SUCCEEDED: _lazy("There were no problems."),
    State.PARTIAL: _lazy("These problems were found:"),
    State.FAILED: _lazy("Changes mirrored before the failure are kept. The next sync starts a new run."),
    State.CANCELLED: _lazy("Changes mirrored before the cancellation are kept."),
    SyncRun.Phase.WALK: _lazy("Reading Orq’s list."),
    SyncRun.Phase.CONFIRM: _lazy("Looking up the missing conversations in Orq, one by one."),
    SyncRun.Mode.INCREMENTAL: _lazy("Reads the newest conversations until it reaches those already mirrored."),
    SyncRun.Mode.FULL: _lazy("Reads all of Orq’s list, and also finds renamed and deleted conversations."),
}


def meaning_of_state(run: SyncRun) -> str:
    """Return what the run's state means; for a run that is running, what it is doing."""
    return str(_MEANINGS[SyncRun.Phase(run.phase) if run.state == State.RUNNING else State(run.state)])


def meaning_of_mode(run: SyncRun) -> str:
    """Return what a run of this mode does."""
    return str(_MEANINGS[SyncRun.Mode(run.mode)])


def counted_in_words(counter: str, counted: int) -> str:
    """Return a sentence on a counter of problems: ``rejected``, ``outdated`` or ``unlisted``."""
    return str(_COUNTED[counter] % {"counted": counted, "count": number(counted)})


def database_in_words(error: Exception) -> str:
    """Return what to tell an operator about a database error."""
    text = _("The database returned an error (%(error)s). Check DATABASES, and run “manage.py migrate”.")
    return text % {"error": type(error).__name__}


def _working(run: SyncRun, until: datetime, format_time: FormatTime, *, for_terminal: bool) -> list[str]:
    """Return whether the lease of the worker that has the run has expired; for a terminal, also which worker it is."""
    has_expired = until <= DatabaseClock(write_database()).now()
    if not for_terminal:
        return [_("Processing was interrupted. The next scheduled sync resumes it.")] if has_expired else []
    text = _("Worker: %(worker)s. If it has died, another worker can resume the run after %(time)s.")
    if has_expired:
        text = _("The worker (%(worker)s) appears to have died. The next scheduled sync resumes the run.")
    return [text % {"worker": run.worker, "time": format_time(until)}]


def remarks_on_operation(operation: Operation, *, format_time: FormatTime = in_utc) -> list[str]:
    """Return the reasons why an operation does not continue, as sentences for support staff; empty if it continues.

    ``format_time`` formats times.
    """
    if operation.is_finished or is_being_done(operation):
        return []
    code, resume_at = operation.error_code, operation.resume_at
    found = [explain(code, operation.error_params, for_operator=False)] if code and code != MustWait.code else []
    if resume_at is not None:
        text = _("Orq accepts no requests until %(time)s.") if code == MustWait.code else _("Resumes after %(time)s.")
        found.append(text % {"time": format_time(resume_at)})
    return found + not_taken(operation, for_terminal=False)


def is_being_done(work: Work) -> bool:
    """Return whether a worker holds the lease. That worker may have died in the meantime."""
    return work.lease_until is not None and work.lease_until >= DatabaseClock(write_database()).now()


def not_taken(work: SyncRun | Operation, *, for_terminal: bool) -> list[str]:
    """Return why no worker has taken a run or an operation, if it is overdue by more than ``PATIENCE``.

    For a run that is queued, also if no worker was notified.
    """
    if isinstance(work, SyncRun):
        if work.state not in CLAIMABLE or work.lease_until or work.wait == SyncRun.Wait.BUDGET:
            return []
        # Between two slices, and shortly before a wait is over, a run normally has no message for a moment.
        is_queued, task, begun_at = work.state == State.QUEUED, WALK, work.checkpoint_at or work.started_at
        due = work.resume_at or begun_at or work.queued_at
    else:
        is_queued, task, begun_at = False, OPERATE, work.lease_until or work.started_at
        due = work.resume_at or begun_at or work.requested_at
    now = DatabaseClock(write_database()).now()
    if work.enqueued_at is None:
        text = _("No worker was notified. The message broker may have been unreachable.")
        text += " " + _("The next scheduled sync enqueues the work.")
        text = text if for_terminal else _("Waiting for the next scheduled sync.")
        return [text] if is_queued or now - due >= PATIENCE else []
    if now - work.enqueued_at < PATIENCE:
        return []
    minutes = int((now - work.enqueued_at) / timedelta(minutes=1))
    text = ngettext(
        "It has been waiting to be processed for %(count)s minute.\nIs a worker consuming the queue “%(queue)s”?",
        "It has been waiting to be processed for %(count)s minutes.\nIs a worker consuming the queue “%(queue)s”?",
        minutes,
    )
    return [for_reader(text, is_operator=for_terminal) % {"count": number(minutes), "queue": queue_of(task)}]


_NONE_LEFT = _lazy("The conversations that needed review are no longer missing, so you need not approve the run.")


def _needs_review(run: SyncRun, *, for_terminal: bool) -> list[str]:
    if not can_be_approved(run):
        return [_("This run was stopped for review, but no longer needs approval because of a later run.")]
    left = min(run.to_approve, left_to_confirm(run)) if run.to_approve else 0
    if run.to_approve and not left:
        return [str(_NONE_LEFT)]
    found = [_missing_in_words(run, left)] if left else []
    if for_terminal:
        found.append(_("To approve this run, run “manage.py orq_sync --approve %(run)s”.") % {"run": run.pk})
    return found


def _missing_in_words(run: SyncRun, count: int) -> str:
    text = ngettext(
        "%(count)s missing conversation needs review (%(reason)s). It was not marked as deleted. If it was deleted on "
        "purpose, approve this run. Otherwise it is kept.",
        "%(count)s missing conversations need review (%(reason)s). None of them was marked as deleted. If they were "
        "deleted on purpose, approve this run. Otherwise they are kept.",
        count,
    )
    text %= {"count": number(count), "reason": run.get_needs_approval_display()}
    if run.needs_approval == SyncRun.Approval.NO_CANARY:
        text += " " + _("If Orq still returns none of the conversations that are known to exist, the run stops again.")
    return text


def _approved(approval: Mapping[str, Any], format_time: FormatTime) -> str:
    text = _("Approved by %(by)s (%(time)s). The run had been stopped for review: %(reason)s.")
    time = format_time(datetime.fromisoformat(approval["at"]))
    return text % {"by": approval["by"], "time": time, "reason": SyncRun.Approval(approval["reason"]).label}


def what_approval_does(run: SyncRun) -> list[str]:
    """Return the consequences of approving a run that was stopped for review; each string is a paragraph."""
    if run.needs_approval == SyncRun.Approval.WORKSPACE:
        confirmed = _(
            "By approving you confirm that the API key and base URL belong to this workspace. The run then reads "
            "Orq’s list again from the beginning and mirrors it. Conversations that the list does not contain are "
            "marked as deleted here only after another approval. Nothing is changed in Orq itself."
        )
        return [explain(run.error_code, run.error_params, for_operator=False), confirmed]
    text = _(
        "If you approve this run, it looks up the conversations that Orq’s list omits (%(count)s), one by one. Those "
        "that no longer exist in Orq are marked as deleted here, however many there are; the others are kept. "
        "Conversations that went missing later are not checked by this run. Nothing is changed in Orq itself."
    )
    if not (left := left_to_confirm(run)):
        return [str(_NONE_LEFT)]
    return [_missing_in_words(run, min(run.to_approve, left)), text % {"count": number(left)}]


def _waiting(run: SyncRun, format_time: FormatTime) -> str:
    if run.wait == SyncRun.Wait.BUDGET or run.resume_at is None:
        return _("The run’s time budget is used up. The next sync of the same mode resumes it.")
    text = _("The run can resume after %(time)s (%(reason)s).")
    return text % {"time": format_time(run.resume_at), "reason": run.get_wait_display()}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run or an operation: conversations ``done`` out of ``total``."""

    done: int
    total: int | None
    """``None`` while unknown, because the list does not give its length."""
    label: str = ""
    """For one of several intervals: when its conversations were created."""


def how_far(run: SyncRun) -> Progress:
    """Return the progress through the list or, while the run confirms missing conversations, through those."""
    if _is_confirming(run):
        return Progress(done=run.looked_up, total=(run.looked_up + left_to_confirm(run)) or None)
    if run.reached_end and run.state not in (State.FAILED, State.CANCELLED):
        return Progress(done=run.seen, total=run.seen or None)
    if run.mode == SyncRun.Mode.FULL and run.mirrored_before:
        return Progress(done=run.seen, total=max(run.mirrored_before, run.seen + 1))
    return Progress(done=run.seen, total=None)


def how_far_each(run: SyncRun) -> list[Progress]:
    """Return the progress through each interval while a run reads several, the newest first; otherwise nothing.

    The totals are estimates: the list was cut into intervals with about the same number of rows.
    """
    found = intervals.of(run)
    if len(found) == 1 or run.phase != SyncRun.Phase.WALK:
        return []
    cuts = [localtime(created_at(one.down_to)) for one in found if one.down_to]
    style = "DATE_FORMAT" if len({cut.date() for cut in cuts}) == len(cuts) else "DATETIME_FORMAT"
    bounds = [_("now"), *(date_format(cut, style) for cut in cuts), _("the beginning")]
    text = _("Created from %(since)s to %(until)s")
    labels = [text % {"since": since, "until": until} for until, since in pairwise(bounds)]
    totals = [max(run.mirrored_before // len(found), one.entries + 1) for one in found]
    return [
        Progress(done=total if one.done else one.entries, total=total, label=label)
        for one, total, label in zip(found, totals, labels, strict=True)
    ]


def counts(run: SyncRun) -> str:
    """Return, for example, “12,300 conversations, 123 pages, 5 looked up by id” (the missing conversations)."""
    found = [
        ngettext("%(count)s conversation", "%(count)s conversations", run.seen) % {"count": number(run.seen)},
        ngettext("%(count)s page", "%(count)s pages", run.pages) % {"count": number(run.pages)},
    ]
    if _is_confirming(run) or run.looked_up:
        found.append(_("%(count)s looked up by id") % {"count": number(run.looked_up)})
    return ", ".join(found)


def _is_confirming(run: SyncRun) -> bool:
    return run.phase == SyncRun.Phase.CONFIRM and not run.is_finished

"""Writes Orq's values into rows. No other module does, whichever request an answer belongs to.

``rules`` decides what is written. Apart from this module, only ``orq_prune`` changes rows: it scrubs and deletes old
tombstones.
"""

import random
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.dispatch import Signal

from ..exceptions import MirrorContended
from ..models import Conversation, SyncRun
from ..payloads import RemoteConversation
from ..signals import conversation_created, conversation_deleted, conversation_restored, conversation_updated
from . import history
from .database import all_rows, is_contention, is_refusal, locked, reason_of, short_transaction, write_database
from .history import Recorded, Request, Requester
from .rows import insert_rows, update_rows
from .rules import REMOTE_COLUMNS, Answer, Change, Plan, Verdict, compare, differs

ATTEMPTS = 3
"""How often an answer is compared with the rows if other writers keep changing them."""
MAX_SECONDS = 10.0
"""After so long there is no further attempt: each may wait five seconds for a lock."""

_OWN_COLUMNS = ("mirrored_at", "missing_since", "confirmed_at", "deleted_at")
_COLUMNS = (*REMOTE_COLUMNS, "extra", "fingerprint", *_OWN_COLUMNS)


class _Moved(Exception):
    """A row has changed since the answer was compared with it."""


def reconcile(
    answer: Answer,
    *,
    workspace: str,
    fence: Callable[[Plan], None] | None = None,
    run: SyncRun | None = None,
    request: Request | None = None,
    attempts: int = ATTEMPTS,
) -> Plan:
    """Apply an answer to the rows in one short transaction, record the changes, and return them.

    ``fence`` is called first in the transaction; if it raises, nothing is written. ``request`` is the request of ours
    that Orq answered, if it was to change something. Raises ``MirrorContended`` if other writers were in the way in
    each of ``attempts`` attempts.
    """
    begun_at, refusals = time.monotonic(), 0
    for attempt in range(1, attempts + 1):
        if attempt > 1 and time.monotonic() - begun_at > MAX_SECONDS:
            break
        if attempt > 1:  # let other writers finish; the random time keeps two from colliding again
            time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 # jitter
        plan = compare(answer, workspace=workspace, again=attempt > 1)
        if fence is None and request is None and not plan.writes:
            return plan
        try:
            with short_transaction():
                (fence or _lock)(plan)
                _write(plan, run, request)
        except _Moved:
            continue
        except DatabaseError as error:  # probably another writer inserted the same id
            refusals += is_refusal(error)
            if not (is_contention(error) or (is_refusal(error) and refusals == 1)):
                raise
        else:
            return plan
    raise MirrorContended


def refused(answer: Answer, *, workspace: str) -> dict[str, str]:
    """Find which conversations of an answer the database refuses, by trying ever smaller parts of it.

    Returns their ids with the reasons, in English. Writes nothing: each attempt is rolled back.
    """
    reasons: dict[str, str] = {}
    parts = [list(answer.conversations)]
    while parts:
        part = parts.pop()
        plan = compare(replace(answer, conversations=part), workspace=workspace, again=True)
        try:
            with short_transaction() as connection:
                _write(plan, None, None)
                if connection.vendor == "postgresql":
                    connection.check_constraints()  # deferred ones as well
                transaction.set_rollback(True, using=write_database())
        except _Moved:
            continue
        except DatabaseError as error:
            if not is_refusal(error):
                raise
            if middle := len(part) // 2:
                parts += [part[:middle], part[middle:]]
            elif not (plan.new and all_rows().filter(workspace=workspace, remote_id=part[0].remote_id).exists()):
                reasons[part[0].remote_id] = f"the database refused it: {reason_of(error)}"
    return reasons


def mark_deleted(
    conversation: Conversation, *, asked_at: datetime, received_at: datetime, by: Requester, was_ours: bool
) -> None:
    """Turn the row into a tombstone after a delete that a user requested, whether or not Orq still had it.

    ``was_ours`` says that our request deleted it: then a tombstone from before it had been restored in Orq, and an
    entry that a confirmation wrote since belongs to the requester.
    """
    at = {"deleted_at": received_at, "mirrored_at": received_at}
    row = all_rows().filter(pk=conversation.pk)
    with short_transaction():
        was_restored = was_ours and row.filter(deleted_at__lt=asked_at).update(**at)
        if was_restored or row.filter(deleted_at=None).update(**at):
            tombstone = row.get()
            if was_restored:
                history.record_restoration(tombstone, recorded_at=received_at)
            recorded = history.record_deletions([tombstone], recorded_at=received_at, by=by)
            announce(conversation_deleted, [tombstone], None, recorded)
        elif was_ours or by.repeats_since:
            history.take_over_deletion(conversation, by, since=by.repeats_since or asked_at)


def mark_gone(rows: Sequence[Conversation], *, asked_at: datetime, received_at: datetime, run: SyncRun) -> int:
    """Turn missing rows into tombstones after Orq returned 404 for their ids, and return how many.

    A row that was mirrored or found by its id since ``asked_at`` stays unchanged. Call it inside a transaction.
    """
    still = all_rows().filter(
        Q(confirmed_at=None) | Q(confirmed_at__lt=asked_at),  # a refresh may have found it in the meantime
        pk__in=[row.pk for row in rows],
        deleted_at=None,
        missing_since__isnull=False,
        mirrored_at__lt=asked_at,
    )
    tombstones = list(locked(still))
    all_rows().filter(pk__in=[row.pk for row in tombstones]).update(deleted_at=received_at, mirrored_at=received_at)
    for row in tombstones:
        row.deleted_at = row.mirrored_at = received_at
    recorded = history.record_deletions(tombstones, recorded_at=received_at, run=run)
    announce(conversation_deleted, tombstones, run, recorded)
    return len(tombstones)


def mark_absent(rows: QuerySet[Conversation], answer: Answer) -> int:
    """Mark as missing the live rows that the list omitted, except those mirrored since the request; return how many.

    The confirmation requests each of them by its id.
    """
    live = rows.filter(deleted_at=None, missing_since=None, mirrored_at__lt=answer.asked_at)
    return live.update(missing_since=answer.asked_at)


def unmark(workspace: str, ids: Sequence[str], *, since: datetime) -> None:
    """Unmark missing rows that the list showed out of place, if another interval marked them at ``since`` or later."""
    marked = all_rows().filter(workspace=workspace, remote_id__in=ids, missing_since__gte=since, confirmed_at=None)
    with short_transaction():
        marked.update(missing_since=None)


def mark_missing(conversation: Conversation, *, asked_at: datetime, received_at: datetime) -> None:
    """Mark a conversation as missing after Orq returned 404 for its id; the next full run confirms it.

    Does nothing if the row was mirrored since ``asked_at``.
    """
    unmarked = Q(missing_since=None) | Q(confirmed_at__isnull=False)
    rows = all_rows().filter(unmarked, pk=conversation.pk, deleted_at=None, mirrored_at__lt=asked_at)
    rows.update(missing_since=Coalesce(F("missing_since"), Value(received_at)), confirmed_at=None)


def _lock(plan: Plan) -> None:
    """Begin with a write: on SQLite a transaction that begins with a read cannot always be upgraded to write."""
    if rows := [each.row.pk for each in plan.changes if each.row]:
        all_rows().filter(pk__in=rows).update(mirrored_at=F("mirrored_at"))


def _write(plan: Plan, run: SyncRun | None, request: Request | None) -> None:
    changed = plan.changed
    new_values = [_changed_row(row, change, plan.answer) for change, row in changed]
    # The response to a request of ours may change nothing but the record, which others may be reading, too.
    _check_unmoved([each.row for each in plan.changes if each.row] if request else [row for _, row in changed])
    update_rows((row.pk, {column: getattr(row, column) for column in _COLUMNS}) for row in new_values)
    known = plan.answer.fingerprints
    same = {row.pk: {"fingerprint": known[row.remote_id], "mirrored_at": row.mirrored_at} for row in plan.recognized}
    update_rows(same.items(), unless_mirrored_since=True)
    insert_rows([_new_row(change.remote, plan) for change in plan.new])
    recorded = history.record(plan, run=run, request=request)
    for verdict, signal in ((Verdict.UPDATED, conversation_updated), (Verdict.RESTORED, conversation_restored)):
        of_verdict = [row for (change, _), row in zip(changed, new_values, strict=True) if change.verdict is verdict]
        announce(signal, of_verdict, run, recorded)
    if plan.new and conversation_created.has_listeners(Conversation):
        ids = [change.remote.remote_id for change in plan.new]
        new = all_rows().filter(workspace=plan.workspace, remote_id__in=ids).order_by("-remote_id")
        announce(conversation_created, list(new), run, recorded)


def announce(signal: Signal, rows: Sequence[Conversation], run: SyncRun | None, recorded: Recorded) -> None:
    """Send a signal for each row once the change is committed."""
    if rows and signal.has_listeners(Conversation):
        transaction.on_commit(partial(_send, signal, rows, run, recorded), using=write_database())


def _send(signal: Signal, rows: Sequence[Conversation], run: SyncRun | None, recorded: Recorded) -> None:
    for row in rows:
        row.indexed_state = row.state.value  # the database's, from before the change
        signal.send_robust(Conversation, conversation=row, run=run, change=recorded.get(row.remote_id))


def _check_unmoved(compared: Sequence[Conversation]) -> None:
    rows = locked(all_rows().filter(pk__in=[row.pk for row in compared]))
    current = {row.pk: _values(row) for row in rows}
    if any(current.get(row.pk) != _values(row) for row in compared):
        raise _Moved


def _values(row: Conversation) -> list[Any]:
    return [getattr(row, column) for column in _COLUMNS]


def _new_row(remote: RemoteConversation, plan: Plan) -> dict[str, Any]:
    """The columns of a new row; the others are null."""
    columns = {column: getattr(remote, name) for column, name in REMOTE_COLUMNS.items()}
    return columns | {
        "workspace": plan.workspace,
        "remote_id": remote.remote_id,
        "extra": remote.extra if plan.answer.listed else {},
        "fingerprint": plan.answer.fingerprints.get(remote.remote_id),
        "mirrored_at": plan.answer.received_at,
    }


def _changed_row(compared: Conversation, change: Change, answer: Answer) -> Conversation:
    row = copy(compared)  # the plan keeps the row in its state before the change
    if change.verdict is Verdict.RESTORED:
        row.deleted_at = row.missing_since = row.confirmed_at = None
    elif row.missing_since is not None and answer.asked_at > row.missing_since:
        row.confirmed_at = None if answer.listed else answer.received_at
        row.missing_since = None if answer.listed else row.missing_since
    if answer.listed:
        row.fingerprint = answer.fingerprints.get(row.remote_id)
    elif differs(row, change.remote, with_extra=False):
        row.fingerprint = None
    if change.verdict is not Verdict.REAPPEARED:
        _take(row, change.remote, answer)
    return row


def _take(row: Conversation, remote: RemoteConversation, answer: Answer) -> None:
    for column, name in REMOTE_COLUMNS.items():
        setattr(row, column, getattr(remote, name))
    if answer.listed:
        row.extra = remote.extra
    row.mirrored_at = max(row.mirrored_at, answer.received_at)

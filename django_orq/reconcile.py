"""Remote values into rows: the one writer of mirrored columns, whichever way an answer came in.

The rules of order, with the times of Orq compared among themselves and ours among themselves:

==============================================  ====================================================
``updated_at`` of the answer against the row's  what happens
==============================================  ====================================================
newer                                           take
equal, content differs                          take if asked for after the row was last mirrored
older, from a list                              skip; ``OUTDATED`` if asked for after that
older, from an answer for this id               take if asked for after that
any, and the row is a tombstone                 take and restore if asked for after that, else skip
==============================================  ====================================================
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from .exceptions import MirrorContended
from .models import Conversation, write_database
from .payloads import RemoteConversation

ATTEMPTS = 3
"""How often an answer is compared with the rows, when these keep changing in between."""

_REMOTE_COLUMNS = {
    "display_name": "display_name",
    "remote_created_at": "created_at",
    "remote_updated_at": "updated_at",
    "created_by_id": "created_by_id",
    "updated_by_id": "updated_by_id",
    "metadata": "metadata",
}
_OWN_COLUMNS = ("mirrored_at", "missing_since", "confirmed_at", "deleted_at")
_COLUMNS = (*_REMOTE_COLUMNS, "extra", *_OWN_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The conversations of one answer of Orq. Times are the database's, aware."""

    conversations: Sequence[RemoteConversation]
    asked_at: datetime
    received_at: datetime
    listed: bool
    """Whether it was a page of the list; only a list item's extra fields are kept."""


class Verdict(Enum):
    CREATED = auto()
    UPDATED = auto()
    RESTORED = auto()
    FOUND = auto()
    """Unchanged, and no longer missing."""
    UNCHANGED = auto()
    SKIPPED = auto()
    """An older answer, which arrived late."""
    OUTDATED = auto()
    """Older values in a list that was asked for after newer ones had been mirrored."""


_INERT = frozenset({Verdict.UNCHANGED, Verdict.SKIPPED, Verdict.OUTDATED})


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one remote conversation means for its row."""

    remote: RemoteConversation
    row: Conversation | None
    """The row that it was compared with, as it was before."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that one answer means for the mirror."""

    workspace: str
    answer: Answer
    changes: Sequence[Change]

    @property
    def counts(self) -> Counter[Verdict]:
        return Counter(change.verdict for change in self.changes)

    @property
    def new(self) -> list[Change]:
        return [change for change in self.changes if change.verdict is Verdict.CREATED]

    @property
    def changed(self) -> list[tuple[Change, Conversation]]:
        return [
            (change, change.row) for change in self.changes if change.row is not None and change.verdict not in _INERT
        ]


class _Moved(Exception):
    """A row is no longer what the answer was compared with."""


def reconcile(answer: Answer, *, workspace: str, fence: Callable[[Plan], None] | None = None) -> Plan:
    """Bring the rows up to an answer, in one short transaction, and return what that took.

    ``fence`` runs as the transaction's first statement and undoes all of it by raising. Raises ``MirrorContended`` if
    the rows keep changing between comparison and writing.
    """
    using = write_database()
    for attempt in range(1, ATTEMPTS + 1):
        plan = compare(answer, workspace=workspace)
        if fence is None and not plan.new and not plan.changed:
            return plan
        try:
            with transaction.atomic(using=using):
                (fence or _lock)(plan)
                _write(plan)
        except _Moved:
            continue
        except IntegrityError:  # another writer inserted the same id, unless it persists
            if attempt == ATTEMPTS:
                raise
        else:
            return plan
    raise MirrorContended


def compare(answer: Answer, *, workspace: str) -> Plan:
    """What an answer means for the rows as they are now; writes nothing."""
    newest = _newest_of_each(answer.conversations)
    rows = {row.remote_id: row for row in _rows().filter(workspace=workspace, remote_id__in=newest)}
    changes = [
        Change(remote=remote, row=rows.get(remote_id), verdict=judge(rows.get(remote_id), remote, answer))
        for remote_id, remote in newest.items()
    ]
    return Plan(workspace=workspace, answer=answer, changes=changes)


def judge(row: Conversation | None, remote: RemoteConversation, answer: Answer) -> Verdict:
    """The rules of order, for one conversation."""
    if row is None:
        return Verdict.CREATED
    asked_since = answer.asked_at > row.mirrored_at
    if row.deleted_at is not None:
        return Verdict.RESTORED if asked_since else Verdict.SKIPPED
    if remote.updated_at < row.remote_updated_at:
        return _judge_older(asked_since=asked_since, listed=answer.listed)
    if not _differs(row, remote, with_extra=answer.listed):
        return Verdict.FOUND if _is_found(row, answer) else Verdict.UNCHANGED
    if remote.updated_at > row.remote_updated_at or asked_since:
        return Verdict.UPDATED
    return Verdict.SKIPPED


def mark_deleted(conversation: Conversation, *, received_at: datetime) -> None:
    """Make the row a tombstone: a person ordered the delete, and Orq says that the conversation is gone."""
    _rows().filter(pk=conversation.pk, deleted_at=None).update(deleted_at=received_at, mirrored_at=received_at)


def mark_missing(conversation: Conversation, *, asked_at: datetime, received_at: datetime) -> None:
    """Orq knew no such id; a full run will confirm it. An answer newer than the question stands against it."""
    unmarked = Q(missing_since=None) | Q(confirmed_at__isnull=False)
    _rows().filter(unmarked, pk=conversation.pk, deleted_at=None, mirrored_at__lt=asked_at).update(
        missing_since=Coalesce(F("missing_since"), Value(received_at)), confirmed_at=None
    )


def _rows() -> QuerySet[Conversation]:
    """All rows, through the one query set that may write them."""
    return QuerySet(Conversation, using=write_database())


def _newest_of_each(conversations: Iterable[RemoteConversation]) -> dict[str, RemoteConversation]:
    newest: dict[str, RemoteConversation] = {}
    for remote in conversations:
        known = newest.get(remote.remote_id)
        if known is None or known.updated_at <= remote.updated_at:
            newest[remote.remote_id] = remote
    return newest


def _judge_older(*, asked_since: bool, listed: bool) -> Verdict:
    if not asked_since:
        return Verdict.SKIPPED
    return Verdict.OUTDATED if listed else Verdict.UPDATED


def _is_found(row: Conversation, answer: Answer) -> bool:
    if row.missing_since is None or answer.asked_at <= row.missing_since:
        return False
    return answer.listed or row.confirmed_at is None


def _differs(row: Conversation, remote: RemoteConversation, *, with_extra: bool) -> bool:
    if with_extra and not _same_json(row.extra, remote.extra):
        return True
    return any(not _same_json(getattr(row, column), getattr(remote, name)) for column, name in _REMOTE_COLUMNS.items())


def _same_json(ours: Any, theirs: Any) -> bool:
    """Equality that survives a database which rewrites numbers: PostgreSQL gives a large float back as an integer."""
    if ours == theirs:
        return True
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(_same_json(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same_json, ours, theirs))
    if isinstance(ours, int) and isinstance(theirs, float):
        return abs(ours) < 10**309 and float(ours) == theirs
    return False


def _lock(plan: Plan) -> None:
    """Begin with a write: on SQLite a transaction that begins by reading can't always go on to write."""
    rows = [row.pk for _change, row in plan.changed]
    if rows:
        _rows().filter(pk__in=rows).update(mirrored_at=F("mirrored_at"))


def _write(plan: Plan) -> None:
    changed = plan.changed
    if plan.new:
        _rows().bulk_create([_new_row(change.remote, plan) for change in plan.new])
    if changed:
        _check_unmoved([row for _change, row in changed])
        _rows().bulk_update([_changed_row(row, change, plan.answer) for change, row in changed], _COLUMNS)


def _check_unmoved(compared: Sequence[Conversation]) -> None:
    locked = _rows().select_for_update().filter(pk__in=[row.pk for row in compared]).order_by("remote_id")
    current = {row.pk: _values(row) for row in locked}
    if any(current.get(row.pk) != _values(row) for row in compared):
        raise _Moved


def _values(row: Conversation) -> list[Any]:
    return [getattr(row, column) for column in _COLUMNS]


def _new_row(remote: RemoteConversation, plan: Plan) -> Conversation:
    row = Conversation(workspace=plan.workspace, remote_id=remote.remote_id)
    _take(row, remote, plan.answer)
    return row


def _changed_row(compared: Conversation, change: Change, answer: Answer) -> Conversation:
    row = copy(compared)  # the plan keeps the row as it was
    if change.verdict is Verdict.RESTORED:
        row.deleted_at = row.missing_since = row.confirmed_at = None
    elif row.missing_since is not None and answer.asked_at > row.missing_since:
        row.confirmed_at = None if answer.listed else row.confirmed_at or answer.received_at
        row.missing_since = None if answer.listed else row.missing_since
    if change.verdict is not Verdict.FOUND:
        _take(row, change.remote, answer)
    return row


def _take(row: Conversation, remote: RemoteConversation, answer: Answer) -> None:
    for column, name in _REMOTE_COLUMNS.items():
        setattr(row, column, getattr(remote, name))
    if answer.listed:
        row.extra = remote.extra
    row.mirrored_at = max(row.mirrored_at or answer.received_at, answer.received_at)

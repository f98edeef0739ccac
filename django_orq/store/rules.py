"""Decides whether and how an answer from Orq changes a row. Reads only; ``reconcile`` writes.

These are the ordering rules. Orq's times are compared only with Orq's, and ours only with ours. “Later” means that the
answer was requested after the row was last mirrored:

==================================================  ==============================================
``updated_at`` of the answer against the row's      what happens to the row
==================================================  ==============================================
newer                                               updated
equal, and the content differs                      updated if later, otherwise skipped
equal, and the content is the same                  unchanged; if it was missing, it has reappeared
older, in a list                                    outdated if later, otherwise skipped
older, in an answer for this id                     updated if later, otherwise skipped
any, and the row is a tombstone                     restored if later, otherwise skipped
==================================================  ==============================================
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from django.db.models import Q

from ..models import Conversation
from ..payloads import RemoteConversation
from .database import all_rows

CONFIRMED_FOR = timedelta(days=1)
"""How long a missing conversation counts as alive after Orq returned it by its id."""
CHUNK = 1_000
"""The maximum number of rows of a range that are loaded at once."""
REMOTE_COLUMNS = {
    "display_name": "display_name",
    "remote_created_at": "created_at",
    "remote_updated_at": "updated_at",
    "created_by_id": "created_by_id",
    "updated_by_id": "updated_by_id",
    "metadata": "metadata",
}
"""The columns with Orq's values, each with the name of its field in ``RemoteConversation``."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The conversations in one answer from Orq. Times are aware and from the database's clock."""

    conversations: Sequence[RemoteConversation]
    asked_at: datetime
    received_at: datetime
    listed: bool
    """Whether the answer was a page of the list; ``extra`` is stored from list items only."""
    id_range: "IdRange | None" = None
    """The part of the list that the page covers; rows in it that the page omits are marked as missing."""


@dataclass(frozen=True, kw_only=True)
class IdRange:
    """The ids older than ``after`` (``None``: from the newest) down to ``to``, inclusive (``None``: to the oldest)."""

    after: str | None
    to: str | None
    met: frozenset[str]
    """Ids not to be marked as missing: on this page (even if rejected), on the previous one, or seen out of place."""

    @property
    def condition(self) -> Q:
        older = Q() if self.after is None else Q(remote_id__lt=self.after)
        return older if self.to is None else older & Q(remote_id__gte=self.to)

    def holds(self, remote_id: str) -> bool:
        return (self.after is None or remote_id < self.after) and (self.to is None or remote_id >= self.to)


class Verdict(Enum):
    CREATED = auto()
    UPDATED = auto()
    RESTORED = auto()
    REAPPEARED = auto()
    """The same values, but the row was missing and was found again."""
    UNCHANGED = auto()
    SKIPPED = auto()
    """Not applied, because the answer was requested before the row was last mirrored."""
    OUTDATED = auto()
    """Older values in a list that was requested after newer ones had been mirrored."""


_INERT = frozenset({Verdict.UNCHANGED, Verdict.SKIPPED, Verdict.OUTDATED})


@dataclass(frozen=True, kw_only=True)
class Change:
    """The effect of one remote conversation on its row."""

    remote: RemoteConversation
    row: Conversation | None
    """The row that the conversation was compared with, in its state before the change."""
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The effect of one answer on the mirror."""

    workspace: str
    answer: Answer
    changes: Sequence[Change]
    absent: Sequence[Conversation] = ()
    """Rows in the page's range that the page omits, to be marked as missing."""

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


class IdRangeTooLong(Exception):
    """The mirror has more than ``CHUNK`` rows in the range of one page; ``absent_in_chunks`` handles that."""


def compare(answer: Answer, *, workspace: str) -> Plan:
    """Compare an answer with the rows as they are now, without writing. May raise ``IdRangeTooLong``."""
    newest = _newest_of_each(answer.conversations)
    rows, absent = _rows_for(newest.keys(), answer, workspace)
    changes = [
        Change(remote=remote, row=rows.get(remote_id), verdict=judge(rows.get(remote_id), remote, answer))
        for remote_id, remote in newest.items()
    ]
    return Plan(workspace=workspace, answer=answer, changes=changes, absent=absent)


def is_absent(row: Conversation, answer: Answer) -> bool:
    """Whether a row in the answer's range is to be marked as missing."""
    return (
        row.deleted_at is None
        and row.missing_since is None
        and answer.asked_at > row.mirrored_at
        and (answer.id_range is None or row.remote_id not in answer.id_range.met)
    )


def judge(row: Conversation | None, remote: RemoteConversation, answer: Answer) -> Verdict:
    """Apply the ordering rules to one conversation."""
    if row is None:
        return Verdict.CREATED
    asked_since = answer.asked_at > row.mirrored_at
    if row.deleted_at is not None:
        return Verdict.RESTORED if asked_since else Verdict.SKIPPED
    if remote.updated_at < row.remote_updated_at:
        return _judge_older(asked_since=asked_since, listed=answer.listed)
    if not _differs(row, remote, with_extra=answer.listed):
        return Verdict.REAPPEARED if _has_reappeared(row, answer) else Verdict.UNCHANGED
    if remote.updated_at > row.remote_updated_at or asked_since:
        return Verdict.UPDATED
    return Verdict.SKIPPED


def absent_in_chunks(answer: Answer, *, workspace: str) -> Iterator[list[int]]:
    """Yield the primary keys of all absent rows of a long range, at most ``CHUNK`` at a time."""
    id_range = answer.id_range
    while id_range is not None:
        rows = list(all_rows().filter(id_range.condition, workspace=workspace).order_by("-remote_id")[:CHUNK])
        yield [row.pk for row in rows if is_absent(row, answer)]
        id_range = replace(id_range, after=rows[-1].remote_id) if len(rows) == CHUNK else None


def _rows_for(
    ids: Collection[str], answer: Answer, workspace: str
) -> tuple[dict[str, Conversation], list[Conversation]]:
    """The rows with these ids, and the absent rows of the range, in one query, or two if ids lie outside the range."""
    rows = all_rows().filter(workspace=workspace)
    id_range = answer.id_range
    if id_range is None:
        return {row.remote_id: row for row in rows.filter(remote_id__in=ids)}, []
    within = {row.remote_id: row for row in rows.filter(id_range.condition).order_by("-remote_id")[: CHUNK + 1]}
    if len(within) > CHUNK:
        raise IdRangeTooLong
    outside = [id_ for id_ in ids if not id_range.holds(id_)]
    absent = [row for id_, row in within.items() if id_ not in ids and is_absent(row, answer)]
    if outside:
        within.update({row.remote_id: row for row in rows.filter(remote_id__in=outside)})
    return within, absent


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


def _has_reappeared(row: Conversation, answer: Answer) -> bool:
    if row.missing_since is None or answer.asked_at <= row.missing_since:
        return False
    return answer.listed or row.confirmed_at is None or answer.asked_at - row.confirmed_at > CONFIRMED_FOR


def _differs(row: Conversation, remote: RemoteConversation, *, with_extra: bool) -> bool:
    if with_extra and not _same_json(row.extra, remote.extra):
        return True
    return any(not _same_json(getattr(row, column), getattr(remote, name)) for column, name in REMOTE_COLUMNS.items())


def _same_json(ours: Any, theirs: Any) -> bool:
    """Whether two JSON values are equal, even if the database has rewritten a number.

    PostgreSQL returns a large float as an integer.
    """
    if ours == theirs:
        return True
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(_same_json(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_same_json, ours, theirs))
    if isinstance(ours, int) and isinstance(theirs, float):
        return abs(ours) < 10**309 and float(ours) == theirs
    return False

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
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from ..models import Conversation
from ..payloads import RemoteConversation
from .database import all_rows

CONFIRMED_FOR = timedelta(days=1)
"""How long a missing conversation counts as alive after Orq returned it by its id."""
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
    fingerprints: Mapping[str, int | None] = field(default_factory=dict)
    """The fingerprints of list items, by id."""
    new: Set[str] = frozenset()
    """Ids that had no row a moment ago, so that none is looked for at the first attempt."""


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


INERT = frozenset({Verdict.UNCHANGED, Verdict.SKIPPED, Verdict.OUTDATED})
"""Verdicts that change nothing."""


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

    @property
    def counts(self) -> Counter[Verdict]:
        return Counter(change.verdict for change in self.changes)

    @property
    def new(self) -> list[Change]:
        return [change for change in self.changes if change.verdict is Verdict.CREATED]

    @property
    def changed(self) -> list[tuple[Change, Conversation]]:
        return [(each, each.row) for each in self.changes if each.row is not None and each.verdict not in INERT]

    @property
    def recognized(self) -> list[Conversation]:
        """Unchanged rows whose fingerprint differs: the answer's is stored, so that they are skipped next time."""
        known = self.answer.fingerprints
        rows = [each.row for each in self.changes if each.row is not None and each.verdict is Verdict.UNCHANGED]
        return [row for row in rows if row.fingerprint != known.get(row.remote_id, row.fingerprint)]

    @property
    def writes(self) -> bool:
        return bool(self.recognized or any(change.verdict not in INERT for change in self.changes))


def compare(answer: Answer, *, workspace: str, again: bool = False) -> Plan:
    """Compare an answer with the rows as they are now; writes nothing. ``again`` looks for rows of new ids, too."""
    ids = [remote.remote_id for remote in answer.conversations if again or remote.remote_id not in answer.new]
    found = all_rows().filter(workspace=workspace, remote_id__in=ids) if ids else ()
    rows = {row.remote_id: row for row in found}
    changes = [
        Change(remote=remote, row=(row := rows.get(remote.remote_id)), verdict=judge(row, remote, answer))
        for remote in answer.conversations
    ]
    return Plan(workspace=workspace, answer=answer, changes=changes)


def judge(row: Conversation | None, remote: RemoteConversation, answer: Answer) -> Verdict:
    """Apply the ordering rules to one conversation."""
    if row is None:
        return Verdict.CREATED
    asked_since = answer.asked_at > row.mirrored_at
    if row.deleted_at is not None:
        return Verdict.RESTORED if asked_since else Verdict.SKIPPED
    if remote.updated_at < row.remote_updated_at:
        older = Verdict.OUTDATED if answer.listed else Verdict.UPDATED
        return older if asked_since else Verdict.SKIPPED
    if not differs(row, remote, with_extra=answer.listed):
        return Verdict.REAPPEARED if _has_reappeared(row, answer) else Verdict.UNCHANGED
    if remote.updated_at > row.remote_updated_at or asked_since:
        return Verdict.UPDATED
    return Verdict.SKIPPED


def _has_reappeared(row: Conversation, answer: Answer) -> bool:
    if row.missing_since is None or answer.asked_at <= row.missing_since:
        return False
    return answer.listed or row.confirmed_at is None or answer.asked_at - row.confirmed_at > CONFIRMED_FOR


def differs(row: Conversation, remote: RemoteConversation, *, with_extra: bool) -> bool:
    if with_extra and not same_json(row.extra, remote.extra):
        return True
    return any(not same_json(getattr(row, column), getattr(remote, name)) for column, name in REMOTE_COLUMNS.items())


def same_json(ours: Any, theirs: Any) -> bool:
    """Whether two JSON values are equal, even if the database has rewritten a number.

    PostgreSQL returns a large float as an integer.
    """
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return ours is theirs
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(same_json(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_json, ours, theirs))
    if isinstance(ours, int) and isinstance(theirs, float):
        return abs(ours) < 10**309 and float(ours) == theirs
    return bool(ours == theirs)

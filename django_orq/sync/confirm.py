"""The confirmation: a missing row becomes a tombstone only on Orq's own 404 for its id, while the key is beyond doubt.

Before any question comes the *guard*: if more rows are missing than one run may take for deleted, a person decides.
Before any tombstone comes the *canary*: a conversation that must be there has to be found.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from ..exceptions import ConversationNotFound, MalformedResponse, OrqError
from ..models import Conversation, ConversationState, SyncRun
from ..payloads import RemoteConversation
from ..service import ConversationService
from ..store.database import DatabaseClock, kept_rows, write_database
from ..store.reconcile import mark_confirmed_gone, reconcile
from ..store.rules import CONFIRMED_FOR, Answer, Plan
from . import holds
from .claim import Claim

CANARIES = 3
_LARGEST_BATCH: int = SyncRun._meta.get_field("batch").default


class Confirmation:
    """The confirming phase of a claimed run."""

    def __init__(self, claim: Claim, *, service: ConversationService) -> None:
        self.run = claim.run
        self._claim = claim
        self._service = service
        self._clock = claim.clock

    def begin(self) -> None:
        """Turn from the walk to the confirmation, unless the guard holds it."""
        values: dict[str, Any] = {"phase": SyncRun.Phase.CONFIRM, "cursor": None, "is_complete": True}
        doubtful, disputed = self._too_many(), self._disputed()
        if doubtful:
            values |= {"hold": SyncRun.Hold.MASS_DELETE, "held": doubtful}
        elif disputed:
            values |= {"hold": SyncRun.Hold.NO_CANARY, "held": disputed}
        self._save(values)

    def turn(self, *, stop: float) -> bool:
        """Confirm one batch, or less when ``stop`` (monotonic seconds) comes; ``True`` when there is nothing left."""
        batch = self._batch()
        if self.run.hold or not batch:
            return True
        if doubtful := self._too_many():  # more may have been marked since
            self._save({"hold": SyncRun.Hold.MASS_DELETE, "held": doubtful})
            return True
        asked_at = self._clock.now()
        asked, gone = self._ask(batch, stop)
        if gone and not self._canary_lives():
            self._save({"hold": SyncRun.Hold.NO_CANARY, "held": self._never_confirmed().count()})
            return True
        self._bury(gone, asked_at=asked_at, upto=asked[-1])
        return False

    def _batch(self) -> list[Conversation]:
        return list(self._due().filter(_ahead(self.run)).order_by("remote_id")[: self.run.batch])

    def _ask(self, batch: Sequence[Conversation], stop: float) -> tuple[list[Conversation], list[Conversation]]:
        """The rows asked for, and those of them that Orq does not know."""
        asked: list[Conversation] = []
        gone: list[Conversation] = []
        for row in batch:
            try:
                lives = self._lives(row)
            except OrqError:
                if asked:
                    self._claim.ours.update(batch=max(1, len(asked) // 2))  # so that the next one comes to its end
                raise
            asked.append(row)
            if not lives:
                gone.append(row)
            if time.monotonic() >= stop:
                break
        return asked, gone

    def _lives(self, row: Conversation) -> bool:
        asked_at = self._clock.now()
        try:
            remote = self._retrieve(row.remote_id)
        except ConversationNotFound:
            return False
        except MalformedResponse as error:
            if error.status != 200:
                raise
            self.run.rejected += 1  # it is there, but can't be mirrored
            return True
        self._take(row, remote, asked_at)
        return True

    def _take(self, row: Conversation, remote: RemoteConversation, asked_at: datetime) -> None:
        answer = Answer(conversations=[remote], asked_at=asked_at, received_at=self._clock.latest(), listed=False)
        values = self._claim.checkpoint(answer.received_at)
        values["unlisted"] = self.run.unlisted + (row.confirmed_at is None)

        def fence(_plan: Plan) -> None:
            self._claim.save(values)

        reconcile(answer, workspace=self.run.workspace, fence=fence, run=self.run)
        self._claim.adopt(values)

    def _bury(self, gone: Sequence[Conversation], *, asked_at: datetime, upto: Conversation) -> None:
        now = self._clock.latest()
        values = self._claim.checkpoint(now) | {"cursor": upto.remote_id, "rejected": self.run.rejected}
        values["batch"] = min(2 * self.run.batch, _LARGEST_BATCH)
        with transaction.atomic(using=write_database()):
            self._claim.save(values)
            buried = mark_confirmed_gone(gone, asked_at=asked_at, received_at=now, run=self.run) if gone else 0
            self._claim.ours.update(tombstoned=self.run.tombstoned + buried)
        self._claim.adopt(values | {"tombstoned": self.run.tombstoned + buried})

    def _canary_lives(self) -> bool:
        """Whether this key still finds a conversation that must be there."""
        rows = kept_rows(self.run.workspace).filter(missing_since=None)
        if self.run.mode == SyncRun.Mode.FULL:
            rows = rows.filter(mirrored_at__lt=self.run.started_at)
        candidates = list(rows.order_by("-remote_id").values_list("remote_id", flat=True)[:CANARIES])
        if not candidates:  # the person who let the run go on stands in for it
            return self.run.mode == SyncRun.Mode.CONFIRM
        return any(map(self._finds, candidates))

    def _finds(self, remote_id: str) -> bool:
        self._claim.renew()  # a batch may have taken long
        try:
            self._retrieve(remote_id)
        except ConversationNotFound:
            return False
        return True

    def _retrieve(self, remote_id: str) -> RemoteConversation:
        self._claim.await_turn("retrieve")
        self.run.requests += 1
        return self._service.retrieve(conversation_id=remote_id)

    def _too_many(self) -> int:
        """How many rows are missing, if that is more than a run may take for deleted by itself; else 0."""
        if self.run.mode != SyncRun.Mode.FULL:
            return 0
        doubtful = self._never_confirmed().count()
        return doubtful if doubtful + self.run.tombstoned > self._most() else 0

    def _disputed(self) -> int:
        """How many rows an earlier run, which a person had vouched for, left to a person for want of a canary."""
        until = holds.disputed_until(self.run.workspace)
        return 0 if until is None else self._due().filter(missing_since__lte=until).count()

    def _most(self) -> int:
        """How many rows may be missing without a person looking at it."""
        workspace = self._claim.workspace
        return max(workspace.mass_delete_min, int(workspace.mass_delete_share * self.run.mirrored_before))

    def _due(self) -> QuerySet[Conversation]:
        return _due(self.run, now=self._clock.now())

    def _never_confirmed(self) -> QuerySet[Conversation]:
        return self._due().filter(indexed_state=ConversationState.MISSING)

    def _save(self, values: dict[str, Any]) -> None:
        values = self._claim.checkpoint(self._clock.now()) | values
        self._claim.save(values)
        self._claim.adopt(values)


def left_to_confirm(run: SyncRun) -> int:
    """How many missing rows a run in its confirming phase has before it."""
    return _due(run, now=DatabaseClock(write_database()).now()).filter(_ahead(run)).count()


def would_confirm(held: SyncRun) -> int:
    """How many missing rows a run would ask for that a person lets go on with what this one held back."""
    return left_to_confirm(SyncRun(workspace=held.workspace, mode=SyncRun.Mode.CONFIRM, continues=held))


def _due(run: SyncRun, *, now: datetime) -> QuerySet[Conversation]:
    """Missing rows that did not answer for their id within the last day."""
    unconfirmed = Q(confirmed_at=None) | Q(confirmed_at__lt=now - CONFIRMED_FOR)
    absent = (ConversationState.MISSING, ConversationState.UNLISTED)
    due = kept_rows(run.workspace).filter(unconfirmed, indexed_state__in=absent)
    if run.mode == SyncRun.Mode.CONFIRM:
        return due.filter(missing_since__lte=holds.held_until(run))
    return due


def _ahead(run: SyncRun) -> Q:
    return Q() if run.cursor is None else Q(remote_id__gt=run.cursor)

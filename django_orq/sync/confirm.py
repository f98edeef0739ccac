"""The confirmation: a missing row becomes a tombstone only on Orq's own 404 for its id, while the key works.

First comes the *guard*: if more rows are missing than one run may delete by itself, the run stops for review. Before
the tombstones of each batch comes the *canary*: Orq has to return a conversation that must exist. After an approval,
each id is still requested, and a canary that is not found stops the run again.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import takewhile
from operator import attrgetter
from typing import Any

from django.db import DatabaseError
from django.db.models import Q, QuerySet

from ..exceptions import ConversationNotFound, MalformedResponse, OrqError
from ..models import Conversation, ConversationState, SyncRun
from ..payloads import RejectedItem, RemoteConversation
from ..store import rejected
from ..store.database import DatabaseClock, is_refusal, kept_rows, reason_of, short_transaction, write_database
from ..store.reconcile import mark_gone, reconcile, unmark
from ..store.rules import CONFIRMED_FOR, Answer, Plan, Verdict
from . import intervals, runs
from .claim import Claim, end_of
from .readers import Readers, Request, retrieve
from .runs import Approval

CANARIES = 3
_MAX_BATCH: int = SyncRun._meta.get_field("batch").default


class Confirmation:
    """The confirmation phase of a claimed run."""

    def __init__(self, claim: Claim, readers: Readers) -> None:
        self.run = claim.run
        self._claim = claim
        self._readers = readers
        self._clock = claim.clock

    def begin(self) -> None:
        """Switch from the walk to the confirmation; the guard may stop the run here."""
        run = self.run
        run.confirm_until, run.ended_early = end_of(self._claim), intervals.ended_early(run)
        unmark(run.workspace, run.out_of_place, since=run.started_at or run.queued_at)
        values = {"confirm_until": run.confirm_until, "ended_early": run.ended_early, **self._guard()}
        self._claim.save_now(phase=SyncRun.Phase.CONFIRM, cursor=None, is_complete=True, **values)

    def process_batch(self, *, stop: float) -> bool:
        """Confirm one batch, or only the first part of it if ``stop`` (monotonic seconds) is reached.

        Returns ``True`` if there is nothing left to do, because no rows are left or the run was stopped for review.
        """
        batch = list(self._due().filter(_ahead(self.run)).order_by("remote_id")[: self.run.batch])
        if self.run.needs_approval or not batch:
            return True
        if stopped := self._guard():  # a refresh may have marked more rows as missing since
            self._claim.save_now(**stopped)
            return True
        asked_at = self._clock.now()
        asked, refused = self._ask(batch, stop)
        if refused:
            exists = self._canary_exists()
            self._readers.check_key(min(request.key_changes for request in refused))
            if not exists:
                self._claim.save_now(needs_approval=Approval.NO_CANARY, to_approve=left_to_confirm(self.run))
                return True
        gone: list[Conversation] = [request.owner for request in refused]
        unlisted = sum(row.state == ConversationState.UNLISTED for row in gone)
        if unlisted and (stopped := self._guard(unlisted)):
            self._claim.save_now(**stopped)
            return True
        self._tombstone(gone, asked_at=asked_at, upto=asked[-1])
        return False

    def _ask(self, batch: Sequence[Conversation], stop: float) -> tuple[list[Conversation], list[Request]]:
        """Request rows, and return those that were requested, and the requests that Orq answered with 404."""
        requested: list[Conversation] = []
        gone: list[Request] = []

        in_time = takewhile(lambda row: row is batch[0] or time.monotonic() < stop, batch)
        requests = ((row, partial(retrieve, row.remote_id)) for row in in_time)
        try:
            for request in self._readers.ask_all("retrieve", requests):
                row: Conversation = request.owner
                if not self._exists(row, request):
                    gone.append(request)
                requested.append(row)
        except OrqError:
            if requested:
                half = max(1, len(requested) // 2)  # so that the next one can be completed
                self._claim.ours.update(batch=half)
            raise
        return sorted(requested, key=attrgetter("remote_id")), gone

    def _exists(self, row: Conversation, request: Request) -> bool:
        found = request.outcome
        if isinstance(found, RemoteConversation):
            self._take(row, found, request)
        elif isinstance(found, ConversationNotFound):
            return False
        elif isinstance(found, MalformedResponse) and found.status == 200:  # it exists, but cannot be mirrored
            self._reject(row, found.reason, request)
        else:
            raise found
        return True

    def _take(self, row: Conversation, remote: RemoteConversation, request: Request) -> None:
        asked_at, received_at = request.asked_at, request.received_at
        answer = Answer(conversations=[remote], asked_at=asked_at, received_at=received_at, listed=False)
        values = self._claim.checkpoint(answer.received_at)

        def fence(plan: Plan) -> None:
            (change,) = plan.changes
            is_gone = change.verdict is Verdict.SKIPPED and bool(change.row and change.row.deleted_at)
            values["unlisted"] = self.run.unlisted + (row.confirmed_at is None and not is_gone)
            values["looked_up"] = self.run.looked_up + 1
            values["updated"] = self.run.updated + (change.verdict is Verdict.UPDATED)
            values["restored"] = self.run.restored + (change.verdict is Verdict.RESTORED)
            self._claim.save(values)

        try:
            reconcile(answer, workspace=self.run.workspace, fence=fence, run=self.run)
            self._claim.apply(values)
        except DatabaseError as error:
            if not is_refusal(error):
                raise
            self._reject(row, f"the database refused it: {reason_of(error)}", request)

    def _reject(self, row: Conversation, reason: str, request: Request) -> None:
        item = RejectedItem(remote_id=row.remote_id, digest="", reason=reason, excerpt="")
        rejected.record([item], run=self.run, seen_at=request.received_at)
        self.run.rejected, self.run.looked_up = self.run.rejected + 1, self.run.looked_up + 1

    def _tombstone(self, gone: Sequence[Conversation], *, asked_at: datetime, upto: Conversation) -> None:
        now = self._clock.latest()
        values = self._claim.checkpoint(now) | {"cursor": upto.remote_id, "rejected": self.run.rejected}
        values["looked_up"] = self.run.looked_up + len(gone)
        values["batch"] = min(2 * self.run.batch, _MAX_BATCH)
        with short_transaction():
            self._claim.save(values)
            count = mark_gone(gone, asked_at=asked_at, received_at=now, run=self.run) if gone else 0
            self._claim.ours.update(tombstoned=self.run.tombstoned + count)
        self._claim.apply(values | {"tombstoned": self.run.tombstoned + count})

    def _canary_exists(self) -> bool:
        """Whether Orq still returns a conversation that must exist; if there is none, whether the run is approved."""
        rows = kept_rows(self.run.workspace).filter(missing_since=None, mirrored_at__lt=self.run.started_at)
        candidates = list(rows.order_by("-remote_id").values_list("remote_id", flat=True)[:CANARIES])
        if not candidates:  # then only an approval can replace the canary
            return self._is_approved
        return any(map(self._readers.finds, candidates))

    @property
    def _is_approved(self) -> bool:
        return self.run.is_approved(Approval.MASS_DELETE, Approval.NO_CANARY)

    def _guard(self, gone: int = 0) -> dict[str, Any]:
        """The columns that stop the run if more rows are missing than it may delete by itself; otherwise none.

        ``gone`` is the number of rows that are not missing, because Orq returned them before, but now have a 404.
        """
        count = 0 if self._is_approved else self._due().filter(indexed_state=ConversationState.MISSING).count() + gone
        if not count or count + self.run.tombstoned <= self.max_missing():
            return {}
        return {"needs_approval": Approval.MASS_DELETE, "to_approve": left_to_confirm(self.run) if gone else count}

    def max_missing(self) -> int:
        """How many rows may be missing without a review.

        0 if the list ended early, or if a run was approved although it could not verify its workspace, until a later
        full run has confirmed everything.
        """
        if self.run.ended_early or runs.approved_doubts(self.run.workspace):
            return 0
        workspace = self._claim.workspace
        return max(workspace.mass_delete_min, int(workspace.mass_delete_share * self.run.mirrored_before))

    def _due(self) -> QuerySet[Conversation]:
        return kept_rows(self.run.workspace).filter(due(self.run, now=self._clock.now()))


def left_to_confirm(run: SyncRun) -> int:
    """How many missing rows a run in its confirmation phase still has to request."""
    return kept_rows(run.workspace).filter(due(run, now=DatabaseClock(write_database()).now()), _ahead(run)).count()


def needs_review(workspace: str) -> SyncRun | None:
    """The newest run that was stopped for review, unless the conversations are no longer missing."""
    stopped = runs.awaiting_approval(workspace)
    return next((run for run in stopped if not run.to_approve or left_to_confirm(run)), None)


def due(run: SyncRun, *, now: datetime) -> Q:
    """Selects rows that were missing when the walk ended and not returned by their id within the last day."""
    unconfirmed = Q(confirmed_at=None) | Q(confirmed_at__lt=now - CONFIRMED_FOR)
    absent = (ConversationState.MISSING, ConversationState.UNLISTED)
    until = Q() if run.confirm_until is None else Q(missing_since__lte=run.confirm_until)
    return Q(unconfirmed, until, deleted_at=None, indexed_state__in=absent)


def _ahead(run: SyncRun) -> Q:
    return Q() if run.cursor is None else Q(remote_id__gt=run.cursor)

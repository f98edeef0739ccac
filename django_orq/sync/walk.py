"""The walk: requests the pages one after another, checks each one, and writes it together with its checkpoint.

A page *advances* if it has an id that is older than the cursor and was not on the previous page, and if its last id
has not been the cursor before. If it does not advance, the cursor's conversation may have been deleted: then the walk
steps back to a newer id that the mirror knows.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from ..exceptions import APIError, ConversationNotFound, CursorIgnored, MalformedResponse, OrqError, WorkspaceDoubted
from ..models import SyncRun
from ..payloads import Page, created_at
from ..service import ConversationService
from ..store import rejected
from ..store.database import all_rows, kept_rows, write_database
from ..store.reconcile import mark_absent, reconcile
from ..store.rules import Answer, IdRange, IdRangeTooLong, Plan, Verdict, absent_in_chunks, compare
from ..text import marked as _
from .claim import Claim

MAX_STEPS_BACK = 20
MAX_OUT_OF_PLACE = 1_000
PAGES_BETWEEN_LOOKS = 50
PROOFS = 3
"""How many known conversations are requested before a list without known ones counts as another workspace's."""
_COUNTERS = {
    "created": (Verdict.CREATED,),
    "updated": (Verdict.UPDATED, Verdict.REAPPEARED),
    "restored": (Verdict.RESTORED,),
    "unchanged": (Verdict.UNCHANGED,),
    "skipped": (Verdict.SKIPPED,),
    "outdated": (Verdict.OUTDATED,),
}


class _SharesNoIds(Exception):
    """The page shares no id with the mirror. Nothing was written; first the workspace has to be verified."""


@dataclass(frozen=True, kw_only=True)
class _ReceivedPage:
    """One page, and when it was requested and received, by the database's clock."""

    page: Page
    asked_at: datetime
    received_at: datetime


class Walk:
    """The walk of a claimed run. It processes one page at a time."""

    def __init__(self, claim: Claim, *, service: ConversationService) -> None:
        self.run = claim.run
        self._claim = claim
        self._service = service
        self._clock = claim.clock
        self._page_before: frozenset[str] = frozenset()
        self._cursors_used: set[str] = set()
        self._lost_at: str | None = None
        self._steps_back = 0
        self._requested_again = False
        self._is_proved = self._proved_now = False
        self._has_rejected = rejected.has_unresolved(claim.run.workspace)
        """Whether the workspace may have unresolved rejected items, so that each page has to look for them."""

    @property
    def has_lost_its_place(self) -> bool:
        """Whether the walk has stepped back and not yet passed the place where it lost its cursor."""
        return self._lost_at is not None

    def process_page(self) -> None:
        """Request one page, and write it or find out what is wrong with its cursor."""
        self._claim.acquire_slot("list")
        asked_at = self._clock.now()
        answer = self._list()
        received_at = self._clock.latest()
        if isinstance(answer, Page) and self._advances(answer):
            self._write(_ReceivedPage(page=answer, asked_at=asked_at, received_at=received_at))
        elif self.run.cursor is not None and not self._knows(self.run.cursor):
            self._step_back()
        elif isinstance(answer, APIError):
            self._request_once_more(answer)
        elif answer.entries:
            raise CursorIgnored(operation="list", api_style=self._claim.workspace.api_style)
        elif answer.has_more:
            empty = MalformedResponse(operation="list", reason=_("an empty page that says there are more"))
            self._request_once_more(empty)
        else:
            self._write(_ReceivedPage(page=answer, asked_at=asked_at, received_at=received_at))

    def _list(self) -> Page | APIError:
        """Return the page after the cursor, or a 400 or 404 that the cursor may have caused."""
        cursor = self.run.cursor
        self.run.requests += 1
        try:
            page = self._service.list(limit=self._claim.workspace.page_size, starting_after=cursor)
        except APIError as error:
            if cursor is None or error.status not in (400, 404):
                raise
            return error
        if page.entries and page.cursor is None:
            raise MalformedResponse(operation="list", reason=_("a page of items without a single usable id"))
        return page

    def _advances(self, page: Page) -> bool:
        cursor = self.run.cursor
        if not page.entries or page.cursor in self._cursors_used:
            return False
        return cursor is None or any(id_ < cursor and id_ not in self._page_before for id_ in page.ids)

    def _knows(self, remote_id: str) -> bool:
        self._claim.renew()  # the list request may have taken most of the lease
        self._claim.acquire_slot("retrieve")
        self.run.requests += 1
        try:
            self._service.retrieve(conversation_id=remote_id)
        except ConversationNotFound:
            return False
        return True

    def _request_once_more(self, problem: OrqError) -> None:
        if self._requested_again:
            raise problem
        self._requested_again = True

    def _step_back(self) -> None:
        lost = self.run.cursor or ""
        if self._steps_back == MAX_STEPS_BACK:
            reason = _("the list could not be continued after any conversation tried; they may have been deleted")
            raise MalformedResponse(operation="list", reason=reason)
        newer = kept_rows(self.run.workspace).filter(remote_id__gt=lost).order_by("remote_id")
        step = 2**self._steps_back
        known = newer.values_list("remote_id", flat=True)[step - 1 : step]
        values = self._claim.checkpoint(self._clock.now()) | {"cursor": next(iter(known), None)}
        self._claim.save(values)
        self._claim.apply(values)
        self._steps_back += 1
        self._lost_at = min(self._lost_at or lost, lost)
        self._page_before = frozenset()
        self._cursors_used.clear()
        self._is_proved = False

    def _write(self, received: _ReceivedPage) -> None:
        page = received.page
        answer = Answer(
            conversations=page.conversations,
            asked_at=received.asked_at,
            received_at=received.received_at,
            listed=True,
            id_range=self._id_range(page),
        )
        try:
            plan = self._reconcile(answer, page)
        except _SharesNoIds:
            self._prove_workspace()
            plan = self._reconcile(answer, page)
        self._is_proved = True
        self._proved_now = False
        self._claim.apply(self._progress(page, plan))
        self._has_rejected |= bool(page.rejected)
        self._continue_after(page)
        self._check_that_it_ends()

    def _reconcile(self, answer: Answer, page: Page) -> Plan:
        def fence(plan: Plan) -> None:
            if self._shares_no_ids(plan):
                raise _SharesNoIds
            self._claim.save(self._progress(page, plan))
            self._record_rejected(page, answer.received_at)

        try:
            return reconcile(answer, workspace=self.run.workspace, fence=fence, run=self.run)
        except IdRangeTooLong:
            self._check_known(answer)
            self._mark_long_range(answer)
            return reconcile(replace(answer, id_range=None), workspace=self.run.workspace, fence=fence, run=self.run)

    def _check_known(self, answer: Answer) -> None:
        """Raise ``_SharesNoIds`` if the workspace has to be verified before rows of a long range are marked."""
        if self._shares_no_ids(compare(replace(answer, id_range=None), workspace=self.run.workspace)):
            raise _SharesNoIds

    def _mark_long_range(self, answer: Answer) -> None:
        """Mark absent rows in separate transactions before the page is written; marking them twice does no harm."""
        for pks in absent_in_chunks(answer, workspace=self.run.workspace):
            values = self._claim.checkpoint(self._clock.now()) | {"missing": self.run.missing + len(pks)}
            with transaction.atomic(using=write_database()):
                self._claim.save(values)
                mark_absent(pks, answer)
            self._claim.apply(values)

    def _id_range(self, page: Page) -> IdRange | None:
        """The range of a full run's page: from the cursor down to its last id, or to the end on the last page."""
        if self.run.mode != SyncRun.Mode.FULL:
            return None
        to = page.cursor if page.has_more else None
        met = self._page_before.union(page.ids, self.run.out_of_place)
        return IdRange(after=self.run.cursor, to=to, met=met)

    def _out_of_place(self, page: Page, id_range: IdRange | None) -> dict[str, list[str]]:
        """The column to save if the page has ids outside of its range; at most ``MAX_OUT_OF_PLACE`` are kept."""
        known = self.run.out_of_place
        more = [id_ for id_ in page.ids if id_range and not id_range.holds(id_) and id_ not in known]
        return {"out_of_place": [*known, *more][:MAX_OUT_OF_PLACE]} if more else {}

    def _shares_no_ids(self, plan: Plan) -> bool:
        """Whether the workspace has to be verified first, because the page shares no id with the mirror.

        This is checked for a slice's first page, for the first one after a step back, and for every page of a full run
        if the mirror was not empty before the run, unless an approval has waived it.
        """
        if self._proved_now or any(change.row is not None for change in plan.changes):
            return False
        if self.run.is_approved(SyncRun.Approval.WORKSPACE):
            return False
        return not self._is_proved or bool(self.run.mode == SyncRun.Mode.FULL and self.run.mirrored_before)

    def _prove_workspace(self) -> None:
        """Request known conversations, and raise ``WorkspaceDoubted`` if Orq returns none of them."""
        newest = kept_rows(self.run.workspace).order_by("-remote_id").values_list("remote_id", flat=True)
        known = list(newest[:PROOFS])
        if known and not any(map(self._knows, known)):
            raise WorkspaceDoubted(asked=len(known))
        self._proved_now = True

    def _continue_after(self, page: Page) -> None:
        self._page_before = frozenset(page.ids)
        self._requested_again = False
        if page.cursor is not None:
            self._cursors_used.add(page.cursor)
        if self._lost_at is not None and min(page.ids, default="") < self._lost_at:
            self._lost_at, self._steps_back = None, 0

    def _check_that_it_ends(self) -> None:
        """Raise ``CursorIgnored`` if the run has seen far more items than there are rows: then the pages repeat.

        Counting rows takes time, so this is checked after 50, 100, 200, 400 … pages.
        """
        run = self.run
        rounds, rest = divmod(run.pages, PAGES_BETWEEN_LOOKS)
        if run.reached_end or rest or rounds & (rounds - 1) or not rounds:
            return
        rows = all_rows().filter(workspace=run.workspace).count()
        if run.seen > 2 * (rows + run.rejected) + PAGES_BETWEEN_LOOKS * self._claim.workspace.page_size // 2:
            raise CursorIgnored(operation="list", api_style=self._claim.workspace.api_style)

    def _progress(self, page: Page, plan: Plan) -> dict[str, Any]:
        """The run's columns after this page."""
        run, counts = self.run, plan.counts
        at_stop = run.stop_id is not None and page.cursor is not None and page.cursor <= run.stop_id
        values = self._claim.checkpoint(plan.answer.received_at) | {
            "cursor": page.cursor or run.cursor,
            "reached_end": not page.has_more or at_stop,
            "ended_early": run.stop_id is not None and not page.has_more and not at_stop,
            "pages": run.pages + 1,
            "seen": run.seen + len(page.entries),
            "rejected": run.rejected + len(page.rejected),
            "missing": run.missing + len(plan.absent),
        }
        values |= self._out_of_place(page, self._id_range(page))
        if run.pages == 0:
            values["head_id"] = _newest(page, plan.answer.received_at)
        for counter, verdicts in _COUNTERS.items():
            values[counter] = getattr(run, counter) + sum(counts[verdict] for verdict in verdicts)
        return values

    def _record_rejected(self, page: Page, now: datetime) -> None:
        if page.rejected:
            rejected.record(page.rejected, run=self.run, seen_at=now)
        if self._has_rejected:
            mirrored = {conversation.remote_id for conversation in page.conversations}
            rejected.resolve(self.run.workspace, mirrored, now=now)


def _newest(page: Page, now: datetime) -> str | None:
    """The newest id on a page, except ids from the future: a run that stopped at one would miss the ids below it."""
    return max((id_ for id_ in page.ids if created_at(id_) <= now + timedelta(days=1)), default=None)

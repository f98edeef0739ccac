"""Batches: pages that were read, compared with the mirror and written together, with one checkpoint.

Items whose fingerprint equals that of their live row are unchanged: neither the item nor the row is looked at further.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError
from django.db.models import QuerySet

from ..exceptions import CursorIgnored, MirrorContended
from ..models import Conversation, ConversationState, SyncRun
from ..payloads import ListItem, Page, RejectedItem, RemoteConversation, created_at
from ..store import rejected
from ..store.database import all_rows, is_refusal, short_transaction
from ..store.reconcile import mark_absent, reconcile, refused
from ..store.rules import INERT, Answer, Plan, Verdict
from . import intervals
from .claim import Claim
from .intervals import Interval

MAX_PAGES = 10
MAX_SECONDS = 1.0
SLOW = 0.03
"""If Orq takes longer than these seconds for a page, new rows are written while the next one is awaited."""
CHUNK = 5_000
"""How many rows of a range are looked up at once."""
MAX_OUT_OF_PLACE = 1_000
PAGES_BETWEEN_LOOKS = 50
_LIVE = ConversationState.LIVE.value
_COUNTERS = {
    "created": (Verdict.CREATED,),
    "updated": (Verdict.UPDATED, Verdict.REAPPEARED),
    "restored": (Verdict.RESTORED,),
    "unchanged": (Verdict.UNCHANGED,),
    "skipped": (Verdict.SKIPPED,),
    "outdated": (Verdict.OUTDATED,),
}


@dataclass(frozen=True, kw_only=True)
class ReceivedPage:
    """One page, and when it was requested and received, by the database's clock."""

    page: Page
    after: str | None
    """The cursor with which it was requested."""
    asked_at: datetime
    received_at: datetime
    key_changes: int
    """How often the API key had changed when it was requested."""

    @property
    def out_of_place(self) -> list[str]:
        """The ids on the page that lie outside of its range."""
        older = range_of(self.after, self.page)
        return [id_ for id_ in self.page.ids if not older.holds(id_)]


@dataclass(frozen=True, kw_only=True)
class Known:
    """The rows of a batch's ids, and whether it omits live rows of its range."""

    rows: dict[str, tuple[int | None, str]]
    """Fingerprint and state, by id."""
    omits: bool = False

    def has_unchanged(self, remote_id: str, fingerprint: int | None) -> bool:
        return fingerprint is not None and self.rows.get(remote_id) == (fingerprint, _LIVE)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Pages that are written together."""

    pages: Sequence[ReceivedPage]
    items: dict[str, ListItem]
    """The newest item of each id."""
    answer: Answer
    """The items that are new or differ from their rows."""
    outside: set[str]
    """Ids that lie in another interval, which counts them."""
    refusals: list[RejectedItem]
    interval: Interval
    """The interval's state after these pages."""


class Batch:
    """The pages of one interval of a claimed run that are not written yet, in the order in which they were read."""

    def __init__(self, claim: Claim, number: int, *, prove_workspace: Callable[[ReceivedPage], None]) -> None:
        self.run = claim.run
        self.interval = intervals.of(claim.run)[number]
        """The interval's state after the pages that were written."""
        self.is_proved = False
        """Whether a page shared an id with the mirror, or the workspace was verified."""
        self._number = number
        self._is_last = self._is_short = False
        self._expects_new = False
        """Whether the pages that follow are probably new, too, so that they can be parsed early."""
        self._seconds_per_page = 0.0
        """How long it took to write the last pages."""
        self._has_failed = False
        """Whether a page could not be written. Then no later page may be written either."""
        self._claim = claim
        self._prove_workspace = prove_workspace
        self._pages: list[ReceivedPage] = []
        self._begun_at = 0.0
        self._met_before: frozenset[str] = frozenset()
        self._proved_with = 0
        """How often the key had changed when the last page was requested."""
        self._has_rejected = rejected.unresolved(claim.run.workspace).exists()
        """Whether the workspace may have unresolved rejected items, so that each batch has to look for them."""

    def add(self, page: ReceivedPage, *, is_last: bool, is_short: bool) -> None:
        """Add the page that follows; ``is_short`` says that the list ended above the interval's end."""
        self._is_last, self._is_short = is_last, is_short
        self._begun_at = self._begun_at if self._pages else time.monotonic()
        self._pages.append(page)

    def examine(self) -> None:
        """Do early, while the next page is awaited, what writing the newest page takes."""
        for item in self._pages[-1].page.items if self._pages else ():
            item.parsed if self._expects_new else item.fingerprint  # noqa: B018 # they are kept

    @property
    def is_due(self) -> bool:
        """Whether it should be written now."""
        is_late = time.monotonic() - self._begun_at >= MAX_SECONDS
        return bool(self._pages) and (is_late or not self.is_proved or len(self._pages) >= MAX_PAGES)

    def can_be_written_in(self, seconds: float) -> bool:
        """Whether new rows can be written while the next page is awaited, if Orq takes this long for it."""
        return self._expects_new and seconds > max(SLOW, len(self._pages) * self._seconds_per_page)

    @property
    def length(self) -> int:
        """Characters of all responses in the batch."""
        return sum(received.page.length for received in self._pages)

    def move_to(self, interval: Interval) -> None:
        """Save a step back: the next page does not follow the last one, so verify the workspace again if necessary."""
        self._claim.save_now(intervals=intervals.saved(self._with(interval)))
        self.interval = interval
        self._met_before = frozenset()
        self.is_proved = False

    def write(self) -> None:
        """Write all pages. Raises ``WorkspaceDoubted`` before one that seems to belong to another workspace."""
        if self._has_failed:
            return
        pages, self._pages, self._has_failed = self._pages, [], True
        begun_at, count = time.monotonic(), len(pages)
        while pages:
            known = self._look_up(pages)
            if (doubtful := self._first_doubtful(pages, known)) == 0:
                self._prove_workspace(pages[0])
            end = len(pages) if doubtful is None else doubtful or 1
            part, pages = pages[:end], pages[end:]
            self._write(part, self._look_up(part) if pages else known, is_last=self._is_last and not pages)
        self._has_failed = False
        self._seconds_per_page = (time.monotonic() - begun_at) / (count or 1)

    def _look_up(self, pages: Sequence[ReceivedPage]) -> Known:
        ids = {id_ for received in pages for id_ in received.page.ids}
        if self.run.mode != SyncRun.Mode.FULL:
            return Known(rows=self._rows(ids))
        id_range = range_of(pages[0].after, pages[-1].page).within(self.interval)
        within = _by_id(self._of_workspace().filter(id_range.condition).order_by("-remote_id")[: CHUNK + 1])
        if len(within) > CHUNK:  # more rows than were looked up
            return Known(rows=self._rows(ids), omits=True)
        met = self._met(pages)
        omits = any(state == _LIVE and id_ not in met for id_, (_fingerprint, state) in within.items())
        return Known(rows=within | self._rows([id_ for id_ in ids if not id_range.holds(id_)]), omits=omits)

    def _rows(self, ids: Iterable[str]) -> dict[str, tuple[int | None, str]]:
        return _by_id(self._of_workspace().filter(remote_id__in=list(ids))) if ids else {}

    def _of_workspace(self) -> QuerySet[Conversation]:
        return all_rows().filter(workspace=self.run.workspace)

    def _met(self, pages: Sequence[ReceivedPage]) -> set[str]:
        """Ids not to be marked as missing: in the batch (rejected items too), just before it, or met out of place."""
        met = self._met_before.union(self.run.out_of_place)
        return {*met, *(id_ for received in pages for id_ in received.page.ids)}

    def _first_doubtful(self, pages: Sequence[ReceivedPage], known: Known) -> int | None:
        """The first page that shares no id with the mirror: the workspace has to be verified before it is written.

        That matters for a slice's first page, one after a step back or after a change of the key, and any page of a
        full run.
        """
        if self.run.is_approved(SyncRun.Approval.WORKSPACE):
            return None
        strict = bool(self.run.mode == SyncRun.Mode.FULL and self.run.mirrored_before)
        strict |= any(received.key_changes != self._proved_with for received in pages)
        to_check = pages if strict else pages[: not self.is_proved]
        met: set[str] = set()
        for number, received in enumerate(to_check):
            if not any(id_ in known.rows or id_ in met for id_ in received.page.ids):
                return number
            met.update(received.page.ids)
        return None

    def _write(self, pages: Sequence[ReceivedPage], known: Known, *, is_last: bool) -> None:
        part = self._part(pages, known, is_last=is_last)
        if known.omits:
            self._mark_absent(pages, part.answer)
        try:
            self._apply(part, part.answer)
        except DatabaseError as error:
            if not is_refusal(error):
                raise
            if not (reasons := refused(part.answer, workspace=self.run.workspace)):
                raise MirrorContended from error
            part.refusals.extend(part.items[id_].rejected(reason) for id_, reason in reasons.items())
            rest = [remote for remote in part.answer.conversations if remote.remote_id not in reasons]
            self._apply(part, replace(part.answer, conversations=rest))
        self._pass(part)

    def _pass(self, part: _Part) -> None:
        self.interval = part.interval
        self.is_proved = True
        self._met_before = frozenset(part.pages[-1].page.ids)
        self._proved_with = part.pages[-1].key_changes
        self._has_rejected |= bool(part.refusals)
        self._expects_new = len(part.answer.new) == len(part.items)

    def _part(self, pages: Sequence[ReceivedPage], known: Known, *, is_last: bool) -> _Part:
        items, nameless = _newest_of_each(pages)
        differing = [id_ for id_, item in items.items() if not known.has_unchanged(id_, item.fingerprint)]
        parsed = [item.parsed for item in (*nameless, *map(items.__getitem__, differing))]
        count = sum(len(received.page.items) for received in pages)
        return _Part(
            pages=pages,
            items=items,
            answer=Answer(
                conversations=[entry for entry in parsed if isinstance(entry, RemoteConversation)],
                asked_at=pages[0].asked_at,
                received_at=pages[-1].received_at,
                listed=True,
                fingerprints={id_: items[id_].fingerprint for id_ in differing},
                new=frozenset(differing) - known.rows.keys(),
            ),
            outside={id_ for id_ in items if not self.interval.holds(id_)},
            refusals=[entry for entry in parsed if isinstance(entry, RejectedItem)],
            interval=replace(
                self.interval,
                cursor=pages[-1].page.cursor or self.interval.cursor,
                received=True,
                entries=self.interval.entries + count,
                done=is_last,
                short=is_last and self._is_short,
            ),
        )

    def _apply(self, part: _Part, answer: Answer) -> None:
        values: dict[str, Any] = {}

        def fence(plan: Plan) -> None:
            values.update(self._progress(part, plan))
            self._claim.save(values)
            rejected.record(part.refusals, run=self.run, seen_at=answer.received_at)
            if self._has_rejected:
                mirrored = {id_ for received in part.pages for id_ in received.page.ids}
                mirrored.difference_update(item.key for item in part.refusals)
                rejected.resolve(self.run.workspace, mirrored, now=answer.received_at)

        pages_before = self.run.pages
        if answer.conversations or part.refusals or self._has_rejected:
            reconcile(answer, workspace=self.run.workspace, fence=fence, run=self.run)
            self._claim.apply(values)
        else:
            plan = Plan(workspace=self.run.workspace, answer=answer, changes=())
            self._claim.save_soon(self._progress(part, plan))
        self._check_that_it_ends(pages_before)

    def _mark_absent(self, pages: Sequence[ReceivedPage], answer: Answer) -> None:
        """Mark rows that the list omits before the batch is written, in separate transactions: twice does no harm."""
        for omitted in self._omitted(pages):
            with short_transaction():
                values = self._claim.checkpoint(self._claim.clock.now())
                self._claim.save(values)
                values["missing"] = self.run.missing + mark_absent(omitted, answer)
                self._claim.ours.update(missing=values["missing"])
            self._claim.apply(values)

    def _omitted(self, pages: Sequence[ReceivedPage]) -> Iterator[QuerySet[Conversation]]:
        """Yield the rows of the batch's range that it omits, the newest first, at most ``CHUNK`` at a time."""
        met = self._met(pages)
        left: Interval | None = range_of(pages[0].after, pages[-1].page).within(self.interval)
        while left is not None:
            rows = self._of_workspace().filter(left.condition).order_by("-remote_id")
            ids = list(rows.values_list("remote_id", flat=True)[:CHUNK])
            yield self._of_workspace().filter(remote_id__in=[id_ for id_ in ids if id_ not in met])
            left = replace(left, below=ids[-1]) if len(ids) == CHUNK else None

    def _progress(self, part: _Part, plan: Plan) -> dict[str, Any]:
        """The run's columns after these pages."""
        run, last = self.run, part.pages[-1].page
        at_stop = run.stop_id is not None and last.cursor is not None and last.cursor <= run.stop_id
        outside, counts = part.outside, plan.counts
        inert = [change for change in plan.changes if change.verdict in INERT]
        counts.subtract(change.verdict for change in inert if change.remote.remote_id in outside)
        counts[Verdict.UNCHANGED] += len(part.items.keys() - part.answer.fingerprints.keys() - outside)
        seen = sum(item.remote_id not in outside for received in part.pages for item in received.page.items)
        all_intervals = self._with(part.interval)
        values = self._claim.checkpoint(plan.answer.received_at) | {
            "intervals": intervals.saved(all_intervals),
            "reached_end": all(interval.done for interval in all_intervals),
            "ended_early": run.stop_id is not None and not last.has_more and not at_stop,
            "pages": run.pages + len(part.pages),
            "seen": run.seen + seen,
            "rejected": run.rejected + sum(item.remote_id not in outside for item in part.refusals),
        }
        more = {id_ for received in part.pages for id_ in received.out_of_place} - {*run.out_of_place}
        if more and run.mode == SyncRun.Mode.FULL:
            values["out_of_place"] = [*run.out_of_place, *sorted(more)][:MAX_OUT_OF_PLACE]
        if part.pages[0].after is None and run.head_id is None:
            values["head_id"] = _newest(part.pages[0].page, part.pages[0].received_at)
        for counter, verdicts in _COUNTERS.items():
            values[counter] = getattr(run, counter) + sum(counts[verdict] for verdict in verdicts)
        return values

    def _with(self, interval: Interval) -> list[Interval]:
        """All intervals of the run, with this one's new state."""
        return [interval if number == self._number else one for number, one in enumerate(intervals.of(self.run))]

    def _check_that_it_ends(self, pages_before: int) -> None:
        """Raise ``CursorIgnored`` if the run has seen far more items than there are rows: then the pages repeat.

        Counting rows takes time, so this is checked after 50, 100, 200, 400 … pages.
        """
        run = self.run
        before, now = ((pages // PAGES_BETWEEN_LOOKS).bit_length() for pages in (pages_before, run.pages))
        if run.reached_end or before == now:
            return
        rows = self._of_workspace().count()
        entries = sum(interval.entries for interval in intervals.of(run))
        if entries > 2 * (rows + run.rejected) + PAGES_BETWEEN_LOOKS * self._claim.workspace.page_size // 2:
            raise CursorIgnored(operation="list", api_style=self._claim.workspace.api_style)


def _by_id(rows: QuerySet[Conversation]) -> dict[str, tuple[int | None, str]]:
    columns = rows.values_list("remote_id", "fingerprint", "indexed_state")
    return {id_: (fingerprint, state) for id_, fingerprint, state in columns}


def range_of(after: str | None, last: Page) -> Interval:
    """The ids down to this page's last one, or to the end of the list if it is the last page."""
    return Interval(below=after, down_to=last.cursor if last.has_more else None)


def _newest_of_each(pages: Sequence[ReceivedPage]) -> tuple[dict[str, ListItem], list[ListItem]]:
    """The newest item of each id, and the items without an id."""
    newest: dict[str, ListItem] = {}
    nameless: list[ListItem] = []
    for received in pages:
        for item in received.page.items:
            if item.remote_id is None:
                nameless.append(item)
            elif item.remote_id not in newest or _is_newer(item, newest[item.remote_id]):
                newest[item.remote_id] = item
    return newest, nameless


def _is_newer(item: ListItem, other: ListItem) -> bool:
    ours, theirs = item.parsed, other.parsed
    if isinstance(ours, RejectedItem) or isinstance(theirs, RejectedItem):
        return isinstance(theirs, RejectedItem)
    return ours.updated_at >= theirs.updated_at


def _newest(page: Page, now: datetime) -> str | None:
    """The newest id on a page, except ids from the future: a run that stopped at one would miss the ids below it."""
    return max((id_ for id_ in page.ids if created_at(id_) <= now + timedelta(days=1)), default=None)

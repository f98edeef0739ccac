"""The walk: requests the pages of each interval and checks each one; ``batches`` writes them.

A page *advances* if it has an id that is older than the cursor and was not on the previous page, and if its last id
has not been the cursor before. If it does not advance, the cursor's conversation may have been deleted: then the walk
steps back to a newer id that the mirror knows.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import DatabaseError

from ..conf import RetryConfig
from ..exceptions import APIError, CursorIgnored, MalformedResponse, OrqError, WorkspaceDoubted
from ..models import SyncRun
from ..payloads import Page
from ..service import ConversationService
from ..store.database import kept_rows, leave_broken_connection
from ..store.leases import LeaseLost
from . import intervals
from .batches import Batch, ReceivedPage
from .claim import Claim
from .readers import Readers, Request

MAX_CHARACTERS = 2_000_000
"""Of all responses that are not written yet; in memory, each character takes several bytes."""
MAX_STEPS_BACK = 20
PROOFS = 3
"""How many known conversations are requested before a list without known ones counts as another workspace's."""


class Walk:
    """The walk of a claimed run."""

    def __init__(self, claim: Claim, readers: Readers, *, batch_class: type[Batch] = Batch) -> None:
        self.run = claim.run
        self._readers = readers
        numbers = [number for number, interval in enumerate(intervals.of(claim.run)) if not interval.done]
        self._readings = [_Reading(claim, readers, number, batch_class) for number in numbers]

    def read(self, *, must_stop: Callable[[], bool], on_progress: Callable[[SyncRun], object]) -> bool:
        """Read to the end, or until ``must_stop``, and write what was read; return whether the end was reached.

        Whatever else ends reading, the pages that were received are written first, except if the lease is lost.
        """
        try:
            while not self._is_at_end:
                for reading in self._readings:
                    reading.read_on()
                if request := self._readers.poll():
                    self._take(request, must_stop)
                    del request  # its page, before the next one arrives
                else:  # Orq is slow: what has been received is written meanwhile
                    self._write(only_due=True)
                on_progress(self.run)
                if must_stop() and not any(reading.lost_at for reading in self._readings):
                    break
            self._end(wait=True)
        except BaseException as error:
            if not isinstance(error, LeaseLost):
                leave_broken_connection()
                with suppress(OrqError, DatabaseError, LeaseLost):  # the first error says more
                    self._end(wait=isinstance(error, (OrqError, DatabaseError)))
            raise
        return self._is_at_end

    @property
    def _is_at_end(self) -> bool:
        return all(reading.is_at_end for reading in self._readings)

    def _take(self, request: Request, must_stop: Callable[[], bool]) -> None:
        reading: _Reading = request.owner
        reading.receive(request)
        if reading.batch.is_proved and not must_stop():
            reading.read_on()  # so that the next page arrives while these are examined and written
            reading.batch.examine()
        if sum(each.batch.length for each in self._readings) >= MAX_CHARACTERS:
            max(self._readings, key=lambda each: each.batch.length).batch.write()
        elif reading.batch.is_due or reading.is_at_end or reading.batch.can_be_written_in(request.seconds):
            reading.batch.write()

    def _end(self, *, wait: bool) -> None:
        """Write everything that was received; with ``wait``, also what is still under way."""
        for request in self._readers.drain() if wait else ():
            if isinstance(request.owner, _Reading):  # and not one that proves something
                with suppress(OrqError):
                    request.owner.receive(request, only_next=True)
        self._write()

    def _write(self, *, only_due: bool = False) -> None:
        for reading in self._readings:
            if reading.batch.is_due or not only_due:
                reading.batch.write()


class _Reading:
    """The reading of one interval. Its cursor is ahead of the saved one while pages are not written yet."""

    def __init__(self, claim: Claim, readers: Readers, number: int, batch_class: type[Batch]) -> None:
        self._claim = claim
        self._run = claim.run
        self._readers = readers
        self.batch = batch_class(claim, number, prove_workspace=self._prove_workspace)
        self.is_at_end = self._is_waiting = self._requested_again = False
        self._cursor = self.batch.interval.cursor
        self._received = self.batch.interval.received
        self._pages = claim.run.pages
        self._page_before: frozenset[str] = frozenset()
        self._cursors_used: set[str] = set()
        self.lost_at: str | None = None
        """Where the cursor was lost, until the walk has passed that place again."""
        self._steps_back = 0

    def read_on(self) -> None:
        """Request the next page, unless a request is under way or the end is reached."""
        if not (self._is_waiting or self.is_at_end):
            self._readers.request(self, "list", partial(_list, self._claim.workspace.page_size, self._cursor))
            self._is_waiting = True

    def receive(self, request: Request, *, only_next: bool = False) -> None:
        """Keep the page, or find out what is wrong with the cursor; with ``only_next``, ignore what is wrong."""
        self._is_waiting = False
        answer = self._checked(request.outcome)
        if isinstance(answer, Page) and self._advances(answer):
            self._keep(answer, request)
        elif only_next:
            return
        elif self._cursor is not None and not (self._received and self._readers.finds(self._cursor)):
            self._step_back()
        elif isinstance(answer, APIError):
            self._request_once_more(answer)
        elif answer.items:
            raise CursorIgnored(operation="list", api_style=self._claim.workspace.api_style)
        elif answer.has_more:
            empty = MalformedResponse(operation="list", reason="the page is empty, but says that more items follow")
            self._request_once_more(empty)
        else:
            self._keep(answer, request)

    def _checked(self, outcome: Any) -> Page | APIError:
        """Return the page, or a 400 or 404 that the cursor may have caused; raise any other error."""
        if isinstance(outcome, APIError) and self._cursor is not None and outcome.status in (400, 404):
            return outcome
        if not isinstance(outcome, Page):
            raise outcome
        if outcome.items and outcome.cursor is None:
            raise MalformedResponse(operation="list", reason="a page of items without a single usable id")
        return outcome

    def _advances(self, page: Page) -> bool:
        if not page.items or page.cursor in self._cursors_used:
            return False
        return self._cursor is None or any(id_ < self._cursor and id_ not in self._page_before for id_ in page.ids)

    def _keep(self, page: Page, request: Request) -> None:
        down_to = self.batch.interval.down_to
        is_short = not page.has_more and down_to is not None and (page.cursor is None or page.cursor > down_to)
        if is_short and not self._requested_again:
            self._requested_again = True
            return
        self._pages += 1
        at_stop = self._run.stop_id is not None and page.cursor is not None and page.cursor <= self._run.stop_id
        at_stop = at_stop and self._pages >= self._claim.workspace.look_back_pages
        passed = down_to is not None and page.cursor is not None and page.cursor <= down_to
        self.is_at_end = at_stop or passed or not page.has_more
        told = {name: getattr(request, name) for name in ("asked_at", "received_at", "key_changes")}
        received = ReceivedPage(page=page, after=self._cursor, **told)
        self.batch.add(received, is_last=self.is_at_end, is_short=is_short)
        self._requested_again = False
        self._page_before = frozenset(page.ids)
        if page.cursor is not None:
            self._cursors_used.add(page.cursor)
            self._cursor, self._received = page.cursor, True
        if self.lost_at is not None and min(page.ids, default="") < self.lost_at:
            self.lost_at, self._steps_back = None, 0

    def _request_once_more(self, problem: OrqError) -> None:
        if self._requested_again:
            raise problem
        self._requested_again = True

    def _step_back(self) -> None:
        self.batch.write()
        lost = self._cursor or ""
        if self._steps_back == MAX_STEPS_BACK:
            reason = "it does not continue the list after any of the conversations tried; they may have been deleted"
            raise MalformedResponse(operation="list", reason=reason)
        rows = intervals.listed_rows(self._run.workspace).filter(remote_id__gt=lost).order_by("remote_id")
        step = 2**self._steps_back
        known = next(iter(rows.values_list("remote_id", flat=True)[step - 1 : step]), None)
        self.batch.move_to(replace(self.batch.interval, cursor=known, received=known is None))
        self._cursor, self._received = known, known is None
        self._steps_back += 1
        self.lost_at = min(self.lost_at or lost, lost)
        self._page_before = frozenset()
        self._cursors_used.clear()

    def _prove_workspace(self, received: ReceivedPage) -> None:
        """Request known conversations, and raise ``WorkspaceDoubted`` if Orq returns none of them.

        Raises ``TransportError`` if the key is not the one any more with which the page was requested.
        """
        newest = kept_rows(self._run.workspace).order_by("-remote_id").values_list("remote_id", flat=True)
        if not (known := list(newest[:PROOFS])):
            return
        exists = any(map(self._readers.finds, known))
        self._readers.check_key(received.key_changes)
        if not exists:
            raise WorkspaceDoubted(asked=len(known))


def _list(size: int, cursor: str | None, service: ConversationService, once: RetryConfig) -> Page:
    return service.list(limit=size, starting_after=cursor, retries=once)

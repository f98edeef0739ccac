"""The walk: one page after another, each asked for, checked, compared and written together with its checkpoint.

A page *advances* if it holds an id older than the cursor that was not on the page before. One that does not puts the
cursor itself in doubt: its conversation may be gone, and then the walk steps back to one that the mirror knows.
"""

from datetime import datetime, timedelta
from typing import Any

from . import rejects
from .clock import DatabaseClock
from .conf import Workspace
from .exceptions import APIError, ConversationNotFound, CursorIgnored, MalformedResponse, OrqError
from .models import Conversation, SyncRun, write_database
from .payloads import Page
from .reconcile import Answer, Plan, Verdict, reconcile
from .service import ConversationService

MAX_STEPS_BACK = 20
_COUNTERS = {
    "created": (Verdict.CREATED,),
    "updated": (Verdict.UPDATED, Verdict.RESTORED, Verdict.FOUND),
    "unchanged": (Verdict.UNCHANGED,),
    "skipped": (Verdict.SKIPPED,),
    "outdated": (Verdict.OUTDATED,),
}


class LeaseLost(Exception):
    """The run is no longer this walker's: nothing of the page was written."""


class Walk:
    """One walker of a claimed run; it holds one page at a time."""

    def __init__(
        self, run: SyncRun, *, service: ConversationService, workspace: Workspace, clock: DatabaseClock
    ) -> None:
        self.run = run
        self._service = service
        self._workspace = workspace
        self._clock = clock
        self._page_before: frozenset[str] = frozenset()
        self._cursors_used: set[str] = set()
        self._astray_at: str | None = None
        self._steps_back = 0
        self._asked_again = False
        self._unresolved = rejects.unresolved_keys(run.workspace)

    @property
    def is_astray(self) -> bool:
        """Whether the walk has stepped back and not yet come past the place where it lost its cursor."""
        return self._astray_at is not None

    def turn(self) -> None:
        """Ask for one page, and write it or find out what is wrong with its cursor."""
        asked_at = self._clock.now()
        answer = self._list()
        received_at = self._clock.now()
        if isinstance(answer, Page) and self._advances(answer):
            self._write(answer, asked_at, received_at)
        elif self.run.cursor is not None and not self._cursor_lives():
            self._step_back()
        elif isinstance(answer, APIError):
            self._ask_once_more(answer)
        elif answer.entries:
            raise CursorIgnored(operation="list", api_style=self._workspace.api_style)
        elif answer.has_more:
            self._ask_once_more(MalformedResponse(operation="list", reason="an empty page that says there are more"))
        else:
            self._write(answer, asked_at, received_at)

    def _list(self) -> Page | APIError:
        """The page after the cursor, or the refusal that the cursor may be to blame for."""
        cursor = self.run.cursor
        self.run.requests += 1
        try:
            page = self._service.list(limit=self._workspace.page_size, starting_after=cursor)
        except APIError as error:
            if cursor is None or error.status not in (400, 404):
                raise
            return error
        if page.entries and page.cursor is None:
            raise MalformedResponse(operation="list", reason="a page of items without a single usable id")
        return page

    def _advances(self, page: Page) -> bool:
        cursor = self.run.cursor
        if not page.entries or page.cursor in self._cursors_used:
            return False
        return cursor is None or any(id_ < cursor and id_ not in self._page_before for id_ in page.ids)

    def _cursor_lives(self) -> bool:
        self.run.requests += 1
        try:
            self._service.retrieve(conversation_id=self.run.cursor or "")
        except ConversationNotFound:
            return False
        return True

    def _ask_once_more(self, problem: OrqError) -> None:
        if self._asked_again:
            raise problem
        self._asked_again = True

    def _step_back(self) -> None:
        lost = self.run.cursor or ""
        if self._steps_back == MAX_STEPS_BACK:
            raise MalformedResponse(operation="list", reason="every conversation to go on from turned out to be gone")
        newer = Conversation.objects.using(write_database()).filter(
            workspace=self.run.workspace, remote_id__gt=lost, deleted_at=None
        )
        step = 2**self._steps_back
        known = newer.order_by("remote_id").values_list("remote_id", flat=True)[step - 1 : step]
        values = self._checkpoint(self._clock.now()) | {"cursor": next(iter(known), None)}
        self._save(values)
        self._adopt(values)
        self._steps_back += 1
        self._astray_at = min(self._astray_at or lost, lost)
        self._page_before = frozenset()
        self._cursors_used.clear()

    def _write(self, page: Page, asked_at: datetime, received_at: datetime) -> None:
        answer = Answer(conversations=page.conversations, asked_at=asked_at, received_at=received_at, listed=True)

        def fence(plan: Plan) -> None:
            self._save(self._progress(page, plan))
            self._keep_refusals(page, received_at)

        plan = reconcile(answer, workspace=self.run.workspace, fence=fence)
        self._adopt(self._progress(page, plan))
        self._unresolved.difference_update(page.ids)
        self._unresolved.update(payload.key for payload in page.refused)
        self._go_on_from(page)

    def _go_on_from(self, page: Page) -> None:
        self._page_before = frozenset(page.ids)
        self._asked_again = False
        if page.cursor is not None:
            self._cursors_used.add(page.cursor)
        if self._astray_at is not None and min(page.ids, default="") < self._astray_at:
            self._astray_at, self._steps_back = None, 0

    def _progress(self, page: Page, plan: Plan) -> dict[str, Any]:
        """The run's columns as they are once this page is written."""
        run, counts = self.run, plan.counts
        values = self._checkpoint(plan.answer.received_at) | {
            "cursor": page.cursor or run.cursor,
            "reached_end": not page.has_more,
            "pages": run.pages + 1,
            "seen": run.seen + len(page.entries),
            "rejected": run.rejected + len(page.refused),
        }
        if run.pages == 0:
            values["head_id"] = max(page.ids, default=None)
        for counter, verdicts in _COUNTERS.items():
            values[counter] = getattr(run, counter) + sum(counts[verdict] for verdict in verdicts)
        return values

    def _checkpoint(self, now: datetime) -> dict[str, Any]:
        lease = timedelta(seconds=self._workspace.lease_seconds)
        return {"requests": self.run.requests, "checkpoint_at": now, "lease_until": now + lease}

    def _save(self, values: dict[str, Any]) -> None:
        """The fence: writes only while the run is still ours and where we left it."""
        run = self.run
        ours = SyncRun.objects.using(write_database()).filter(pk=run.pk, token=run.token, cursor=run.cursor)
        if not ours.update(**values):
            raise LeaseLost

    def _adopt(self, values: dict[str, Any]) -> None:
        for column, value in values.items():
            setattr(self.run, column, value)

    def _keep_refusals(self, page: Page, now: datetime) -> None:
        if page.refused:
            rejects.record(page.refused, run=self.run, seen_at=now)
        mirrored = {conversation.remote_id for conversation in page.conversations}
        rejects.resolve(self.run.workspace, self._unresolved & mirrored, now=now)

"""Operations: a change that a user requests for several conversations, or one creation in the admin.

A process may die at any moment, so each item is marked as sent before its request goes to Orq. If a process dies and
leaves an item as sent, the next process repeats the item if that is safe: a rename first checks the current name, and
deleting a conversation that is already gone counts as done. A creation that was left as sent ends as unknown.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet
from django.utils.translation import gettext

from .. import logs
from ..conf import get_workspace
from ..exceptions import ConversationChanged, MirrorBehind, OrqError, OutcomeUnknown, Problem, RateLimited
from ..models import Conversation, Operation, OperationItem
from ..store import creations, database, leases, rate_limits
from ..store.database import DatabaseClock, all_items, all_operations, write_database
from ..store.history import Requester
from ..store.leases import Lease, LeaseLost, max_lease
from . import create_conversation, delete_conversation, refresh_conversation, rename_conversation

MAX_ITEMS = 1_000
SLICE_SECONDS = 20.0
MAX_ATTEMPTS = 3
"""How many processes may start an item and die before its outcome is recorded as unknown."""
PAUSE = 30.0
"""Seconds to wait if Orq did not say how long."""
MAX_TROUBLE = timedelta(hours=24)

Verb, State = Operation.Verb, OperationItem.State
_ITEM_EVENTS = {State.FAILED: logs.OPERATION_ITEM_FAILED, State.UNKNOWN: logs.OPERATION_ITEM_UNKNOWN}


@dataclass(frozen=True, kw_only=True)
class ItemRequest:
    """The change to make to one conversation. For a creation, the instance need only have a workspace and a name."""

    conversation: Conversation
    new_name: str = ""
    """The new name; for a rename only."""
    expected_updated_at: datetime | None = None
    """The ``remote_updated_at`` that the user saw; by default the instance's."""
    seen_name: str | None = None
    """The name that the user saw; by default the instance's. A rename stops only if Orq has another name now."""


def create_operation(
    verb: str, item_requests: Sequence[ItemRequest], *, by: Any, form_token: str | None = None, **claim: Any
) -> tuple[Operation, bool]:
    """Record an operation for the caller to enqueue; return the operation, and whether it is new.

    If the form with this token was submitted before, returns the operation recorded then. ``claim`` has the lease
    columns of an operation that the caller carries out itself, now; its items count as sent. Raises ``ValueError``
    for no items, for more than ``MAX_ITEMS``, and for re-creating a conversation whose name was scrubbed.
    """
    if not 1 <= len(item_requests) <= MAX_ITEMS:
        raise ValueError(f"an operation takes 1 to {MAX_ITEMS:,} conversations, not {len(item_requests):,}")
    who = Requester.of(by)
    columns = {"requested_by": who.name[:255], "requested_by_pk": who.pk, "total": len(item_requests), **claim}
    try:
        with transaction.atomic(using=write_database()):
            operation = all_operations().create(verb=Verb(verb), form_token=form_token, **columns)
            all_items().bulk_create([_item(operation, item_request) for item_request in item_requests])
    except IntegrityError:
        earlier = None if form_token is None else all_operations().filter(form_token=form_token).first()
        if earlier is None:
            raise
        return earlier, False
    return operation, True


def create_once(item_request: ItemRequest, *, by: Any, form_token: str | None) -> tuple[OperationItem, bool]:
    """Create a conversation while the user waits, and return the item with its outcome, and whether it is new.

    If the form was submitted before, returns the item of the first submission; it is pending or sent while another
    process works on it.
    """
    clock, seconds = DatabaseClock(write_database()), max_lease()
    # Recorded as claimed and sent: if this process dies, no worker creates the conversation after the user has left.
    claim = leases.claimed(seconds=seconds, now=clock.now()) | {"started_at": clock.now()}
    operation, is_new = create_operation(Verb.CREATE, [item_request], by=by, form_token=form_token, **claim)
    items = all_items().filter(operation=operation).select_related("operation", "conversation")
    if is_new:
        execution = Execution(operation, seconds=seconds, clock=clock)
        with suppress(LeaseLost):  # this process was suspended, and another one records the outcome
            execution.execute(items.get(), interactive=True)
            execution.finish()
    return items.earliest("pk"), is_new


def retry(operation: Operation, *, by: Any) -> bool:
    """Reset the items that failed or whose outcome is unknown, to be tried again; the caller enqueues the operation.

    A rename that stopped because the name had changed may now replace that name. A creation whose outcome is unknown
    is never tried again, nor is an item whose name is empty. Returns ``False`` if there is nothing to try again or
    the operation is unfinished.
    """
    who = Requester.of(by)
    reset = {"finished_at": None, "trouble_since": None, "retried_by": who.name[:255]}
    with transaction.atomic(using=write_database()):
        ended = all_operations().filter(pk=operation.pk, finished_at__isnull=False)
        if not (retryable(operation).exists() and ended.update(**reset)):
            return False
        for item in retryable(operation).filter(error_code=ConversationChanged.code):
            item.expected_updated_at = datetime.fromisoformat(item.error_params["updated_at"])
            item.name = item.error_params["display_name"]
            item.save(using=write_database(), update_fields=["expected_updated_at", "name"])
        fresh = {"state": State.PENDING, "attempts": 0, "error_code": "", "error_params": {}}
        retryable(operation).update(**fresh, note={"retried_by": [who.pk, who.name]})
    return True


def retryable(operation: Operation) -> QuerySet[OperationItem]:
    """Return the items that can be tried again: those that failed or, except for creations, have an unknown outcome.

    Items that need a name but have none are excluded.
    """
    failed = (State.FAILED,) if operation.verb == Verb.CREATE else (State.FAILED, State.UNKNOWN)
    items = all_items().filter(operation=operation, state__in=failed)
    wanted = {Verb.CREATE: "name", Verb.RENAME: "new_name"}.get(Verb(operation.verb))
    return items.exclude(**{wanted: ""}) if wanted else items


def work_slice(operation_id: int, *, seconds: float = SLICE_SECONDS) -> Operation | None:
    """Work on an operation until it ends, or for about ``seconds``, and return it as it is then.

    Returns ``None`` if the operation cannot be claimed (it is finished or has to wait, or another worker has it), or
    if another worker took it over in the meantime.
    """
    if (execution := Execution.take(operation_id, clock=DatabaseClock(write_database()))) is None:
        return None
    try:
        _work_or_wait(execution, stop=time.monotonic() + seconds)
    except LeaseLost:
        logs.log(logs.OPERATION_LEASE_LOST, operation=operation_id)
        return None
    except BaseException:
        database.leave_broken_connection()
        with suppress(LeaseLost):
            execution.release()
        raise
    return execution.work


def _work_or_wait(execution: "Execution", *, stop: float) -> None:
    pending = all_items().filter(operation=execution.work, state__in=(State.PENDING, State.SENT)).order_by("pk")
    try:
        while item := pending.select_related("operation", "conversation").first():
            execution.process(item)
            if time.monotonic() >= stop:
                execution.release()
                return
        execution.finish()
    except (RateLimited, Problem) as error:
        execution.wait(error)
    except database.DATABASE_TROUBLE as error:
        logs.log(logs.OPERATION_DATABASE_FAILED, operation=execution.work.pk, exc_info=True)
        database.leave_broken_connection()
        execution.wait(Problem("database_trouble", error=type(error).__name__))


class Execution(Lease[Operation]):
    """The lease on one operation (``self.work``), held while this process carries it out."""

    @classmethod
    def take(cls, operation_id: int, *, clock: DatabaseClock) -> Self | None:
        """Claim an operation. Returns ``None`` if it is finished or has to wait, or if another worker has it."""
        unfinished, seconds = all_operations().filter(pk=operation_id, finished_at=None), max_lease()
        operation = leases.take(unfinished, seconds=seconds, now=clock.now())
        return cls(operation, seconds=seconds, clock=clock) if operation else None

    def process(self, item: OperationItem) -> None:
        """Process one item until it has an outcome. Raises ``RateLimited`` or ``Problem`` if it has to wait."""
        if item.state == State.SENT:
            self._log(logs.OPERATION_ADOPTED, item=item.pk)
        if item.state == State.SENT and self.work.verb == Verb.CREATE:
            item.conversation = creations.recorded(item)
            error = OutcomeUnknown(operation="create", reason="the process that sent the request died")
            self._end(item, *((State.DONE,) if item.conversation else (State.UNKNOWN, error)))
        elif item.attempts >= MAX_ATTEMPTS:
            self._end(item, State.UNKNOWN, Problem("workers_crashed", crashes=item.attempts))
        else:
            self._begin(item)
            self.execute(item)

    def _begin(self, item: OperationItem) -> None:
        with suppress(ImproperlyConfigured):  # recorded as the item's outcome when it is executed
            # One slot, although a rename sends two requests.
            rate_limits.keep_pace(get_workspace(item.workspace), clock=self.clock)
        with transaction.atomic(using=write_database()):
            self.renew()
            item.sent_at = item.sent_at if item.attempts else self.clock.now()
            item.state, item.attempts = State.SENT, item.attempts + 1
            if self.work.verb == Verb.CREATE:
                item.newest_row = creations.newest_row()
            item.save(using=write_database(), update_fields=["state", "attempts", "sent_at", "newest_row"])

    def execute(self, item: OperationItem, *, interactive: bool = False) -> None:
        """Make the change in Orq and record the outcome.

        Raises ``RateLimited`` if the item has to wait; if ``interactive``, that is recorded as its failure instead.
        """
        try:
            item.note = _make_change(item, interactive=interactive)
        except MirrorBehind as error:
            item.note = {"replaced": error.replaced} if error.replaced else {}
            self._end(item, State.DONE, error)
        except OrqError as error:
            if isinstance(error, RateLimited) and not interactive:
                untried = {"state": State.PENDING, "attempts": item.attempts - 1}
                all_items().filter(pk=item.pk, state=State.SENT).update(**untried)
                raise
            self._fail(item, error)
        except ImproperlyConfigured as error:
            self._fail(item, Problem("not_configured", problem=str(error)))
        else:
            self._end(item, State.DONE)

    def _fail(self, item: OperationItem, error: OrqError) -> None:
        was_sent_before = item.attempts > 1  # by a process that died: the change may have taken effect
        self._end(item, State.UNKNOWN if error.leaves_doubt or was_sent_before else State.FAILED, error)
        if error.concerns_all:
            self._give_up(error, workspace=item.workspace)

    def _end(self, item: OperationItem, state: OperationItem.State, error: OrqError | None = None) -> None:
        """Record an outcome."""
        item.state = state
        if error is not None:
            item.error_code, item.error_params = error.code, error.params
            item.note = item.note | ({"retry_after": error.retry_after} if error.retry_after else {})
        with transaction.atomic(using=write_database()):
            self.renew(trouble_since=None)
            item.save(using=write_database())
        self.work.trouble_since = None
        if event := _ITEM_EVENTS.get(state):
            self._log(event, item=item.pk, workspace=item.workspace, error_code=item.error_code)

    def _give_up(self, error: OrqError, **where: str) -> None:
        """Record the remaining items as skipped, because they would fail in the same way. Nothing is sent for them."""
        failure = {"error_code": error.code, "error_params": error.params, "note": {"skipped": True}}
        left = all_items().filter(operation=self.work, state=State.PENDING, **where)
        with transaction.atomic(using=write_database()):
            self.renew()
            count = left.update(state=State.FAILED, **failure)
        if count:
            self._log(logs.OPERATION_GIVEN_UP, items=count, error_code=error.code)

    def wait(self, error: OrqError) -> None:
        """Release the operation until it may resume; after ``MAX_TROUBLE`` of failures, skip the remaining items."""
        now = self.clock.now()
        since = self.work.trouble_since or now
        if now - since > MAX_TROUBLE:
            self._give_up(error)
            self.finish()
            return
        seconds = error.params.get("seconds") or error.retry_after or PAUSE
        resume_at = now + min(timedelta(seconds=seconds), rate_limits.MAX_WAIT)
        self.release(resume_at=resume_at, trouble_since=since, error_code=error.code, error_params=error.params)
        self._log(logs.OPERATION_WAITS, seconds=seconds, error_code=error.code)

    def finish(self) -> None:
        self.release(finished_at=self.clock.now())
        by_state = all_items().filter(operation=self.work).order_by().values_list("state").annotate(Count("pk"))
        counts: dict[str, Any] = {"done": 0, "failed": 0, "unknown": 0} | dict(by_state)
        self._log(logs.OPERATION_FINISHED, **counts, seconds=self.work.seconds)

    def _log(self, event: logs.Event, **fields: Any) -> None:
        logs.log(event, operation=self.work.pk, verb=self.work.verb, **fields)


def change_conversation(verb: str, wanted: ItemRequest, *, by: Any, interactive: bool = False) -> dict[str, Any]:
    """Rename, delete or refresh one conversation; return what is known of other people's changes.

    These are names that they gave it meanwhile, ``replaced`` and ``overtaken``, ``same`` if they had given it the name
    already, and ``gone`` if they had deleted it.
    """
    row, note = wanted.conversation, dict[str, Any]()
    if verb == Verb.RENAME:
        if wanted.expected_updated_at is not None and wanted.seen_name is not None:
            row.display_name, row.remote_updated_at = wanted.seen_name, wanted.expected_updated_at
        options: Any = {"expected_updated_at": wanted.expected_updated_at, "interactive": interactive}
        renamed = rename_conversation(row, display_name=wanted.new_name, by=by, **options)
        note = {"replaced": renamed.replaced, "overtaken": renamed.overtaken_by, "same": not renamed.was_ours}
    elif verb == Verb.DELETE:
        # Otherwise the answer to an earlier attempt may have been lost.
        note = {"gone": not delete_conversation(row, by=by, interactive=interactive) and interactive}
    else:
        refresh_conversation(row, interactive=interactive)
    return {what: found for what, found in note.items() if found}


def _make_change(item: OperationItem, *, interactive: bool) -> dict[str, Any]:
    """Make the item's change in Orq, and return its ``note``."""
    by = Requester.of_item(item)
    if item.operation.verb == Verb.CREATE:
        wanted = {"display_name": item.name, "workspace": item.workspace}
        item.conversation = create_conversation(**wanted, by=by, interactive=interactive)
        return {}
    if item.conversation is None:
        raise Problem("row_deleted")
    seen: Any = {"seen_name": item.name, "expected_updated_at": item.expected_updated_at}
    change = ItemRequest(conversation=item.conversation, new_name=item.new_name, **seen)
    return change_conversation(item.operation.verb, change, by=by, interactive=interactive)


def _item(operation: Operation, item_request: ItemRequest) -> OperationItem:
    conversation = item_request.conversation
    if operation.verb == Verb.CREATE and conversation.is_scrubbed:
        raise ValueError(gettext("a scrubbed conversation cannot be created again, because its name was removed"))
    return OperationItem(
        operation=operation,
        conversation=None if operation.verb == Verb.CREATE else conversation,
        workspace=conversation.workspace,
        name=conversation.display_name if item_request.seen_name is None else item_request.seen_name,
        new_name=item_request.new_name,
        expected_updated_at=item_request.expected_updated_at or conversation.remote_updated_at,
        state=State.SENT if operation.token else State.PENDING,
        attempts=1 if operation.token else 0,
        sent_at=operation.started_at,
        newest_row=creations.newest_row() if operation.token else None,
    )

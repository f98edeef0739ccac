"""Operations: what people request for several conversations, or one creation in the admin, and what became of it.

A process may die at any moment, so each item is marked as sent before Orq hears of it. What a dead process left as
sent is done again by the next one if doing it twice is the same as once: a rename first asks whether the name is there
already, and deleting what is gone counts as done. A creation left so ends as unknown.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Count, QuerySet
from django.utils.translation import gettext

from .. import logs
from ..conf import get_workspace
from ..exceptions import ConversationChanged, MirrorBehind, OrqError, OutcomeUnknown, Problem, RateLimited
from ..models import Conversation, Operation, OperationItem
from ..store import database, leases, rate_limits
from ..store.database import DatabaseClock, all_items, all_operations, write_database
from ..store.deletion import delete_unless_refused
from ..store.leases import Lease, LeaseLost, max_lease
from .verbs import create_conversation, delete_conversation, refresh_conversation, rename_conversation

MAX_ITEMS = 1_000
KEPT = 500
"""Finished operations that are kept."""
PRUNED_AT_ONCE = 10
"""The newest of the others; older ones may be there because something refuses to let them go."""
SLICE_SECONDS = 20.0
MAX_ATTEMPTS = 3
"""How often an item is begun by processes that die with it."""
PAUSE = 30.0
"""Seconds to wait where nobody said how long."""
MAX_TROUBLE = timedelta(hours=24)

Verb, State = Operation.Verb, OperationItem.State
HISTORY: dict[Operation.Verb, str | list[Any]] = {
    Verb.CREATE: [{"added": {}}],
    Verb.RENAME: [{"changed": {"fields": ["Name"]}}],
    Verb.REFRESH: "Refreshed from Orq.",
    Verb.DELETE: "",
}
"""What the admin's history says, in English as Django keeps it."""
_ITEM_EVENTS = {State.FAILED: logs.OPERATION_ITEM_FAILED, State.UNKNOWN: logs.OPERATION_ITEM_UNKNOWN}


@dataclass(frozen=True, kw_only=True)
class Requester:
    """Who requests it: a user's primary key as text, and the name."""

    pk: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class ItemRequest:
    """What is wanted for one conversation; to create, it is the one whose name the new one takes, saved or not."""

    conversation: Conversation
    new_name: str = ""
    """The new name, for a rename."""
    expected_updated_at: datetime | None = None
    """The ``remote_updated_at`` that the person saw; by default the instance's."""


def create_operation(
    verb: str, item_requests: Sequence[ItemRequest], *, by: Requester, form_token: str | None = None, **claim: Any
) -> tuple[Operation, bool]:
    """Record an operation, to be enqueued by the caller; the one there is if this form was sent before.

    ``claim``: the columns of one that the caller carries out itself, at once; its items count as sent. Returns the
    operation and whether it is new. ``ValueError`` if it is about nothing, about more than ``MAX_ITEMS``, or about
    creating anew what has no name any more.
    """
    if not 1 <= len(item_requests) <= MAX_ITEMS:
        raise ValueError(f"an operation is about 1 to {MAX_ITEMS:,} conversations, not {len(item_requests):,}")
    columns = {"requested_by": by.name[:255], "requested_by_pk": by.pk, "total": len(item_requests), **claim}
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


def create_once(item_request: ItemRequest, *, by: Requester, form_token: str | None) -> OperationItem:
    """Create a conversation while a person waits; a form that was sent before has the outcome of the first time.

    The item that is returned is pending or sent while another process is at it.
    """
    clock, seconds = DatabaseClock(write_database()), max_lease()
    # Claimed and sent from the first: where this process dies, nobody creates it later, when nobody waits for it.
    claim = leases.claimed(seconds=seconds, now=clock.now()) | {"started_at": clock.now()}
    operation, is_new = create_operation(Verb.CREATE, [item_request], by=by, form_token=form_token, **claim)
    items = all_items().filter(operation=operation).select_related("operation", "conversation")
    if is_new:
        execution = Execution(operation, seconds=seconds, clock=clock)
        with suppress(LeaseLost):  # this process slept, and another one settles it
            execution.execute(items.get(), interactive=True)
            execution.finish()
    return items.earliest("pk")


def retry(operation: Operation, *, by: Requester) -> bool:
    """Have what failed done again, with the names of now taken for seen; ``False`` if there is nothing to do again.

    A creation whose outcome is unknown is never done again, nor what needs a name that was scrubbed.
    """
    anew = {"finished_at": None, "trouble_since": None, "retried_by": by.name[:255], "retried_by_pk": by.pk}
    with transaction.atomic(using=write_database()):
        ended = all_operations().filter(pk=operation.pk, finished_at__isnull=False)
        if not (retryable(operation).exists() and ended.update(**anew)):
            return False
        for item in retryable(operation).filter(error_code=ConversationChanged.code):
            item.expected_updated_at = datetime.fromisoformat(item.error_params["updated_at"])
            item.save(using=write_database(), update_fields=["expected_updated_at"])
        retryable(operation).update(state=State.PENDING, attempts=0, error_code="", error_params={}, note={})
    return True


def pending_items(operation: Operation) -> QuerySet[OperationItem]:
    """The items that have no outcome yet."""
    items = all_items().select_related("operation", "conversation")
    return items.filter(operation=operation, state__in=(State.PENDING, State.SENT))


def retryable(operation: Operation) -> QuerySet[OperationItem]:
    """The items that failed; those whose name was scrubbed can't be done again, where it is what was wanted."""
    failed = (State.FAILED,) if operation.verb == Verb.CREATE else (State.FAILED, State.UNKNOWN)
    items = all_items().filter(operation=operation, state__in=failed)
    wanted = {Verb.CREATE: "name", Verb.RENAME: "new_name"}.get(Verb(operation.verb))
    return items.exclude(**{wanted: ""}) if wanted else items


def work_slice(operation_id: int, *, seconds: float = SLICE_SECONDS) -> Operation | None:
    """Work on an operation for about ``seconds``, or to its end.

    Returns the operation as it is then; ``None`` if it can't be claimed, or was taken over meanwhile: it is finished
    or waits, or someone else works on it.
    """
    execution = Execution.take(operation_id, clock=DatabaseClock(write_database()))
    if execution is None:
        return None
    try:
        _work_or_wait(execution, stop=time.monotonic() + seconds)
    except LeaseLost:
        logs.log(logs.OPERATION_LEASE_LOST, operation=operation_id)
        return None
    except BaseException:
        with suppress(LeaseLost):
            execution.release()
        raise
    return execution.work


def _work_or_wait(execution: "Execution", *, stop: float) -> None:
    try:
        while item := pending_items(execution.work).order_by("pk").first():
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
    """The right to carry out one operation, its ``work``."""

    @classmethod
    def take(cls, operation_id: int, *, clock: DatabaseClock) -> Self | None:
        """``None`` if the operation is finished or waits, or if somebody else works on it."""
        unfinished, seconds = all_operations().filter(pk=operation_id, finished_at=None), max_lease()
        operation = leases.take(unfinished, seconds=seconds, now=clock.now())
        return cls(operation, seconds=seconds, clock=clock) if operation else None

    def process(self, item: OperationItem) -> None:
        """Bring one item to its outcome. ``RateLimited`` or a ``Problem`` if it has to wait for that."""
        if item.state == State.SENT:
            self._log(logs.OPERATION_ADOPTED, item=item.pk)
        if item.state == State.SENT and self.work.verb == Verb.CREATE:
            died = OutcomeUnknown(operation="create", reason="the process that did it died")
            self._end(item, State.UNKNOWN, died)
        elif item.attempts >= MAX_ATTEMPTS:
            self._end(item, State.UNKNOWN, Problem("workers_crashed", crashes=item.attempts))
        else:
            self._begin(item)
            self.execute(item)

    def _begin(self, item: OperationItem) -> None:
        with suppress(ImproperlyConfigured):  # it will be told when the item is carried out
            # One slot, though a rename asks twice.
            rate_limits.keep_pace(get_workspace(item.workspace), clock=self.clock)
        with transaction.atomic(using=write_database()):
            self.renew()
            item.state, item.attempts = State.SENT, item.attempts + 1
            item.save(using=write_database(), update_fields=["state", "attempts"])

    def execute(self, item: OperationItem, *, interactive: bool = False) -> None:
        """Have it done and record the outcome. ``RateLimited`` if it has to wait, unless a person waits for it."""
        try:
            item.note = _ask_orq(item, interactive=interactive)
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
        was_sent_before = item.attempts > 1  # by a process that died: it may have taken effect
        self._end(item, State.UNKNOWN if error.leaves_doubt or was_sent_before else State.FAILED, error)
        if error.concerns_all:
            self._give_up(error, workspace=item.workspace)

    def _end(self, item: OperationItem, state: OperationItem.State, error: OrqError | None = None) -> None:
        """Record an outcome, in the admin's history too if it is done."""
        item.state = state
        if error is not None:
            item.error_code, item.error_params = error.code, error.params
            item.note = item.note | ({"retry_after": error.retry_after} if error.retry_after else {})
        with transaction.atomic(using=write_database()):
            self.renew(trouble_since=None)
            item.save(using=write_database())
            if state == State.DONE and item.conversation is not None:
                _note(item, item.conversation)
        self.work.trouble_since = None
        if event := _ITEM_EVENTS.get(state):
            self._log(event, item=item.pk, workspace=item.workspace, error_code=item.error_code)

    def _give_up(self, error: OrqError, **where: str) -> None:
        """What is left there would fare the same: nothing was sent for it."""
        failure = {"error_code": error.code, "error_params": error.params, "note": {"skipped": True}}
        left = all_items().filter(operation=self.work, state=State.PENDING, **where)
        with transaction.atomic(using=write_database()):
            self.renew()
            count = left.update(state=State.FAILED, **failure)
        if count:
            self._log(logs.OPERATION_GIVEN_UP, items=count, error_code=error.code)

    def wait(self, error: OrqError) -> None:
        """Let the operation go until the trouble is over; after a day, what is left has failed."""
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
        _prune(ended=self.work)

    def _log(self, event: logs.Event, **fields: Any) -> None:
        logs.log(event, operation=self.work.pk, verb=self.work.verb, **fields)


def _ask_orq(item: OperationItem, *, interactive: bool) -> dict[str, str]:
    """Have the item done; returns the names that a person should know of besides."""
    verb, row = item.operation.verb, item.conversation
    if verb == Verb.CREATE:
        wanted = {"display_name": item.name, "workspace": item.workspace}
        item.conversation = create_conversation(**wanted, interactive=interactive)
        return {}
    if row is None:
        raise Problem("row_deleted")
    if verb == Verb.RENAME:
        renamed = rename_conversation(row, display_name=item.new_name, expected_updated_at=item.expected_updated_at)
        names = {"replaced": renamed.replaced, "overtaken": renamed.overtaken_by}
        return {what: name for what, name in names.items() if name is not None}
    (delete_conversation if verb == Verb.DELETE else refresh_conversation)(row)
    return {}


def _item(operation: Operation, item_request: ItemRequest) -> OperationItem:
    conversation = item_request.conversation
    if operation.verb == Verb.CREATE and conversation.is_scrubbed:
        raise ValueError(gettext("a scrubbed conversation can't be created again: its name is no longer kept"))
    return OperationItem(
        operation=operation,
        conversation=None if operation.verb == Verb.CREATE else conversation,
        workspace=conversation.workspace,
        name=conversation.display_name,
        new_name=item_request.new_name,
        expected_updated_at=item_request.expected_updated_at or conversation.remote_updated_at,
        state=State.SENT if operation.token else State.PENDING,
        attempts=1 if operation.token else 0,
    )


def _note(item: OperationItem, conversation: Conversation) -> None:
    """Write it into the admin's history, if there is one, for the user who requested it or had it tried again.

    What was done stays done although that may fail.
    """
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry  # noqa: PLC0415 # perhaps not installed

    verb, user_pk = Verb(item.operation.verb), item.operation.retried_by_pk or item.operation.requested_by_pk
    flag = {Verb.CREATE: ADDITION, Verb.DELETE: DELETION}.get(verb, CHANGE)
    message = [] if verb == Verb.RENAME and item.new_name == item.name else HISTORY[verb]
    try:
        with transaction.atomic(using=write_database()):
            users: Any = get_user_model()._default_manager
            if user_pk and users.filter(pk=user_pk).exists():
                LogEntry.objects.log_actions(user_pk, [conversation], flag, message, single_object=True)
    except (DatabaseError, ValueError, ValidationError):  # a key of another kind than this project's users have today
        logs.log(logs.OPERATION_HISTORY_FAILED, operation=item.operation_id, item=item.pk, exc_info=True)


def _prune(*, ended: Operation) -> None:
    """Delete the oldest finished operations, but not the one that has just ended.

    A database that can't is logged: the operation has ended all the same, and the next one's end tries again.
    """
    finished = all_operations().filter(finished_at__isnull=False).exclude(pk=ended.pk).order_by("-pk")
    try:
        old = list(finished.values_list("pk", flat=True)[KEPT - 1 : KEPT - 1 + PRUNED_AT_ONCE])
        delete_unless_refused(finished, old)
    except DatabaseError:
        logs.log(logs.PRUNING_FAILED, kind="operations", exc_info=True)

"""Operations worked off: one item after another, each marked as sent before Orq hears of it.

A process may die at any moment. What it left as sent is done again by the next one if doing it twice is the same as
once: a rename asks first whether the name is there already, and a delete of what is gone counts as done. A creation so
found ends as unknown.
"""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Coalesce

from . import events, history, orders, waits
from .claim import LeaseLost, this_process
from .clock import DatabaseClock
from .conf import get_workspace
from .exceptions import (
    DatabaseTrouble,
    MirrorBehind,
    NotConfigured,
    OrqError,
    OutcomeUnknown,
    PaceKept,
    RateLimited,
    RowDeleted,
    WalkersDied,
)
from .mirror import create_conversation, delete_conversation, refresh_conversation, rename_conversation
from .models import Conversation, Operation, OperationItem
from .orders import Order, Orderer, longest_lease
from .primary import DATABASE_TROUBLE, all_items, all_operations, write_database
from .wording import marked as _

SLICE_SECONDS = 20.0
MAX_ATTEMPTS = 3
"""How often an item is begun by processes that die with it."""
PAUSE = 30.0
"""Seconds to rest where nobody said how long."""
LONGEST_TROUBLE = timedelta(hours=24)
SECONDS_BETWEEN_LOOKS = 0.25

Verb, State = Operation.Verb, OperationItem.State


def work_slice(operation_id: int, *, seconds: float = SLICE_SECONDS) -> Operation | None:
    """Work on an operation for about ``seconds``, or to its end.

    Returns the operation as it stands then; ``None`` if it can't be claimed: it is finished or waits, or someone else
    works on it.
    """
    claim = _Claim.take(operation_id)
    if claim is None:
        return None
    try:
        claim.work(stop=time.monotonic() + seconds)
    except LeaseLost:
        events.OPERATION_LEASE_LOST.log(operation=operation_id)
        return None
    except (RateLimited, PaceKept) as error:
        claim.rest(error)
    except DATABASE_TROUBLE as error:
        events.OPERATION_DATABASE_FAILED.log(operation=operation_id, exc_info=True)
        claim.rest(DatabaseTrouble(error=type(error).__name__))
    except BaseException:
        claim.release()
        raise
    return claim.operation


def do_once(verb: str, order: Order, *, by: Orderer, form_token: str) -> tuple[OperationItem, bool]:
    """Do it while a person waits; the same form sent again has the outcome of the first time.

    Returns the item (done, failed or unknown) and whether it was this call that did it. A form that is gone back to
    and sent with something else, or after others undid what it did, does that; one that failed is tried again.
    """
    clock, token = DatabaseClock(write_database()), uuid.uuid4().hex
    until = clock.now() + _lease()
    while (
        item := orders.open_single(verb, order, by=by, form_token=form_token, token=token, lease_until=until)
    ) is None:
        outcome = _outcome_of(form_token)
        if outcome is not None and _is_for(outcome, verb, order, by) and _stands(outcome):
            return outcome, False
        wanted = order.wanted or order.conversation.display_name
        form_token = orders.derive_token(form_token, verb, order.conversation.pk, order.conversation.workspace, wanted)
    _carry_out_now(item, _Claim(item.operation, token=token, clock=clock))
    return item, True


def _carry_out_now(item: OperationItem, claim: "_Claim") -> None:
    try:
        claim.carry_out(item, interactive=True)
        claim.finish()
    except RateLimited as error:
        claim.end(item, State.FAILED, error)
        claim.finish()
    except LeaseLost:  # this process slept, and another one has settled it
        item.refresh_from_db(from_queryset=all_items().select_related("operation", "conversation"))


def _outcome_of(form_token: str) -> OperationItem | None:
    """What became of it, if need be after a while: the other request is under way. ``None`` if it may be done anew."""
    until = time.monotonic() + waits.LONGEST_SLEEP
    while True:
        items = all_items().select_related("operation", "conversation")
        item = items.filter(operation__form_token=form_token, operation__total=1).first()
        if item is None:
            return None
        if item.operation.is_finished:
            return None if item.state == State.FAILED else item
        if time.monotonic() > until:
            item.state, item.error_code = State.UNKNOWN, OutcomeUnknown.code
            item.error_params = {"operation": item.operation.verb, "reason": _("it is still under way")}
            return item
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _is_for(item: OperationItem, verb: str, order: Order, by: Orderer) -> bool:
    """Whether this is what the item was ordered for."""
    given = order.conversation
    if (item.operation.verb, item.operation.ordered_by_pk) != (verb, by.pk):
        return False
    if verb == Verb.CREATE:
        return (item.workspace, item.name) == (given.workspace, given.display_name)
    return (item.conversation_id, item.wanted) == (given.pk, order.wanted)


def _stands(item: OperationItem) -> bool:
    """Whether what was done is so still, as far as the row tells."""
    row = item.conversation
    if item.state != State.DONE or item.error_code or row is None:
        return True
    match item.operation.verb:
        case Verb.RENAME:
            return bool(row.display_name == item.wanted)
        case Verb.DELETE:
            return row.deleted_at is not None
    return True


class _Claim:
    """The right to work on one operation."""

    def __init__(self, operation: Operation, *, token: str, clock: DatabaseClock) -> None:
        self.operation = operation
        self._token = token
        self._clock = clock

    @classmethod
    def take(cls, operation_id: int) -> Self | None:
        clock, token = DatabaseClock(write_database()), uuid.uuid4().hex
        now = clock.now()
        free = Q(lease_until=None) | Q(lease_until__lt=now)
        due = Q(resume_at=None) | Q(resume_at__lte=now)
        taken = all_operations().filter(free, due, pk=operation_id, finished_at=None)
        claimed = {
            "token": token,
            "walker": this_process(),
            "lease_until": now + _lease(),
            "started_at": Coalesce("started_at", now),
            "resume_at": None,
            "enqueued_at": None,
            "error_code": "",
            "error_params": {},
        }
        if not taken.update(**claimed):
            return None
        operation = all_operations().filter(pk=operation_id, token=token).first()
        return cls(operation, token=token, clock=clock) if operation else None

    def work(self, *, stop: float) -> None:
        while item := self._next():
            self._turn(item)
            if time.monotonic() >= stop:
                self.release()
                return
        self.finish()

    def carry_out(self, item: OperationItem, *, interactive: bool = False) -> None:
        """Do it in Orq and record the outcome. ``RateLimited`` if Orq did not want to hear of it now."""
        try:
            _VERBS[Operation.Verb(self.operation.verb)](item, interactive=interactive)
        except RateLimited:
            raise
        except MirrorBehind as error:
            item.note = {"replaced": error.replaced} if error.replaced else {}
            self.end(item, State.DONE, error)
        except OrqError as error:
            self._fail(item, error)
        except ImproperlyConfigured as error:
            self._fail(item, NotConfigured(problem=str(error)))
        else:
            self.end(item, State.DONE)

    def end(self, item: OperationItem, state: OperationItem.State, error: OrqError | None = None) -> None:
        """Record an outcome, in the admin's history too if it is done."""
        item.state, item.finished_at = state, self._clock.now()
        if error is not None:
            item.error_code, item.error_params = error.code, error.params
            item.note = item.note | ({"retry_after": error.retry_after} if error.retry_after else {})
        using = write_database()
        with transaction.atomic(using=using):
            self._renew(trouble_since=None)
            item.save(using=using)
            if state == State.DONE and item.conversation is not None:
                _note(item, item.conversation)
        self.operation.trouble_since = None
        _tell_outcome(item)

    def rest(self, error: OrqError) -> None:
        """Let the operation go until the trouble is over; after a day, what is left has failed."""
        now = self._clock.now()
        since = self.operation.trouble_since or now
        if now - since > LONGEST_TROUBLE:
            self._give_up(error)
            self.finish()
            return
        seconds = error.seconds if isinstance(error, PaceKept) else error.retry_after or PAUSE
        resume_at = now + min(timedelta(seconds=seconds), waits.LONGEST)
        self.release(resume_at=resume_at, trouble_since=since, error_code=error.code, error_params=error.params)
        events.OPERATION_WAITS.log(
            operation=self.operation.pk, verb=self.operation.verb, seconds=seconds, error_code=error.code
        )

    def finish(self) -> None:
        self.release(finished_at=self._clock.now())
        items = all_items().filter(operation=self.operation)
        counts = dict(items.order_by().values_list("state").annotate(Count("pk")))
        events.OPERATION_FINISHED.log(
            operation=self.operation.pk,
            verb=self.operation.verb,
            done=counts.get(State.DONE, 0),
            failed=counts.get(State.FAILED, 0),
            unknown=counts.get(State.UNKNOWN, 0),
            seconds=self.operation.seconds,
        )
        orders.prune(ended=self.operation)

    def release(self, **values: Any) -> None:
        """Let others work on, or end the operation."""
        self._ours.update(token="", lease_until=None, **values)
        self.operation.refresh_from_db(using=write_database())

    @property
    def _ours(self) -> QuerySet[Operation]:
        return all_operations().filter(pk=self.operation.pk, token=self._token)

    def _next(self) -> OperationItem | None:
        items = all_items().select_related("operation", "conversation").order_by("pk")
        return items.filter(operation=self.operation, state__in=(State.PENDING, State.SENT)).first()

    def _turn(self, item: OperationItem) -> None:
        if item.state == State.SENT:
            events.OPERATION_ADOPTED.log(operation=self.operation.pk, item=item.pk, verb=self.operation.verb)
        if item.state == State.SENT and self.operation.verb == Verb.CREATE:
            self.end(
                item,
                State.UNKNOWN,
                OutcomeUnknown(operation="create", reason=_("the process that did it died")),
            )
        elif item.attempts >= MAX_ATTEMPTS:
            self.end(item, State.UNKNOWN, WalkersDied(deaths=item.attempts))
        else:
            self._send(item)

    def _send(self, item: OperationItem) -> None:
        self._keep_pace(item)
        with transaction.atomic(using=write_database()):
            self._renew()
            item.state, item.attempts = State.SENT, item.attempts + 1
            item.save(using=write_database(), update_fields=["state", "attempts"])
        try:
            self.carry_out(item)
        except RateLimited:
            all_items().filter(pk=item.pk, state=State.SENT).update(state=State.PENDING, attempts=item.attempts - 1)
            raise

    def _keep_pace(self, item: OperationItem) -> None:
        """One turn for each item, though a rename asks twice."""
        with suppress(ImproperlyConfigured):  # it will be told when the item is carried out
            waits.keep_pace(get_workspace(item.workspace), clock=self._clock)

    def _renew(self, **values: Any) -> None:
        """The fence: the first write of each transaction. ``LeaseLost`` if the operation is no longer ours."""
        if not self._ours.update(lease_until=self._clock.now() + _lease(), **values):
            raise LeaseLost

    def _fail(self, item: OperationItem, error: OrqError) -> None:
        was_sent_before = item.attempts > 1  # by a process that died: it may have taken effect
        self.end(item, State.UNKNOWN if error.leaves_doubt or was_sent_before else State.FAILED, error)
        if error.concerns_all:
            self._give_up(error, workspace=item.workspace)

    def _give_up(self, error: OrqError, **where: str) -> None:
        """What is left there would fare the same: nothing was sent for it."""
        untried = {
            "state": State.FAILED,
            "error_code": error.code,
            "error_params": error.params,
            "note": {"untried": True},
            "finished_at": self._clock.now(),
        }
        with transaction.atomic(using=write_database()):
            self._renew()
            left = all_items().filter(operation=self.operation, state=State.PENDING, **where).update(**untried)
        if left:
            events.OPERATION_GIVEN_UP.log(
                operation=self.operation.pk, verb=self.operation.verb, items=left, error_code=error.code
            )


_UNHAPPY = {State.FAILED: events.OPERATION_ITEM_FAILED, State.UNKNOWN: events.OPERATION_ITEM_UNKNOWN}


def _tell_outcome(item: OperationItem) -> None:
    if event := _UNHAPPY.get(State(item.state)):
        event.log(
            operation=item.operation_id,
            item=item.pk,
            verb=item.operation.verb,
            workspace=item.workspace,
            error_code=item.error_code,
        )


def _note(item: OperationItem, conversation: Conversation) -> None:
    try:
        with transaction.atomic(using=write_database()):
            history.note(item, conversation)
    except DatabaseError:  # what was done stays done
        events.OPERATION_HISTORY_FAILED.log(operation=item.operation_id, item=item.pk, exc_info=True)


def _create(item: OperationItem, *, interactive: bool) -> None:
    item.conversation = create_conversation(display_name=item.name, workspace=item.workspace, interactive=interactive)


def _rename(item: OperationItem, *, interactive: bool) -> None:
    renamed = rename_conversation(
        _conversation(item),
        display_name=item.wanted,
        expected_updated_at=item.expected_updated_at,
        interactive=interactive,
    )
    names = {"replaced": renamed.replaced, "overtaken": renamed.overtaken_by}
    item.note = {what: name for what, name in names.items() if name is not None}


def _delete(item: OperationItem, *, interactive: bool) -> None:
    delete_conversation(_conversation(item), interactive=interactive)


def _refresh(item: OperationItem, *, interactive: bool) -> None:
    refresh_conversation(_conversation(item), interactive=interactive)


_VERBS: dict[Operation.Verb, Callable[..., None]] = {
    Verb.CREATE: _create,
    Verb.RENAME: _rename,
    Verb.DELETE: _delete,
    Verb.REFRESH: _refresh,
}


def _conversation(item: OperationItem) -> Conversation:
    if item.conversation is None:
        raise RowDeleted
    return item.conversation


def _lease() -> timedelta:
    return timedelta(seconds=longest_lease())

"""Items of operations carried out in Orq, and what became of each recorded."""

from collections.abc import Callable
from typing import Self

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction
from django.db.models import Count

from .. import logs
from ..exceptions import MirrorBehind, OrqError, Problem, RateLimited
from ..models import Conversation, Operation, OperationItem
from ..store import leases
from ..store.database import DatabaseClock, all_items, all_operations, write_database
from ..store.leases import Lease
from . import history, orders
from .orders import longest_lease
from .verbs import create_conversation, delete_conversation, refresh_conversation, rename_conversation

Verb, State = Operation.Verb, OperationItem.State


class Execution(Lease[Operation]):
    """The right to carry out one operation."""

    def __init__(self, operation: Operation, *, clock: DatabaseClock) -> None:
        super().__init__(operation, seconds=longest_lease(), clock=clock)
        self.operation = operation

    @classmethod
    def take(cls, operation_id: int, *, clock: DatabaseClock) -> Self | None:
        """``None`` if the operation is finished or waits, or if somebody else works on it."""
        unfinished = all_operations().filter(pk=operation_id, finished_at=None)
        operation = leases.take(unfinished, seconds=longest_lease(), now=clock.now())
        return cls(operation, clock=clock) if operation else None

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
            self._fail(item, Problem("not_configured", problem=str(error)))
        else:
            self.end(item, State.DONE)

    def end(self, item: OperationItem, state: OperationItem.State, error: OrqError | None = None) -> None:
        """Record an outcome, in the admin's history too if it is done."""
        item.state = state
        if error is not None:
            item.error_code, item.error_params = error.code, error.params
            item.note = item.note | ({"retry_after": error.retry_after} if error.retry_after else {})
        using = write_database()
        with transaction.atomic(using=using):
            self.renew(trouble_since=None)
            item.save(using=using)
            if state == State.DONE and item.conversation is not None:
                _note(item, item.conversation)
        self.operation.trouble_since = None
        _tell_outcome(item)

    def _fail(self, item: OperationItem, error: OrqError) -> None:
        was_sent_before = item.attempts > 1  # by a process that died: it may have taken effect
        self.end(item, State.UNKNOWN if error.leaves_doubt or was_sent_before else State.FAILED, error)
        if error.concerns_all:
            self.give_up(error, workspace=item.workspace)

    def give_up(self, error: OrqError, **where: str) -> None:
        """What is left there would fare the same: nothing was sent for it."""
        untried = {
            "state": State.FAILED,
            "error_code": error.code,
            "error_params": error.params,
            "note": {"untried": True},
        }
        with transaction.atomic(using=write_database()):
            self.renew()
            left = all_items().filter(operation=self.operation, state=State.PENDING, **where).update(**untried)
        if left:
            logs.log(
                logs.OPERATION_GIVEN_UP,
                operation=self.operation.pk,
                verb=self.operation.verb,
                items=left,
                error_code=error.code,
            )

    def finish(self) -> None:
        self.release(finished_at=self.clock.now())
        items = all_items().filter(operation=self.operation)
        counts = dict(items.order_by().values_list("state").annotate(Count("pk")))
        logs.log(
            logs.OPERATION_FINISHED,
            operation=self.operation.pk,
            verb=self.operation.verb,
            done=counts.get(State.DONE, 0),
            failed=counts.get(State.FAILED, 0),
            unknown=counts.get(State.UNKNOWN, 0),
            seconds=self.operation.seconds,
        )
        orders.prune(ended=self.operation)


_UNHAPPY = {State.FAILED: logs.OPERATION_ITEM_FAILED, State.UNKNOWN: logs.OPERATION_ITEM_UNKNOWN}


def _tell_outcome(item: OperationItem) -> None:
    if event := _UNHAPPY.get(State(item.state)):
        logs.log(
            event,
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
        logs.log(logs.OPERATION_HISTORY_FAILED, operation=item.operation_id, item=item.pk, exc_info=True)


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
        raise Problem("row_deleted")
    return item.conversation

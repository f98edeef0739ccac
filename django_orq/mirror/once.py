"""What a form orders, done while a person waits, and once however often the form is sent."""

import time

from ..exceptions import OutcomeUnknown, RateLimited
from ..models import Operation, OperationItem
from ..payloads import is_remote_id
from ..store.database import DatabaseClock, all_items, write_database
from ..store.leases import LeaseLost
from ..text import marked as _
from . import orders
from .execution import Execution
from .orders import Order, Orderer

PATIENCE = 15.0
"""Seconds that a second sending waits for the outcome of the first."""
SECONDS_BETWEEN_LOOKS = 0.25

Verb, State = Operation.Verb, OperationItem.State


def do_once(verb: str, order: Order, *, by: Orderer, form_token: str) -> tuple[OperationItem, bool]:
    """Do it while a person waits; the same form sent again has the outcome of the first time.

    Returns the item (done, failed or unknown) and whether it was this call that did it. A form that is gone back to
    and sent with something else, or after others undid what it did, does that; one that failed is tried again.
    """
    clock = DatabaseClock(write_database())
    while (item := orders.open_single(verb, order, by=by, form_token=form_token, now=clock.now())) is None:
        outcome = _outcome_of(form_token)
        if outcome is not None and _is_for(outcome, verb, order, by) and _stands(outcome):
            return outcome, False
        wanted = order.wanted or order.conversation.display_name
        form_token = orders.derive_token(form_token, verb, order.conversation.pk, order.conversation.workspace, wanted)
    _carry_out_now(item, Execution(item.operation, clock=clock))
    return item, True


def _carry_out_now(item: OperationItem, execution: Execution) -> None:
    try:
        _carry_out(item, execution)
    except LeaseLost:  # this process slept, and another one settles it
        item.refresh_from_db(from_queryset=all_items().select_related("operation", "conversation"))
        if item.state in (State.PENDING, State.SENT):
            _leave_open(item)


def _carry_out(item: OperationItem, execution: Execution) -> None:
    try:
        execution.carry_out(item, interactive=True)
    except RateLimited as error:
        execution.end(item, State.FAILED, error)
    execution.finish()


def _leave_open(item: OperationItem) -> None:
    """Say, and only say, that nobody knows yet what becomes of it."""
    item.state, item.error_code = State.UNKNOWN, OutcomeUnknown.code
    item.error_params = {"operation": item.operation.verb, "reason": _("it is still under way")}


def _outcome_of(form_token: str) -> OperationItem | None:
    """What became of it, if need be after a while: the other request is under way. ``None`` if it may be done anew."""
    until = time.monotonic() + PATIENCE
    while True:
        items = all_items().select_related("operation", "conversation")
        item = items.filter(operation__form_token=form_token, operation__total=1).first()
        if item is None:
            return None
        if item.operation.is_finished:
            return None if item.state == State.FAILED else item
        if time.monotonic() > until:
            _leave_open(item)
            return item
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _is_for(item: OperationItem, verb: str, order: Order, by: Orderer) -> bool:
    """Whether this is what the item was ordered for."""
    given = order.conversation
    if (item.operation.verb, item.operation.ordered_by_pk) != (verb, by.pk):
        return False
    if verb == Verb.CREATE:
        is_scrubbed = not item.name or is_remote_id(item.name)  # the name may have been the same
        return item.workspace == given.workspace and (is_scrubbed or item.name == given.display_name)
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

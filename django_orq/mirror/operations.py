"""Operations worked off: one item after another, each marked as sent before Orq hears of it.

A process may die at any moment. What it left as sent is done again by the next one if doing it twice is the same as
once: a rename asks first whether the name is there already, and a delete of what is gone counts as done. A creation so
found ends as unknown.
"""

import time
from contextlib import suppress
from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from .. import logs
from ..conf import get_workspace
from ..exceptions import OrqError, OutcomeUnknown, Problem, RateLimited
from ..models import Operation, OperationItem
from ..store import rate_limits
from ..store.database import DATABASE_TROUBLE, DatabaseClock, all_items, leave_broken_connection, write_database
from ..store.leases import LeaseLost
from ..text import marked as _
from .execution import Execution
from .orders import unsettled

SLICE_SECONDS = 20.0
MAX_ATTEMPTS = 3
"""How often an item is begun by processes that die with it."""
PAUSE = 30.0
"""Seconds to rest where nobody said how long."""
LONGEST_TROUBLE = timedelta(hours=24)

Verb, State = Operation.Verb, OperationItem.State


def work_slice(operation_id: int, *, seconds: float = SLICE_SECONDS) -> Operation | None:
    """Work on an operation for about ``seconds``, or to its end.

    Returns the operation as it stands then; ``None`` if it can't be claimed, or was taken over meanwhile: it is
    finished or waits, or someone else works on it.
    """
    execution = Execution.take(operation_id, clock=DatabaseClock(write_database()))
    if execution is None:
        return None
    try:
        _work_or_rest(execution, stop=time.monotonic() + seconds)
    except LeaseLost:
        logs.log(logs.OPERATION_LEASE_LOST, operation=operation_id)
        return None
    return execution.operation


def _work_or_rest(execution: Execution, *, stop: float) -> None:
    """``LeaseLost`` if the operation has been taken over meanwhile."""
    try:
        _work(execution, stop=stop)
    except LeaseLost:
        raise
    except (RateLimited, Problem) as error:
        _rest(execution, error)
    except DATABASE_TROUBLE as error:
        logs.log(logs.OPERATION_DATABASE_FAILED, operation=execution.operation.pk, exc_info=True)
        leave_broken_connection()
        _rest(execution, Problem("database_trouble", error=type(error).__name__))
    except BaseException:
        with suppress(LeaseLost):
            execution.release()
        raise


def _work(execution: Execution, *, stop: float) -> None:
    while item := _next_of(execution.operation):
        _turn(execution, item)
        if time.monotonic() >= stop:
            execution.release()
            return
    execution.finish()


def _next_of(operation: Operation) -> OperationItem | None:
    return unsettled(operation).select_related("operation", "conversation").order_by("pk").first()


def _turn(execution: Execution, item: OperationItem) -> None:
    verb = execution.operation.verb
    if item.state == State.SENT:
        logs.log(logs.OPERATION_ADOPTED, operation=execution.operation.pk, item=item.pk, verb=verb)
    if item.state == State.SENT and verb == Verb.CREATE:
        died = OutcomeUnknown(operation="create", reason=_("the process that did it died"))
        execution.end(item, State.UNKNOWN, died)
    elif item.attempts >= MAX_ATTEMPTS:
        execution.end(item, State.UNKNOWN, Problem("walkers_died", deaths=item.attempts))
    else:
        _send(execution, item)


def _send(execution: Execution, item: OperationItem) -> None:
    with suppress(ImproperlyConfigured):  # it will be told when the item is carried out
        # One turn, though a rename asks twice.
        rate_limits.keep_pace(get_workspace(item.workspace), clock=execution.clock)
    with transaction.atomic(using=write_database()):
        execution.renew()
        item.state, item.attempts = State.SENT, item.attempts + 1
        item.save(using=write_database(), update_fields=["state", "attempts"])
    try:
        execution.carry_out(item)
    except RateLimited:
        all_items().filter(pk=item.pk, state=State.SENT).update(state=State.PENDING, attempts=item.attempts - 1)
        raise


def _rest(execution: Execution, error: OrqError) -> None:
    """Let the operation go until the trouble is over; after a day, what is left has failed."""
    operation, now = execution.operation, execution.clock.now()
    since = operation.trouble_since or now
    if now - since > LONGEST_TROUBLE:
        execution.give_up(error)
        execution.finish()
        return
    seconds = error.params.get("seconds") or error.retry_after or PAUSE
    resume_at = now + min(timedelta(seconds=seconds), rate_limits.LONGEST)
    execution.release(resume_at=resume_at, trouble_since=since, error_code=error.code, error_params=error.params)
    logs.log(logs.OPERATION_WAITS, operation=operation.pk, verb=operation.verb, seconds=seconds, error_code=error.code)

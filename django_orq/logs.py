"""What the logger ``django_orq`` says: every event, and the one function that logs it.

A record has its event's name as the attribute ``event``, and the event's values beside it: ids, counts, seconds,
states and codes, never names of conversations, keys or bodies. Names of events and values are public;
docs/monitoring.md says what each means.
"""

import logging
from logging import DEBUG, ERROR, INFO, WARNING
from typing import NamedTuple

_logger = logging.getLogger("django_orq")


class Event(NamedTuple):
    """One kind of record."""

    name: str
    level: int
    text: str
    """The message, with the event's values as its parameters."""


def log(event: Event, *, level: int | None = None, exc_info: bool = False, **values: object) -> None:
    """Log ``event`` with ``values``; ``level`` where this record is more or less urgent than others of its kind."""
    more = {"event": event.name, **values}
    _logger.log(level or event.level, event.text, values, exc_info=exc_info, extra=more, stacklevel=2)


SYNC_RUN_QUEUED = Event("sync_run.queued", INFO, "sync run %(run)s queued: %(mode)s of workspace %(workspace)s")
SYNC_RUN_STARTED = Event("sync_run.started", INFO, "sync run %(run)s started: %(mode)s of workspace %(workspace)s")
SYNC_RUN_ADOPTED = Event(
    "sync_run.adopted", WARNING, "sync run %(run)s of workspace %(workspace)s taken over: its worker died"
)
SYNC_RUN_LEASE_LOST = Event("sync_run.lease_lost", INFO, "sync run %(run)s: another worker has it now")
SYNC_RUN_WAITS = Event("sync_run.waits", WARNING, "sync run %(run)s waits for %(seconds).0f s: %(error_code)s")
SYNC_RUN_LEFT_PAUSED = Event(
    "sync_run.left_paused", WARNING, "sync run %(run)s of workspace %(workspace)s is paused; orq_sync goes on with it"
)
SYNC_RUN_PAUSED = Event("sync_run.paused", INFO, "sync run %(run)s paused")
SYNC_RUN_APPROVED = Event("sync_run.approved", INFO, "sync run %(run)s approved (%(reason)s)")
SYNC_RUN_CANCELLED = Event("sync_run.cancelled", INFO, "sync run %(run)s cancelled")
SYNC_RUN_FINISHED = Event(
    "sync_run.finished",
    INFO,
    "sync run %(run)s %(state)s: seen %(seen)s, new %(new)s, updated %(updated)s, deleted %(deleted)s, "
    "rejected %(rejected)s; requests %(requests)s",
)
SYNC_RUN_FAILED = Event("sync_run.failed", ERROR, "sync run %(run)s failed after page %(pages)s: %(error_code)s")
SYNC_RUN_DATABASE_FAILED = Event("sync_run.database_failed", ERROR, "sync run %(run)s: the database failed")
OPERATION_ADOPTED = Event(
    "operation.adopted", WARNING, "operation %(operation)s taken over at item %(item)s: its worker died"
)
OPERATION_LEASE_LOST = Event("operation.lease_lost", INFO, "operation %(operation)s: another worker has it now")
OPERATION_WAITS = Event(
    "operation.waits", WARNING, "operation %(operation)s waits for %(seconds).0f s: %(error_code)s"
)
OPERATION_ITEM_FAILED = Event(
    "operation.item_failed", WARNING, "operation %(operation)s: item %(item)s failed: %(error_code)s"
)
OPERATION_ITEM_UNKNOWN = Event(
    "operation.item_unknown", WARNING, "operation %(operation)s: outcome of item %(item)s unknown: %(error_code)s"
)
OPERATION_GIVEN_UP = Event(
    "operation.given_up", WARNING, "operation %(operation)s gave up: %(error_code)s; items not tried: %(items)s"
)
OPERATION_FINISHED = Event(
    "operation.finished", INFO, "operation %(operation)s: %(done)s done, %(failed)s failed, %(unknown)s unknown"
)
OPERATION_DATABASE_FAILED = Event("operation.database_failed", ERROR, "operation %(operation)s: the database failed")
OPERATION_HISTORY_FAILED = Event(
    "operation.history_failed", ERROR, "operation %(operation)s: the admin's history could not be written"
)
PUBLISHING_FAILED = Event("publishing.failed", ERROR, "%(work)s %(id)s could not be enqueued: %(problem)s")
REQUEST_ANSWERED = Event("request.answered", DEBUG, "Orq %(call)s: %(answer)s after %(seconds).3f s")
REQUEST_OUTCOME_UNKNOWN = Event(
    "request.outcome_unknown", WARNING, "workspace %(workspace)s: outcome of %(call)s unknown: %(error_code)s"
)
REQUEST_NOT_MIRRORED = Event(
    "request.not_mirrored", WARNING, "workspace %(workspace)s: %(call)s done in Orq, but the row is not updated"
)
REQUEST_WAIT_NOT_KEPT = Event(
    "request.wait_not_kept", ERROR, "workspace %(workspace)s: Orq's wait could not be stored after %(error_code)s"
)
REST_FAILED = Event("rest.failed", ERROR, "a REST view failed: %(problem)s")
PRUNING_FAILED = Event("pruning.failed", WARNING, "old %(kind)s could not be deleted")
PRUNED = Event("pruning.done", INFO, "pruned %(count)s %(kind)s; %(kept)s kept")

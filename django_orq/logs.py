"""The events that are logged to the logger ``django_orq``, and the one function that logs them.

A record has the name of its event in the attribute ``event``, and the event's values as further attributes, such as
ids, counts, seconds, states and codes. It never contains API keys or bodies, nor conversation names, except for the
filter of an export. The names of events and values are public; docs/monitoring.md describes them.
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
    """The message, with the event's values as its arguments."""


def log(event: Event, *, level: int | None = None, exc_info: bool = False, **values: object) -> None:
    """Log ``event`` with ``values``; ``level`` replaces the event's own level for this record."""
    extra = {"event": event.name, **values}
    _logger.log(level or event.level, event.text, values, exc_info=exc_info, extra=extra, stacklevel=2)


SYNC_RUN_QUEUED = Event("sync_run.queued", INFO, "sync run %(run)s queued: %(mode)s of workspace %(workspace)s")
SYNC_RUN_STARTED = Event("sync_run.started", INFO, "sync run %(run)s started: %(mode)s of workspace %(workspace)s")
SYNC_RUN_ADOPTED = Event("sync_run.adopted", WARNING, "sync run %(run)s resumed after its worker died")
SYNC_RUN_LEASE_LOST = Event("sync_run.lease_lost", INFO, "sync run %(run)s: lease expired or taken")
SYNC_RUN_WAITS = Event("sync_run.waits", WARNING, "sync run %(run)s waits %(seconds).0f s: %(error_code)s")
SYNC_RUN_LEFT_PAUSED = Event("sync_run.left_paused", WARNING, "sync run %(run)s is paused: orq_sync --resume %(run)s")
SYNC_RUN_PAUSED = Event("sync_run.paused", INFO, "sync run %(run)s paused")
SYNC_RUN_APPROVED = Event("sync_run.approved", INFO, "sync run %(run)s approved (%(reason)s)")
SYNC_RUN_CANCELLED = Event("sync_run.cancelled", INFO, "sync run %(run)s cancelled")
_COUNTS = "seen %(seen)s, new %(new)s, updated %(updated)s, deleted %(deleted)s, rejected %(rejected)s"
SYNC_RUN_FINISHED = Event("sync_run.finished", INFO, f"sync run %(run)s %(state)s: {_COUNTS}; requests %(requests)s")
SYNC_RUN_FAILED = Event("sync_run.failed", ERROR, "sync run %(run)s failed after page %(pages)s: %(error_code)s")
SYNC_RUN_DATABASE_FAILED = Event("sync_run.database_failed", ERROR, "sync run %(run)s: database error")
OPERATION_ADOPTED = Event("operation.adopted", WARNING, "operation %(operation)s resumed after its worker died")
OPERATION_LEASE_LOST = Event("operation.lease_lost", INFO, "operation %(operation)s: lease lost to another worker")
OPERATION_WAITS = Event("operation.waits", WARNING, "operation %(operation)s waits %(seconds).0f s: %(error_code)s")
OPERATION_ITEM_FAILED = Event(
    "operation.item_failed", WARNING, "operation %(operation)s: item %(item)s failed: %(error_code)s"
)
OPERATION_ITEM_UNKNOWN = Event(
    "operation.item_unknown", WARNING, "operation %(operation)s: item %(item)s unknown: %(error_code)s"
)
OPERATION_GIVEN_UP = Event("operation.given_up", WARNING, "operation %(operation)s: %(items)s skipped: %(error_code)s")
_ENDED = "operation %(operation)s: %(done)s done, %(failed)s failed, %(unknown)s unknown"
OPERATION_FINISHED = Event("operation.finished", INFO, _ENDED)
OPERATION_DATABASE_FAILED = Event("operation.database_failed", ERROR, "operation %(operation)s: database error")
EXPORTED = Event("export.done", INFO, "%(user)s exported %(count)s rows of %(kind)s: %(query)s")
PEOPLE_FAILED = Event("people.failed", ERROR, "workspace %(workspace)s: PEOPLE could not name the people")
PUBLISHING_FAILED = Event("publishing.failed", ERROR, "%(work)s %(id)s could not be enqueued: %(problem)s")
REQUEST_ANSWERED = Event("request.answered", DEBUG, "Orq %(call)s: %(answer)s after %(seconds).3f s")
REQUEST_UNKNOWN = Event(
    "request.outcome_unknown", WARNING, "%(workspace)s: outcome of %(call)s unknown: %(error_code)s"
)
REQUEST_NOT_MIRRORED = Event("request.not_mirrored", WARNING, "%(workspace)s: %(call)s done in Orq, but not mirrored")
REQUEST_WAIT_NOT_KEPT = Event("request.wait_not_kept", ERROR, "%(workspace)s: a Retry-After (%(error_code)s) is lost")
REST_FAILED = Event("rest.failed", ERROR, "a REST view failed: %(problem)s")
PRUNING_FAILED = Event("pruning.failed", WARNING, "old rows of kind %(kind)s could not be deleted")
PRUNED = Event("pruning.done", INFO, "pruned rows of kind %(kind)s: %(count)s; kept: %(kept)s")

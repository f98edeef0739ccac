"""What the logger ``django_orq`` says: all of its events in one place, for those who count them or want to be woken.

A record's ``event`` is the event's name, and its fields are attributes of the record beside it. They hold ids, counts,
seconds, states and codes, never names of conversations, keys or bodies. Names of events and fields are public.
"""

import logging
from dataclasses import dataclass

logger = logging.getLogger("django_orq")

FIELDS = {
    "run": "the number of the sync run",
    "workspace": "the workspace's alias in ORQ_WORKSPACES",
    "mode": "“incremental”, “full” or “confirm”",
    "state": "the state that the run ended in",
    "pages": "pages of the list that the run has walked through",
    "requests": "requests that the run has sent to Orq",
    "seen": "conversations that the run met",
    "new": "of these, the new ones",
    "updated": "the changed ones",
    "restored": "those that were marked as deleted before",
    "deleted": "those that the run marked as deleted",
    "rejected": "payloads that could not be mirrored",
    "held": "missing conversations that need approval",
    "seconds": "how long it took, or how long it waits",
    "error_code": "the code of the error (django_orq.exceptions)",
    "reason": "what was approved: “mass_delete”, “no_canary” or “workspace_doubted”",
    "deaths": "workers that died one after another since the last page",
    "operation": "the number of the operation",
    "verb": "“create”, “rename”, “delete” or “refresh”",
    "item": "the number of one conversation's item in the operation",
    "items": "items of the operation",
    "done": "items that were done",
    "failed": "items that failed",
    "unknown": "items of which nobody knows whether Orq carried them out",
    "work": "“sync run” or “operation”",
    "id": "the number of that sync run or operation",
    "problem": "what the broker or the settings say, in words",
    "call": "the remote operation: “list”, “create”, “retrieve”, “update” or “delete”",
    "kind": "what was pruned or scrubbed",
    "count": "how many that were",
    "kept": "how many were old enough, but needed or referred to",
    "answer": "the HTTP status, or the code of the error where no whole answer came",
}


EVENTS: dict[str, "Event"] = {}
"""All of them, by name."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One kind of record."""

    name: str
    level: int
    means: str
    text: str
    """The message, with the fields as its parameters."""
    fields: tuple[str, ...]

    def __post_init__(self) -> None:
        EVENTS[self.name] = self


def log(event: Event, *, level: int | None = None, exc_info: bool = False, **values: object) -> None:
    """``values`` are the event's fields; ``level`` where this record is more or less urgent than others."""
    more = {"event": event.name, **values}
    logger.log(level or event.level, event.text, values, exc_info=exc_info, extra=more, stacklevel=2)


SYNC_RUN_QUEUED = Event(
    name="sync_run.queued",
    level=logging.INFO,
    means="A sync run was opened. A worker, or orq_sync, takes it.",
    text="sync run %(run)s queued: %(mode)s of workspace %(workspace)s",
    fields=("run", "workspace", "mode"),
)
SYNC_RUN_STARTED = Event(
    name="sync_run.started",
    level=logging.INFO,
    means="A sync run was claimed for the first time.",
    text="sync run %(run)s started: %(mode)s of workspace %(workspace)s",
    fields=("run", "workspace", "mode"),
)
SYNC_RUN_ADOPTED = Event(
    name="sync_run.adopted",
    level=logging.WARNING,
    means="The worker that had the run died or was suspended: its lease ran out, and another goes on.",
    text="sync run %(run)s of workspace %(workspace)s taken over: its worker died (%(deaths)s in a row)",
    fields=("run", "workspace", "mode", "deaths"),
)
SYNC_RUN_LEASE_LOST = Event(
    name="sync_run.lease_lost",
    level=logging.INFO,
    means="A slice ended, and wrote nothing more: somebody else works on the run, or a person paused or cancelled it.",
    text="sync run %(run)s: someone else works on it now",
    fields=("run", "workspace"),
)
SYNC_RUN_WAITS = Event(
    name="sync_run.waits",
    level=logging.WARNING,
    means="The run rests, because Orq asked for it, is in trouble or out of reach, or for the sake of the pace.",
    text="sync run %(run)s waits for %(seconds).0f s: %(error_code)s",
    fields=("run", "workspace", "mode", "seconds", "error_code"),
)
SYNC_RUN_LEFT_PAUSED = Event(
    name="sync_run.left_paused",
    level=logging.WARNING,
    means="A call asked for a run that a person has paused, and left it alone.",
    text="sync run %(run)s of workspace %(workspace)s is paused; orq_sync goes on with it",
    fields=("run", "workspace", "mode"),
)
SYNC_RUN_PAUSED = Event(
    name="sync_run.paused",
    level=logging.INFO,
    means="A person paused the run.",
    text="sync run %(run)s of workspace %(workspace)s paused",
    fields=("run", "workspace", "mode"),
)
SYNC_RUN_APPROVED = Event(
    name="sync_run.approved",
    level=logging.INFO,
    means="A person approved a run that had been stopped for review; it goes on.",
    text="sync run %(run)s of workspace %(workspace)s approved (%(reason)s)",
    fields=("run", "workspace", "mode", "reason"),
)
SYNC_RUN_CANCELLED = Event(
    name="sync_run.cancelled",
    level=logging.INFO,
    means="A person ended the run.",
    text="sync run %(run)s of workspace %(workspace)s cancelled",
    fields=("run", "workspace", "mode"),
)
SYNC_RUN_FINISHED = Event(
    name="sync_run.finished",
    level=logging.INFO,
    means="The run came to its end: “succeeded”, or, at WARNING, “partial”, which did not see everything.",
    text=(
        "sync run %(run)s %(state)s: seen %(seen)s, new %(new)s, updated %(updated)s, deleted %(deleted)s, "
        "rejected %(rejected)s; requests %(requests)s"
    ),
    fields=(
        *("run", "workspace", "mode", "state", "pages", "requests", "seen", "new", "updated", "restored", "deleted"),
        *("rejected", "held", "seconds"),
    ),
)
SYNC_RUN_FAILED = Event(
    name="sync_run.failed",
    level=logging.ERROR,
    means="The run ended without reaching its end. The next scheduled call starts a new one.",
    text="sync run %(run)s failed after page %(pages)s: %(error_code)s",
    fields=("run", "workspace", "mode", "pages", "requests", "error_code", "seconds"),
)
SYNC_RUN_DATABASE_FAILED = Event(
    name="sync_run.database_failed",
    level=logging.ERROR,
    means="The database failed in the middle of the run, which waits and goes on; with the traceback.",
    text="sync run %(run)s: the database failed",
    fields=("run", "workspace"),
)
OPERATION_ADOPTED = Event(
    name="operation.adopted",
    level=logging.WARNING,
    means="The worker that had begun this item died, and another settles it.",
    text="operation %(operation)s taken over at item %(item)s: its worker died",
    fields=("operation", "item", "verb"),
)
OPERATION_LEASE_LOST = Event(
    name="operation.lease_lost",
    level=logging.INFO,
    means="A slice ended, and wrote nothing more: somebody else works on the operation.",
    text="operation %(operation)s: someone else works on it now",
    fields=("operation",),
)
OPERATION_WAITS = Event(
    name="operation.waits",
    level=logging.WARNING,
    means="The operation rests, because Orq asked for it, for the sake of the pace, or because the database failed.",
    text="operation %(operation)s waits for %(seconds).0f s: %(error_code)s",
    fields=("operation", "verb", "seconds", "error_code"),
)
OPERATION_ITEM_FAILED = Event(
    name="operation.item_failed",
    level=logging.WARNING,
    means="What was ordered for one conversation was not done.",
    text="operation %(operation)s: item %(item)s failed: %(error_code)s",
    fields=("operation", "item", "verb", "workspace", "error_code"),
)
OPERATION_ITEM_UNKNOWN = Event(
    name="operation.item_unknown",
    level=logging.WARNING,
    means="Nobody knows whether Orq did what was ordered for one conversation. It is not sent again by itself.",
    text="operation %(operation)s: the outcome of item %(item)s is unknown: %(error_code)s",
    fields=("operation", "item", "verb", "workspace", "error_code"),
)
OPERATION_GIVEN_UP = Event(
    name="operation.given_up",
    level=logging.WARNING,
    means="What was left of the operation was not tried, since it would have fared like the item before.",
    text="operation %(operation)s gave up: %(error_code)s; items not tried: %(items)s",
    fields=("operation", "verb", "items", "error_code"),
)
OPERATION_FINISHED = Event(
    name="operation.finished",
    level=logging.INFO,
    means="Every item of the operation has an outcome.",
    text="operation %(operation)s finished: %(done)s done, %(failed)s failed, %(unknown)s unknown",
    fields=("operation", "verb", "done", "failed", "unknown", "seconds"),
)
OPERATION_DATABASE_FAILED = Event(
    name="operation.database_failed",
    level=logging.ERROR,
    means="The database failed in the middle of the operation, which waits and goes on; with the traceback.",
    text="operation %(operation)s: the database failed",
    fields=("operation",),
)
OPERATION_HISTORY_FAILED = Event(
    name="operation.history_failed",
    level=logging.ERROR,
    means="An item was done, and the admin's history of it could not be written; with the traceback.",
    text="operation %(operation)s: the admin's history could not be written",
    fields=("operation", "item"),
)
PUBLISHING_FAILED = Event(
    name="publishing.failed",
    level=logging.ERROR,
    means="The broker is out of reach, so no worker was told. The next scheduled call does it.",
    text=(
        "%(work)s %(id)s could not be enqueued: %(problem)s. It stays until the next call of sync_conversations or "
        "orq_sync"
    ),
    fields=("work", "id", "problem"),
)
REQUEST_ANSWERED = Event(
    name="request.answered",
    level=logging.DEBUG,
    means="One request to Orq ended, with an answer or without.",
    text="Orq %(call)s: %(answer)s after %(seconds).3f s",
    fields=("call", "answer", "seconds"),
)
REQUEST_OUTCOME_UNKNOWN = Event(
    name="request.outcome_unknown",
    level=logging.WARNING,
    means="A write may have taken effect in Orq, and no answer tells. The next full sync shows what happened.",
    text="workspace %(workspace)s: nobody knows whether Orq carried out the %(call)s: %(error_code)s",
    fields=("workspace", "call", "error_code"),
)
REQUEST_NOT_MIRRORED = Event(
    name="request.not_mirrored",
    level=logging.WARNING,
    means=(
        "Orq carried out a write, and the row here could not follow. The next full sync brings it up to date. "
        "If it was the database's fault, the record has the traceback."
    ),
    text="workspace %(workspace)s: Orq carried out the %(call)s, and the row could not follow",
    fields=("workspace", "call"),
)
REQUEST_WAIT_NOT_KEPT = Event(
    name="request.wait_not_kept",
    level=logging.ERROR,
    means="Orq asked for a wait, and the database could not keep it: others may ask too soon.",
    text="workspace %(workspace)s: Orq's wait could not be kept after %(error_code)s",
    fields=("workspace", "error_code"),
)
REST_FAILED = Event(
    name="rest.failed",
    level=logging.ERROR,
    means="A REST view failed for a reason on this side: wrong settings, or the database.",
    text="a REST view failed: %(problem)s",
    fields=("error_code", "problem"),
)
PRUNING_FAILED = Event(
    name="pruning.failed",
    level=logging.WARNING,
    means="Old rows of a kind could not be deleted when something ended; the next end tries again; with traceback.",
    text="old %(kind)s could not be deleted",
    fields=("kind",),
)
PRUNED = Event(
    name="pruning.done",
    level=logging.INFO,
    means="orq_prune deleted or scrubbed old rows of one kind, of all or as far as it came.",
    text="pruned %(count)s %(kind)s; %(kept)s kept",
    fields=("kind", "count", "kept"),
)

"""The database that the mirror is written to: ours are read from there too, never from a replica that lags behind."""

from django.db import InterfaceError, InternalError, OperationalError, connections, router
from django.db.models import QuerySet

from .models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun, WorkspaceWait

DATABASE_TROUBLE = (OperationalError, InterfaceError, InternalError)
"""What may pass. ``InternalError``: among others, a database that can only be read, as while servers change places."""


def write_database() -> str:
    """Its alias."""
    alias: str = router.db_for_write(Conversation)
    return alias


def leave_broken_connection() -> None:
    """After a failure: what is written next goes by a connection that works, if this one does not.

    Within a transaction of the caller's it is the caller's to leave.
    """
    connection = connections[write_database()]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


def all_rows() -> QuerySet[Conversation]:
    """Conversations, through the one query set that may write them."""
    return QuerySet(Conversation, using=write_database())


def kept_rows(workspace: str) -> QuerySet[Conversation]:
    """Those of a workspace that are not tombstones."""
    return all_rows().filter(workspace=workspace, deleted_at=None)


def all_runs() -> QuerySet[SyncRun]:
    return SyncRun.objects.using(write_database())


def all_operations() -> QuerySet[Operation]:
    return Operation.objects.using(write_database())


def all_items() -> QuerySet[OperationItem]:
    """Of all operations."""
    return OperationItem.objects.using(write_database())


def all_payloads() -> QuerySet[RejectedPayload]:
    """The rejected ones."""
    return RejectedPayload.objects.using(write_database())


def all_waits() -> QuerySet[WorkspaceWait]:
    return WorkspaceWait.objects.using(write_database())

"""Plain remote values and responses for tests that need no server."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from django_orq.models import Conversation
from django_orq.payloads import RemoteConversation
from django_orq.store.reconcile import reconcile
from django_orq.store.rules import Answer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REMOTE_ID = "conv_01jj1hdhn79xas7a01wb3hysdb"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def conversation(**overrides: Any) -> RemoteConversation:
    values: dict[str, Any] = {
        "remote_id": REMOTE_ID,
        "display_name": "Refund for order 1001",
        "created_at": at(0),
        "updated_at": at(0),
        "created_by_id": "user-1",
        "updated_by_id": None,
        "metadata": {"model": "gpt"},
        "extra": {"projectId": "p-1"},
    }
    return RemoteConversation(**values | overrides)


def answer(*conversations: RemoteConversation, asked: float = 100, took: float = 1, listed: bool = True) -> Answer:
    return Answer(conversations=conversations, asked_at=at(asked), received_at=at(asked + took), listed=listed)


def set_columns(row: Conversation, **columns: Any) -> Conversation:
    """Set columns of a row directly, bypassing the mirror's protection against writes."""
    QuerySet(Conversation).filter(pk=row.pk).update(**columns)
    row.refresh_from_db()
    return row


def scrub(rows: Iterable[Conversation]) -> None:
    """Remove the names of tombstones, as ``orq_prune`` does with old ones."""
    QuerySet(Conversation).filter(pk__in=[row.pk for row in rows]).update(display_name="")


def mirrored_values(row: Conversation) -> dict[str, Any]:
    """All columns except the key and those that the database computes."""
    fields = (field for field in row._meta.concrete_fields if not field.primary_key and not field.generated)
    return {field.name: getattr(row, field.name) for field in fields}


def tombstone(number: int = 1, *, days: float = 10, **columns: Any) -> Conversation:
    """The row of a conversation that was deleted so many days ago."""
    remote_id = f"conv_{number:026d}"
    workspace = columns.pop("workspace", "default")
    reconcile(answer(conversation(remote_id=remote_id, display_name=f"Ticket {number}")), workspace=workspace)
    row = Conversation.objects.get(workspace=workspace, remote_id=remote_id)
    moment = datetime.now(UTC) - timedelta(days=days)
    return set_columns(row, **{"deleted_at": moment, "mirrored_at": moment, **columns})

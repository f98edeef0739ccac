"""Steps that several of these tests take."""

from django.urls import reverse

from django_orq.mirror import operations
from django_orq.models import Conversation, Operation, SyncRun

REST = "/orq/conversations/"


def names_in_orq(remote) -> list[str]:
    return [conversation["displayName"] for conversation in remote.conversations]


def page_of(work: SyncRun | Operation, name: str = "change") -> str:
    return reverse(f"admin:django_orq_{work._meta.model_name}_{name}", args=[work.pk])


def one(row: Conversation) -> str:
    """The conversation's URL in the REST API."""
    return f"{REST}{row.remote_id}/"


def work_off(operation: Operation) -> Operation:
    while not operation.is_finished:
        operation = operations.work_slice(operation.pk)
    return operation

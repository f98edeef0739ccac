"""The admin's own history of what was done for people, where that is installed."""

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from ..models import Conversation, Operation, OperationItem

_MESSAGES: dict[Operation.Verb, str | list[Any]] = {
    Operation.Verb.CREATE: [{"added": {}}],
    Operation.Verb.RENAME: [{"changed": {"fields": ["Name"]}}],
    Operation.Verb.REFRESH: "Refreshed from Orq.",
    Operation.Verb.DELETE: "",
}


def note(item: OperationItem, conversation: Conversation) -> None:
    """That the item was done, for the person who ordered it or had it tried again, if there still is that user."""
    operation = item.operation
    user_pk = operation.retried_by_pk or operation.ordered_by_pk
    if apps.is_installed("django.contrib.admin") and _exists(user_pk):
        _write(item, conversation, user_pk)


def _write(item: OperationItem, conversation: Conversation, user_pk: str) -> None:
    from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry  # noqa: PLC0415 # perhaps not installed

    verb = Operation.Verb(item.operation.verb)
    flags = {Operation.Verb.CREATE: ADDITION, Operation.Verb.DELETE: DELETION}
    LogEntry.objects.log_actions(
        user_pk,
        [conversation],
        flags.get(verb, CHANGE),
        [] if verb == Operation.Verb.RENAME and item.wanted == item.name else _MESSAGES[verb],
        single_object=True,
    )


def _exists(user_pk: str) -> bool:
    users: Any = get_user_model()._default_manager
    try:
        return bool(user_pk) and users.filter(pk=user_pk).exists()
    except (ValueError, ValidationError):  # of another kind than this project's users have today
        return False

"""Operations handed over to the workers, and what to tell the person who did it."""

from django.contrib import messages
from django.utils.translation import gettext

from ..models import Operation
from ..tasks import enqueue_operation


def hand_over(operation: Operation) -> tuple[str, int]:
    """Tell a worker; returns what to say of it, and the level of that message."""
    enqueue_operation(operation.pk)
    operation.refresh_from_db()
    if operation.ticket or operation.started_at is not None:
        return gettext("A worker will do it."), messages.SUCCESS
    message = gettext(
        "It is recorded, but no worker could be told of it: the broker is out of reach. The next scheduled call "
        "takes it."
    )
    return message, messages.WARNING

"""Operations handed over to the workers, and what to tell the person who did it."""

from django.contrib import messages
from django.utils.translation import gettext

from ..models import Operation
from ..store.database import write_database
from ..sync.report import is_being_done
from ..tasks import enqueue_operation


def hand_over(operation: Operation) -> tuple[str, int]:
    """Tell a worker, unless one works on it; returns what to say of it, and the level of that message."""
    if is_being_done(operation):  # a message more would end the chain of those that follow each slice
        return gettext("A worker is doing it now."), messages.INFO
    enqueue_operation(operation.pk)
    operation.refresh_from_db(using=write_database())
    if operation.ticket:
        return gettext("It is queued for a worker; this page shows how it goes."), messages.SUCCESS
    message = gettext(
        "It is recorded, but no worker could be told of it: the broker is out of reach. The next scheduled sync "
        "takes it up."
    )
    return message, messages.WARNING

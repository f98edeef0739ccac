"""Creates operations, and makes things happen to them while they run."""

from datetime import timedelta

from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest, Requester
from django_orq.models import OperationItem, WorkspaceWait
from django_orq.store.database import all_operations

NOBODY = Requester()


def rename_all(rows, **options):
    return place("rename", rows, **options)


def place(verb, rows, *, by=NOBODY, **options):
    wanted = [ItemRequest(conversation=row, new_name=f"{row} anew") for row in rows]
    operation, _is_new = operations.create_operation(verb, wanted, by=by, **options)
    return operation


def states(operation):
    """The states of the items of an operation, or of all (``None``)."""
    items = OperationItem.objects.all() if operation is None else operation.items
    return list(items.order_by("pk").values_list("state", flat=True))


def let_the_wait_pass(operation):
    all_operations().filter(pk=operation.pk).update(resume_at=None)
    WorkspaceWait.objects.all().delete()


def lose_the_worker(operation):
    """As if the worker had been killed, and its lease had run out."""
    operation.refresh_from_db()
    past = operation.requested_at - timedelta(hours=1)
    all_operations().filter(pk=operation.pk).update(token="another", lease_until=past)


def meanwhile(remote, operation, phase, work):
    """Run this on a separate connection while the next such request is in progress."""

    def act(called, now):
        if (called, now) == (operation, phase):
            remote.on_request = None
            work()

    remote.on_request = act


def raising(error):
    def refuse(*_args, **_options):
        raise error

    return refuse

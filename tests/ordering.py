"""Operations placed, and what may happen to them meanwhile."""

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
    """Of the items of an operation, or of all (``None``)."""
    items = OperationItem.objects.all() if operation is None else operation.items
    return list(items.order_by("pk").values_list("state", flat=True))


def let_the_wait_pass(operation):
    all_operations().filter(pk=operation.pk).update(resume_at=None)
    WorkspaceWait.objects.all().delete()


def lose_the_worker(operation):
    """As if the process had been killed, and its time had run out."""
    operation.refresh_from_db()
    past = operation.requested_at - timedelta(hours=1)
    all_operations().filter(pk=operation.pk).update(token="another", lease_until=past)


def meanwhile(remote, operation, phase, work):
    """Have this done, on a connection of its own, while the next such request is under way."""

    def act(called, now):
        if (called, now) == (operation, phase):
            remote.on_request = None
            work()

    remote.on_request = act


def raising(error):
    def refuse(*_args, **_options):
        raise error

    return refuse

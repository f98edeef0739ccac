"""What people order: recorded, once for each form, before anything is done."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from .. import logs
from ..conf import Workspace, get_workspace, workspace_aliases
from ..exceptions import ConversationChanged
from ..models import Conversation, Operation, OperationItem
from ..store import leases
from ..store.database import DatabaseClock, all_items, all_operations, write_database
from ..store.deletion import delete_unless_refused
from ..store.leases import claimed as claimed_by_us

MOST_ITEMS = 1_000
_LEASE_SECONDS = Workspace.lease_seconds
KEPT = 500
"""Finished operations that are kept: so many on several conversations, and so many on a single one."""
PRUNED_AT_ONCE = 10
"""The newest of the others; older ones may be there because something refuses to let them go."""

Verb, State = Operation.Verb, OperationItem.State


@dataclass(frozen=True, kw_only=True)
class Orderer:
    """Who ordered it: a user's primary key as text, and the name."""

    pk: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted for one conversation; to create, it is the one whose name the new one takes, saved or not."""

    conversation: Conversation
    wanted: str = ""
    """The new name, for a rename."""
    expected_updated_at: datetime | None = None
    """The ``remote_updated_at`` that the person saw; by default the instance's."""


def place(verb: str, orders: Sequence[Order], *, by: Orderer, form_token: str | None = None) -> tuple[Operation, bool]:
    """Record an operation, to be enqueued by the caller; the one there is if this form was sent before.

    Returns the operation and whether it is new. ``ValueError`` if it is about nothing, about more than ``MOST_ITEMS``,
    or about creating anew what has no name any more.
    """
    if not 1 <= len(orders) <= MOST_ITEMS:
        raise ValueError(f"an operation is about 1 to {MOST_ITEMS:,} conversations, not {len(orders):,}")
    try:
        with transaction.atomic(using=write_database()):
            operation = _open(verb, by=by, form_token=form_token, total=len(orders))
            all_items().bulk_create([_item(operation, order) for order in orders])
    except IntegrityError:
        earlier = None if form_token is None else all_operations().filter(form_token=form_token).first()
        if earlier is None:
            raise
        return earlier, False
    return operation, True


def open_single(verb: str, order: Order, *, by: Orderer, form_token: str, now: datetime) -> OperationItem | None:
    """Record what the caller is about to carry out itself; ``None`` if this form was sent before.

    ``ValueError`` if it is to create anew what has no name any more.
    """
    try:
        with transaction.atomic(using=write_database()):
            claimed = claimed_by_us(seconds=longest_lease(), now=now)
            operation = _open(verb, by=by, form_token=form_token, total=1, started_at=now, **claimed)
            item = _item(operation, order)
            item.state, item.attempts = State.SENT, 1
            item.save(using=write_database())
    except IntegrityError:
        if not was_sent(form_token):
            raise
        return None
    return item


def was_sent(form_token: str) -> bool:
    """Whether something was ordered by this form."""
    return all_operations().filter(form_token=form_token).exists()


def ordered_for(form_token: str) -> set[int]:
    """The primary keys of the conversations that this form has ordered something for."""
    items = all_items().filter(operation__form_token=form_token, conversation__isnull=False)
    return set(items.values_list("conversation_id", flat=True))


def derive_token(form_token: str, *content: Any) -> str:
    """A form's token for one of several things that it may order: always the same for the same ``content`` (JSON)."""
    return hashlib.sha256(json.dumps([form_token, *content]).encode()).hexdigest()[:32]


def retry(operation: Operation, *, by: Orderer) -> bool:
    """Have what failed done again, with the names of now taken for seen; ``False`` if there is nothing to do again.

    A creation whose outcome is unknown is never done again, nor what needs a name that was scrubbed.
    """
    anew = {"finished_at": None, "trouble_since": None, "retried_by": by.name[:255], "retried_by_pk": by.pk}
    with transaction.atomic(using=write_database()):
        if not retryable(operation).exists():
            return False
        if not all_operations().filter(pk=operation.pk, finished_at__isnull=False).update(**anew):
            return False
        items = list(retryable(operation))
        for item in items:
            _forget_failure(item)
        all_items().bulk_update(
            items, ["state", "attempts", "error_code", "error_params", "note", "expected_updated_at"]
        )
    return True


def unsettled(operation: Operation) -> QuerySet[OperationItem]:
    """Those of which nobody knows yet what becomes of them."""
    return all_items().filter(operation=operation, state__in=(State.PENDING, State.SENT))


def retryable(operation: Operation) -> QuerySet[OperationItem]:
    """Those whose name was scrubbed can't be done again, where it is what was wanted."""
    failed = (State.FAILED,) if operation.verb == Verb.CREATE else (State.FAILED, State.UNKNOWN)
    items = all_items().filter(operation=operation, state__in=failed)
    wanted = {Verb.CREATE: "name", Verb.RENAME: "wanted"}.get(Verb(operation.verb))
    return items.exclude(**{wanted: ""}) if wanted else items


def adoptable() -> list[Operation]:
    """Unfinished operations that nobody works on, and that no fresh message is under way for."""
    return list(idle())


def idle(workspace: str | None = None) -> QuerySet[Operation]:
    """The same, to be read; of those about conversations of that workspace, if one is given."""
    patience = timedelta(seconds=longest_lease())
    return unfinished(workspace).filter(leases.idle(DatabaseClock(write_database()).now(), patience=patience))


def unfinished(workspace: str | None = None) -> QuerySet[Operation]:
    """The first ordered first; of those about conversations of that workspace, if one is given."""
    operations = all_operations().filter(finished_at=None).order_by("pk")
    if workspace is None:
        return operations
    return operations.filter(Exists(all_items().filter(operation=OuterRef("pk"), workspace=workspace)))


def longest_lease() -> float:
    """Seconds; an operation may be about several workspaces."""
    try:
        return max((get_workspace(alias).lease_seconds for alias in workspace_aliases()), default=_LEASE_SECONDS)
    except ImproperlyConfigured:  # it is told to whoever asks Orq for something
        return _LEASE_SECONDS


def prune(*, ended: Operation) -> None:
    """Delete the oldest finished operations of the kind that has just ended, but for that one.

    A database that can't is logged: the operation has ended all the same, and the next one's end tries again.
    """
    try:
        _prune(ended)
    except DatabaseError:
        logs.log(logs.PRUNING_FAILED, kind="operations", exc_info=True)


def _prune(ended: Operation) -> None:
    alike = Q(total=1) if ended.total == 1 else ~Q(total=1)
    finished = all_operations().filter(alike, finished_at__isnull=False).order_by("-pk")
    oldest_kept = finished.values_list("pk", flat=True)[KEPT - 1 : KEPT].first()
    if oldest_kept is not None:
        old = finished.filter(pk__lt=oldest_kept).exclude(pk=ended.pk)
        delete_unless_refused(old, list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]))


def _open(verb: str, *, by: Orderer, **columns: Any) -> Operation:
    return all_operations().create(verb=Verb(verb), ordered_by=by.name[:255], ordered_by_pk=by.pk, **columns)


def _item(operation: Operation, order: Order) -> OperationItem:
    conversation = order.conversation
    if operation.verb == Verb.CREATE and conversation.is_scrubbed:
        raise ValueError(_("a scrubbed conversation can't be created again: its name is no longer kept"))
    return OperationItem(
        operation=operation,
        conversation=None if operation.verb == Verb.CREATE else conversation,
        workspace=conversation.workspace,
        name=conversation.display_name,
        wanted=order.wanted,
        expected_updated_at=order.expected_updated_at or conversation.remote_updated_at,
    )


def _forget_failure(item: OperationItem) -> None:
    if item.error_code == ConversationChanged.code:
        item.expected_updated_at = datetime.fromisoformat(item.error_params["updated_at"])
    item.state, item.attempts = State.PENDING, 0
    item.error_code, item.error_params, item.note = "", {}, {}

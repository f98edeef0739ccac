"""The copies of a conversation's name that operations and rejected payloads keep, and how they are scrubbed.

Where a name was, the Orq id stands then, or nothing if there is none.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from ..models import Conversation, OperationItem, RejectedPayload
from ..payloads import REMOTE_ID, is_remote_id
from ..store.database import all_items, all_payloads, all_rows

CHUNK = 500
_FIELDS = ("name", "wanted", "error_params", "note")
_STAND_INS = {"updated_by_id": None, "replaced": None, "server_message": None, "said": ""}
"""For parameters of errors that may hold what people wrote."""
_NOTED_NAMES = ("replaced", "overtaken")


def count_items(rows: Sequence[Conversation]) -> int:
    return _named_items(rows).count()


def scrub_items(rows: Sequence[Conversation]) -> int:
    """In finished operations: a worker may have the others in hand."""
    return sum(scrub(_named_items(rows)))


def scrub(named: QuerySet[OperationItem]) -> Iterator[int]:
    """Some hundreds at a time; yields of how many, of those that are still among them when it is written."""
    while items := list(named.select_related("conversation")[:CHUNK]):
        for item in items:
            _scrub(item, item.conversation)
        yield named.bulk_update(items, _FIELDS)


def items_of_no_row(*, before: datetime, workspace: str | None) -> QuerySet[OperationItem]:
    """Those to be scrubbed, in operations finished before then: of creations that brought no row, and of rows gone."""
    named = (~Q(name="") & ~Q(name__regex=f"^{REMOTE_ID.pattern}$")) | ~Q(wanted="")
    items = all_items().filter(named, conversation=None, operation__finished_at__lt=before)
    return items if workspace is None else items.filter(workspace=workspace)


def let_items_go(rows: Sequence[Conversation]) -> None:
    """Before their conversations are removed, within the transaction that does it, as its first write."""
    items = _items_of(rows)
    items.update(wanted="")
    while chunk := list(items.select_related("conversation")[:CHUNK]):
        for item in chunk:
            _scrub(item, item.conversation)
            item.conversation = None
        all_items().bulk_update(chunk, (*_FIELDS, "conversation"))


def in_hand(rows: Sequence[Conversation]) -> set[int]:
    """The keys of those that an unfinished operation is about."""
    items = _items_of(rows).filter(operation__finished_at=None)
    return {pk for pk in items.values_list("conversation", flat=True) if pk is not None}


def count_payloads(rows: Sequence[Conversation]) -> int:
    return _payloads(rows).count()


def scrub_payloads(rows: Sequence[Conversation]) -> int:
    return _payloads(rows).update(excerpt="")


def _scrub(item: OperationItem, conversation: Conversation | None) -> None:
    known = item.name if is_remote_id(item.name) else ""
    remote_id = known if conversation is None else conversation.remote_id
    item.name, item.wanted = remote_id, ""
    stand_ins = _STAND_INS | {"display_name": remote_id}
    item.error_params |= {name: text for name, text in stand_ins.items() if name in item.error_params}
    item.note = {what: noted for what, noted in item.note.items() if what not in _NOTED_NAMES}


def _named_items(rows: Sequence[Conversation]) -> QuerySet[OperationItem]:
    """Of those of these rows that are still tombstones."""
    named = ~Q(name=F("conversation__remote_id")) | ~Q(wanted="")
    return _items_of(rows).filter(named, operation__finished_at__isnull=False, conversation__deleted_at__isnull=False)


def _items_of(rows: Sequence[Conversation]) -> QuerySet[OperationItem]:
    return all_items().filter(conversation__in=[row.pk for row in rows])


def _payloads(rows: Sequence[Conversation]) -> QuerySet[RejectedPayload]:
    """Of those of these rows that are still tombstones."""
    ids = defaultdict(list)
    for row in rows:
        ids[row.workspace].append(row.remote_id)
    theirs = Q(pk__in=())
    for workspace, keys in ids.items():
        theirs |= Q(workspace=workspace, key__in=keys)
    gone = all_rows().filter(workspace=OuterRef("workspace"), remote_id=OuterRef("key"), deleted_at__isnull=False)
    return all_payloads().filter(theirs, Exists(gone)).exclude(excerpt="")

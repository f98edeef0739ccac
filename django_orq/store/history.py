"""The record of changes. Entries are written in the transaction, and under the lock, of the change itself.

A sync may mirror a change that we requested before Orq's response to our request arrives. Then the response changes
nothing, and takes over the entry that the sync wrote: Orq's ``updatedAt`` identifies the change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from ..models import Conversation, ConversationChange, Operation, OperationItem, SyncRun
from ..payloads import RemoteConversation
from .database import all_rows, write_database
from .rules import Plan, Verdict, same_json

Kind, Origin = ConversationChange.Kind, ConversationChange.Origin
Recorded = dict[str, ConversationChange]
"""Entries by the ids of their conversations."""
_MAX = 255
"""Characters of an actor's id or name that are kept."""


@dataclass(frozen=True, kw_only=True)
class Requester:
    """Who requests a change here: the primary key of a user as text and the name; or a text, as both."""

    pk: str = ""
    name: str = ""
    operation: Operation | None = None
    repeats_since: datetime | None = None
    """Since when processes that died may have sent the request before, if that may be."""

    @classmethod
    def of(cls, by: Any) -> "Requester":
        """Accept a user, a text, a requester, or ``None``."""
        if isinstance(by, cls):
            return by
        pk, name = (by.pk, by.get_username()) if hasattr(by, "get_username") else (by, by)
        return cls(pk=_text(pk), name=_text(name))

    @classmethod
    def of_item(cls, item: OperationItem) -> "Requester":
        """The user who last requested an operation's item."""
        operation = item.operation
        pk, name = item.note.get("retried_by") or (operation.requested_by_pk, operation.requested_by)
        since = item.sent_at if item.attempts > 1 else None
        return cls(pk=pk, name=name, operation=operation, repeats_since=since)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of an entry that say who requested the change."""
        own = {"actor_id": self.pk[:_MAX], "actor_name": self.name[:_MAX], "operation": self.operation}
        return {"origin": Origin.HERE, **own}


def _text(value: Any) -> str:
    """As text that a database can hold, whatever type a project's user names are of."""
    return "" if value is None else str(value).encode(errors="replace").decode().replace("\0", "")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A change that was requested here, and to which an answer is the response."""

    kind: ConversationChange.Kind
    by: Requester
    seen: RemoteConversation | None = None
    """What Orq had before a rename, if that was sent now."""


def all_changes() -> QuerySet[ConversationChange]:
    """All entries, in a query set that can write them; the model's manager returns one that refuses to."""
    return QuerySet(ConversationChange, using=write_database())


def record(plan: Plan, *, run: SyncRun | None, request: Request | None) -> Recorded:
    """Record what an answer changes, and return the last entry of each conversation by its id.

    Call it in the transaction that writes the rows, after they are written.
    """
    entries: list[ConversationChange] = []
    if request is not None:
        entries = _requested(plan, request)
    else:
        for change, row in plan.changed:
            entries += _observed(row, change.remote, is_restored=change.verdict is Verdict.RESTORED)
    return _insert(entries, plan.answer.received_at, run)


def record_deletions(
    rows: Iterable[Conversation], *, recorded_at: datetime, run: SyncRun | None = None, by: Requester | None = None
) -> Recorded:
    """Record that rows became tombstones: after a user's request, or after a confirmation."""
    columns = {"kind": Kind.DELETED} | (by.columns if by is not None else {"origin": Origin.ORQ})
    entries = [_entry(row, old_name=row.display_name, updated_at=row.remote_updated_at, **columns) for row in rows]
    return _insert(entries, recorded_at, run)


def record_restoration(row: Conversation, *, recorded_at: datetime) -> None:
    """Record that a tombstone must have been restored in Orq, because Orq has just deleted it again."""
    names: Any = {"old_name": row.display_name, "new_name": row.display_name, "updated_at": row.remote_updated_at}
    _insert([_entry(row, kind=Kind.RESTORED, origin=Origin.ORQ, **names)], recorded_at, None)


def record_creation(row: Conversation, *, by: Requester, recorded_at: datetime) -> None:
    """Record that a conversation is the result of a creation whose outcome was unknown."""
    columns = {"kind": Kind.CREATED, "new_name": row.display_name, **by.columns}
    _insert([_entry(row, updated_at=row.remote_created_at, **columns)], recorded_at, None)


def take_over_deletion(row: Conversation, by: Requester, *, since: datetime) -> None:
    """Attribute a deletion to the requester whose delete was sent at ``since`` and answered after a confirmation."""
    deletions = all_changes().filter(conversation=row, kind=Kind.DELETED, recorded_at__gte=since)
    if newest := deletions.order_by("pk").last():
        _take_over(all_changes().filter(pk=newest.pk), by)


def name_between(conversation: Conversation, since: datetime, until: datetime) -> str | None:
    """The name that a rename in Orq after ``since`` and before ``until`` set, by Orq's times, if it is on record."""
    renames = all_changes().filter(conversation=conversation, kind=Kind.RENAMED)
    found = renames.filter(remote_updated_at__gt=since, remote_updated_at__lt=until)
    return found.order_by("remote_updated_at", "pk").values_list("new_name", flat=True).last()


def _requested(plan: Plan, request: Request) -> list[ConversationChange]:
    """The entry for the response to a request of ours, after one for what it reveals about earlier changes."""
    (change,) = plan.changes
    row, remote = change.row, change.remote
    before = None if request.kind == Kind.CREATED else _before(row, remote, request)
    entries: list[ConversationChange] = []
    if row is None:
        row = all_rows().get(workspace=plan.workspace, remote_id=remote.remote_id)
    elif change.verdict in (Verdict.UPDATED, Verdict.RESTORED):
        if before is not None:
            entries = _observed(row, before, is_restored=row.deleted_at is not None)
    elif _is_on_record(row, remote, request) or (request.by.repeats_since and request.seen is None):
        return []  # in the second case, somebody else may have given it this name
    old_name = before.display_name if before is not None else None
    if old_name != remote.display_name:
        columns = {**request.by.columns, "kind": request.kind, "old_name": old_name}
        entries.append(_entry(row, new_name=remote.display_name, updated_at=remote.updated_at, **columns))
        if row.remote_updated_at > remote.updated_at:
            return _fitted_in(entries, row, request.by)
    return entries


def _fitted_in(entries: list[ConversationChange], row: Conversation, by: Requester) -> list[ConversationChange]:
    """Fit the last of the entries, ours, in before the change that followed it, whose answer came before ours.

    That change begins with our name, and is a rename only if it gave another one. If it is on record as the same
    rename, that entry stands for both. If it gave the former name back, it has no entry yet.
    """
    ours, kinds = entries[-1], (Kind.RENAMED, Kind.CHANGED)
    later = all_changes().filter(conversation=row, kind__in=kinds, remote_updated_at__gt=ours.remote_updated_at)
    following = later.order_by("remote_updated_at", "pk").first()
    if following is None and row.display_name == ours.old_name:
        names: Any = {"old_name": ours.new_name, "new_name": row.display_name}
        own = {"kind": Kind.RENAMED, "origin": Origin.ORQ, "actor_id": (row.updated_by_id or "")[:_MAX]}
        return [*entries, _entry(row, updated_at=row.remote_updated_at, **own, **names)]
    if following is not None and following.old_name == ours.old_name:
        entry, is_rename = all_changes().filter(pk=following.pk), following.new_name != ours.new_name
        if not (is_rename or following.fields):
            _take_over(entry, by)
            return entries[:-1]
        entry.update(old_name=ours.new_name, kind=Kind.RENAMED if is_rename else Kind.CHANGED)
    return entries


def _is_on_record(row: Conversation, remote: RemoteConversation, request: Request) -> bool:
    """Whether a sync has recorded the change before our answer came. The entry is ours from now on."""
    entries = all_changes().filter(conversation=row, kind=request.kind)
    if request.kind != Kind.CREATED:  # there is only one creation
        entries = entries.filter(remote_updated_at=remote.updated_at)
    return bool(_take_over(entries, request.by) or entries.exists())


def _take_over(entries: QuerySet[ConversationChange], by: Requester) -> int:
    return entries.filter(origin=Origin.ORQ).update(**by.columns)


def _before(row: Conversation | None, remote: RemoteConversation, request: Request) -> RemoteConversation:
    """What Orq had immediately before a rename, as far as we know, with the metadata of now: a rename keeps those.

    A sync may have mirrored something in between; or the rename itself, and then the row has its result. That it has
    no entry then means that the name was the same before, except after a restoration.
    """
    seen = request.seen
    if row is not None and (seen is None or seen.updated_at < row.remote_updated_at <= remote.updated_at):
        is_result = (row.remote_updated_at, row.display_name) == (remote.updated_at, remote.display_name)
        restored = all_changes().filter(conversation=row, kind=Kind.RESTORED, remote_updated_at=remote.updated_at)
        if seen is None or not (is_result and restored.exists()):
            return replace(remote, display_name=row.display_name, updated_by_id=None)
    before = seen or remote
    if row is not None and row.remote_updated_at > remote.updated_at:  # it has a later rename
        name = name_between(row, before.updated_at, remote.updated_at)
        before = before if name is None else replace(before, display_name=name)
    by = before.updated_by_id if same_json(before.metadata, remote.metadata) else None  # nobody says who changed it
    return replace(before, metadata=remote.metadata, updated_by_id=by)


def _observed(row: Conversation, remote: RemoteConversation, *, is_restored: bool) -> list[ConversationChange]:
    """The entry, if any, for a change that was made in Orq: from the row's values to these."""
    known = remote if row.is_scrubbed else row  # of what was removed, nothing is known
    old, new = known.metadata or {}, remote.metadata or {}
    one_sided = old.keys() ^ new.keys()
    keys = sorted(one_sided | {key for key in old.keys() & new.keys() if not same_json(old[key], new[key])})
    renamed = row.display_name != remote.display_name
    if not (is_restored or renamed or keys):
        return []
    kind = Kind.RESTORED if is_restored else Kind.RENAMED if renamed else Kind.CHANGED
    actor = "" if is_restored else remote.updated_by_id or ""  # Orq does not say who restored a conversation
    names = {"old_name": None if row.is_scrubbed else row.display_name, "new_name": remote.display_name}
    columns = {"origin": Origin.ORQ, "actor_id": actor[:_MAX], "fields": keys, **names}
    return [_entry(row, kind=kind, updated_at=remote.updated_at, **columns)]


def _entry(row: Conversation, *, updated_at: datetime, **columns: Any) -> ConversationChange:
    entry = ConversationChange(workspace=row.workspace, remote_updated_at=updated_at, **columns)
    entry.conversation = row
    return entry


def _insert(entries: Sequence[ConversationChange], recorded_at: datetime, run: SyncRun | None) -> Recorded:
    for entry in entries:
        entry.recorded_at, entry.run = recorded_at, run
    all_changes().bulk_create(entries)
    return {entry.conversation.remote_id: entry for entry in entries}

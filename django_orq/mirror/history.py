"""The names that the admin's own history keeps, where that is installed."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import router
from django.db.models import QuerySet

from ..models import Conversation
from ..payloads import is_remote_id
from ..store import content_types
from ..store.database import all_rows

if TYPE_CHECKING:
    from django.contrib.admin.models import LogEntry

CHUNK = 500
_KEY = re.compile(r"[0-9]{1,18}")
"""What can be a row's primary key; others may have written entries about something else."""


def scrub(*, before: datetime, workspace: str | None, apply: bool) -> Iterator[int]:
    """Have entries about old tombstones, and about rows that were removed, name the conversation by its id.

    Goes through all entries about conversations, some hundreds at a time, and yields of how many that is so. A row
    that was removed tells no workspace, so its entries are left alone where one is given.
    """
    if not apps.is_installed("django.contrib.admin"):
        return
    entries = _entries()
    chunk = list(entries[:CHUNK])
    while chunk:
        names = _names_left(chunk, before, workspace)
        named = [entry for entry in chunk if entry.object_repr != names.get(entry.pk, entry.object_repr)]
        for entry in named:
            entry.object_repr = names[entry.pk]
        if apply and named:
            entries.bulk_update(named, ["object_repr"])
        yield len(named)
        chunk = list(entries.filter(pk__gt=chunk[-1].pk)[:CHUNK])


def _entries() -> "QuerySet[LogEntry]":
    from django.contrib.admin.models import LogEntry  # noqa: PLC0415 # perhaps not installed

    using = router.db_for_write(LogEntry)
    about = content_types.of_conversations(using)
    return LogEntry.objects.using(using).filter(content_type__in=about).order_by("pk")


def _names_left(chunk: "Sequence[LogEntry]", before: datetime, workspace: str | None) -> dict[int, str]:
    """By an entry's key, what it is to say where it may say no name any more."""
    keys = {entry.pk: int(key) for entry in chunk if _KEY.fullmatch(key := entry.object_id or "")}
    rows = all_rows().only("workspace", "remote_id", "deleted_at").in_bulk(set(keys.values()))
    about_rows = (entry for entry in chunk if entry.pk in keys)
    names = {entry.pk: _name_left(entry, rows.get(keys[entry.pk]), before, workspace) for entry in about_rows}
    return {pk: name for pk, name in names.items() if name is not None}


def _name_left(entry: "LogEntry", row: Conversation | None, before: datetime, workspace: str | None) -> str | None:
    if row is None:
        is_old = workspace is None and entry.action_time < before and not is_remote_id(entry.object_repr)
        return f"conversation {entry.object_id}" if is_old else None
    is_old = row.deleted_at is not None and row.deleted_at < before and workspace in (None, row.workspace)
    return row.remote_id if is_old else None

"""Exports rows as CSV, in chunks, so that memory does not grow with their number."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from .. import logs
from ..models import Conversation, ConversationChange
from .report import name_actors

CHUNK = 2_000
COLUMNS = {
    "conversation": (
        *("workspace", "remote_id", "display_name", "indexed_state", "remote_created_at", "remote_updated_at"),
        *("created_by_id", "updated_by_id", "metadata", "missing_since", "deleted_at"),
    ),
    "conversationchange": (
        *("id", "workspace", "conversation__remote_id", "kind", "old_name", "new_name", "fields", "origin"),
        *("actor_id", "actor_name", "run_id", "operation_id", "remote_updated_at", "recorded_at"),
    ),
}
"""The columns of each model, in this order."""
_HEADINGS = {"conversation__remote_id": "remote_id", "indexed_state": "state", "fields": "changed_metadata"}
_FORMULA = re.compile(r'(^|[;\r\n]"*)(?=[=+\-@\t\r\n])')
"""What a spreadsheet program takes for a formula. In many countries it expects semicolons between the columns.

A quote after a semicolon opens the next column.
"""
_Values = dict[str, Any]


class _Line:
    """A file for ``csv`` that passes each line on."""

    write = staticmethod(str)


def export(rows: QuerySet[Any], *, user: str, query: str) -> Iterator[str]:
    """Yield the lines of a CSV file with a heading, newest first, and log how many rows it had.

    ``query`` describes the filter in the log.
    """
    model: Any = rows.model._meta.concrete_model  # a project may have a proxy
    kind, count = model._meta.model_name, 0
    columns, writer = COLUMNS[kind], csv.writer(_Line())
    try:
        yield writer.writerow([_HEADINGS.get(column, column) for column in columns])
        for chunk in _chunks(rows.values("pk", *columns), model):
            if model is ConversationChange:
                name_actors(chunk)
            for values in chunk:
                count += 1
                yield writer.writerow([_cell(values[column]) for column in columns])
    finally:
        logs.log(logs.EXPORTED, user=user, kind=kind, query=query, count=count)


def _chunks(rows: QuerySet[Any, _Values], model: Any) -> Iterator[list[_Values]]:
    key = "remote_id" if model is Conversation else "recorded_at"
    rows = rows.order_by(f"-{key}", "-pk")
    chunk = list(rows[:CHUNK])
    while chunk:
        last = {key: chunk[-1][key], "pk": chunk[-1]["pk"]}
        yield chunk
        older = Q(**{f"{key}__lt": last[key]}) | Q(pk__lt=last["pk"])
        chunk = list(rows.filter(older, **{f"{key}__lte": last[key]})[:CHUNK])


def _cell(value: Any) -> Any:
    """A value as text. Spreadsheets would take some texts for formulas; a quote before these prevents that."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value

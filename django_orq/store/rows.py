"""Writes many rows of conversations at once, in the way that is fastest on each database.

Django's own ``bulk_create`` and ``bulk_update`` take several times as long, mostly to compile their SQL.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, JSONField

from ..models import Conversation
from ..models.fields import PlainJSONEncoder
from .database import write_database

MAX_CHARACTERS = 1_000_000
"""Of the rows in one statement on PostgreSQL, whose driver copies the text of a statement several times."""
_ROWS_AT_ONCE = 10
Columns = Mapping[str, Any]
"""The values of one row, by column."""


def insert_rows(rows: Sequence[Columns]) -> None:
    """Insert rows that all have the same columns; the other columns must be nullable.

    Raises ``IntegrityError`` if one of the ids is mirrored already.
    """
    if not rows:
        return
    connection = connections[write_database()]
    ordered = sorted(rows, key=lambda row: row["remote_id"])  # all writers lock rows in this order
    columns = list(ordered[0])
    names = ", ".join(map(connection.ops.quote_name, columns))
    into = f"INSERT INTO {_table(connection)} ({names})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            fields = ((name, Conversation._meta.get_field(name)) for name in columns)
            types = ", ".join(f"{connection.ops.quote_name(name)} {each.db_type(connection)}" for name, each in fields)
            source = f"jsonb_to_recordset(%s::jsonb) AS new ({types})"
            for values in _encoded(ordered):
                cursor.execute(f"{into} SELECT {names} FROM {source}", [values])  # noqa: S608 # names of our own columns
        else:
            places = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"{into} VALUES ({places})", _prepared(ordered, columns, connection))


def update_rows(rows: Iterable[tuple[int, Columns]], *, unless_mirrored_since: bool = False) -> None:
    """Set columns of the rows with these keys; all rows must name the same columns.

    With ``unless_mirrored_since``, ``mirrored_at`` is compared instead of set.
    """
    if not (by_key := dict(rows)):
        return
    connection = connections[write_database()]
    quoted = connection.ops.quote_name
    columns = list(next(iter(by_key.values())))
    conditions = ["id"]
    if unless_mirrored_since:
        columns.remove("mirrored_at")
        conditions.append("mirrored_at")
    assigned = ", ".join(f"{quoted(column)} = %s" for column in columns)
    held = " AND ".join(f"{quoted(column)} = %s" for column in conditions)
    values = _prepared([{**row, "id": pk} for pk, row in by_key.items()], [*columns, *conditions], connection)
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {_table(connection)} SET {assigned} WHERE {held}", values)  # noqa: S608 # as above


class _Encoder(json.JSONEncoder):
    """Writes ASCII: in the memory of Python, one emoji makes every character of a text four times as long."""

    def default(self, value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else super().default(value)


def _encoded(rows: Sequence[Columns]) -> Iterator[str]:
    """Yield JSON arrays of the rows, each for one statement."""
    parts: list[str] = []
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = _Encoder().encode(rows[first : first + _ROWS_AT_ONCE])[1:-1]
        if parts and sum(map(len, parts)) + len(part) > MAX_CHARACTERS:
            yield _joined(parts)
        parts.append(part)
    yield _joined(parts)


def _joined(parts: list[str]) -> str:
    """A JSON array; ``parts`` is emptied, so that the text is not in memory twice while it is sent."""
    text = f"[{','.join(parts)}]"
    parts.clear()
    return text


def _table(connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(Conversation._meta.db_table)


def _prepared(rows: Sequence[Columns], columns: Sequence[str], connection: BaseDatabaseWrapper) -> list[Sequence[Any]]:
    """The values as the database's driver takes them, row by row."""
    prepared = (map(_preparer(column, connection), [row[column] for row in rows]) for column in columns)
    return list(zip(*prepared, strict=True))


def _preparer(column: str, connection: BaseDatabaseWrapper) -> Callable[[Any], Any]:
    """The field's ``get_db_prep_save``, or a function that does the same in a fraction of its time."""
    field: Any = Conversation._meta.get_field(column)
    if connection.vendor == "postgresql":
        return partial(field.get_db_prep_save, connection=connection)
    if isinstance(field, DateTimeField):
        zone = connection.timezone
        return cache(lambda value: value and str(value.astimezone(zone).replace(tzinfo=None)))
    if isinstance(field, JSONField):
        encode = PlainJSONEncoder().encode
        return lambda value: None if value is None else encode(value)
    return lambda value: value

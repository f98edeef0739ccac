"""What refers to conversations by constraints of which no model tells: made by hand, or by another program.

The database would let such a row go, or forget its conversation, if the constraint says so.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections

from ..models import Conversation
from ..store.database import write_database
from . import tables

Column = tuple[str, str]
"""The names of a table and of a column of it, as the database has them."""
_TARGETS = ("id", "remote_id")
"""The columns of a conversation that tell which one it is; the workspace beside the Orq id says nothing more."""


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A column that holds the key, or the Orq id, of a conversation."""

    table: str
    column: str
    target: str

    def to(self, rows: Sequence[Conversation]) -> set[int]:
        held = self._held([getattr(row, self.target) for row in rows])
        return {row.pk for row in rows if str(getattr(row, self.target)) in held}

    def _held(self, values: list[Any]) -> set[str]:
        """Those of these values that the column has, as text: it may have numbers of another type."""
        using = write_database()
        table, column = (tables.quoted(name, using) for name in (self.table, self.column))
        places = ", ".join(["%s"] * len(values))
        sql = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IN ({places})"  # noqa: S608 # the database's names
        with connections[using].cursor() as cursor:
            cursor.execute(sql, values)
            return {str(value) for (value,) in cursor.fetchall()}


def besides(known: Collection[Column]) -> list[Constraint]:
    """All there are in the database of conversations, but for those of these columns."""
    found = (found for table in sorted(tables.names_in(write_database(), views=False)) for found in _of(table))
    return [one for one in dict.fromkeys(found) if (one.table, one.column) not in known]


def _of(table: str) -> Iterator[Constraint]:
    connection = connections[write_database()]
    with connection.cursor() as cursor:
        relations: dict[str, Any] = connection.introspection.get_relations(cursor, table)
    for column, (target, referenced, *_) in relations.items():  # from Django 6.1 on, what a deletion does is third
        if referenced.lower() != Conversation._meta.db_table:
            continue
        target = "id" if target is None else target.lower()  # SQLite, where the constraint names no column
        if target in _TARGETS:
            yield Constraint(table=table, column=column, target=target)
        elif target == "workspace":
            yield from _second_of_pairs(table)


def _second_of_pairs(table: str) -> Iterator[Constraint]:
    """Of a constraint on several columns, PostgreSQL's relations tell the first; this is the Orq id, then."""
    connection = connections[write_database()]
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, table)
    for constraint in constraints.values():
        columns = list(constraint["columns"])
        if constraint["foreign_key"] == (Conversation._meta.db_table, "workspace") and len(columns) == 2:
            yield Constraint(table=table, column=columns[1], target="remote_id")

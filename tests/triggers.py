"""Counts writes in the database: one trigger for each kind of write to a conversation's row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.db import connection

_KINDS = ("INSERT", "UPDATE", "DELETE")
_FUNCTION = """
    CREATE OR REPLACE FUNCTION count_write() RETURNS trigger AS $$
    BEGIN INSERT INTO write_count VALUES (1); RETURN NULL; END $$ LANGUAGE plpgsql
"""
_TRIGGERS = {
    "sqlite": "CREATE TRIGGER count_{kind} AFTER {kind} ON django_orq_conversation "
    "BEGIN INSERT INTO write_count VALUES (1); END",
    "mysql": "CREATE TRIGGER count_{kind} AFTER {kind} ON django_orq_conversation "
    "FOR EACH ROW INSERT INTO write_count VALUES (1)",
    "postgresql": "CREATE TRIGGER count_{kind} AFTER {kind} ON django_orq_conversation "
    "FOR EACH ROW EXECUTE FUNCTION count_write()",
}


@contextmanager
def written_rows() -> Iterator[Callable[[], int]]:
    """Yield a function that returns how many rows of conversations were inserted, updated or deleted since."""
    execute("CREATE TABLE write_count (n integer)")
    if connection.vendor == "postgresql":
        execute(_FUNCTION)
    for kind in _KINDS:
        execute(_TRIGGERS[connection.vendor].format(kind=kind))
    try:
        yield _count
    finally:
        for kind in _KINDS:
            on_table = " ON django_orq_conversation" if connection.vendor == "postgresql" else ""
            execute(f"DROP TRIGGER count_{kind}{on_table}")
        execute("DROP TABLE write_count")


def execute(sql: str, values: Sequence[object] | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def _count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM write_count")
        return int(cursor.fetchone()[0])

"""What the tables of a database are called there."""

from django.db import connections


def names_in(using: str, *, views: bool = True) -> set[str]:
    """Of tables, and views, that are found without a schema."""
    connection = connections[using]
    with connection.cursor() as cursor:
        return set(connection.introspection.table_names(cursor, include_views=views))


def as_kept(name: str, using: str) -> str:
    """A table's name as PostgreSQL cuts it: silently, to so many bytes of whole characters."""
    connection = connections[using]
    longest = connection.ops.max_name_length() if connection.vendor == "postgresql" else None
    return name.encode()[:longest].decode(errors="ignore")

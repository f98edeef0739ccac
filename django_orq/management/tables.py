"""What the tables of a database are called there."""

from django.db import connections


def names_in(using: str, *, views: bool = True) -> set[str]:
    """Of tables, their partitions too, and of views, that are found without a schema."""
    connection = connections[using]
    with connection.cursor() as cursor:
        found = connection.introspection.get_table_list(cursor)
    return {table.name for table in found if views or table.type != "v"}


def quoted(name: str, using: str) -> str:
    """A name for an SQL statement with parameters, whatever characters it has."""
    quote = "`" if connections[using].vendor == "mysql" else '"'
    return f"{quote}{name.replace(quote, quote * 2)}{quote}".replace("%", "%%")


def as_kept(name: str, using: str) -> str:
    """A table's name as PostgreSQL cuts it: silently, to so many bytes of whole characters."""
    connection = connections[using]
    longest = connection.ops.max_name_length() if connection.vendor == "postgresql" else None
    return name.encode()[:longest].decode(errors="ignore")

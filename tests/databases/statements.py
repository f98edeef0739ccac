"""Which database receives which statements."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections

OURS = re.compile(r"\b(django_orq|references_(?!label))")
OF_THE_REST = re.compile(r"\b(auth|django_admin|django_content_type|django_session)")
READING = ("SELECT", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "PRAGMA")


class Heard(dict[str, list[str]]):
    """The statements that each database received."""

    def ours_in(self, alias: str) -> list[str]:
        return [sql for sql in self[alias] if OURS.search(sql)]

    def of_the_rest_in(self, alias: str) -> list[str]:
        return [sql for sql in self[alias] if OF_THE_REST.search(sql)]

    def written_in(self, alias: str) -> list[str]:
        return [sql for sql in self[alias] if not sql.lstrip("( ").startswith(READING)]


@contextmanager
def heard() -> Iterator[Heard]:
    """Collects the statements that this thread sends to each database during the block."""
    heard = Heard({alias: [] for alias in connections})

    def listen(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        heard[context["connection"].alias].append(sql)
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(connections[alias].execute_wrapper(listen))
        yield heard

"""Filters for the lists of conversations; the admin and the REST API share them."""

import re
from collections.abc import Iterator

from django.db import connections
from django.db.models import QuerySet

from . import Conversation

MAX_SEARCHED = 100_000
"""How many names a search reads, newest first: no index serves a search for part of a name."""
MAX_TERM = 100
"""Characters; names in Orq are not longer."""
SEARCH_INDEX = "django_orq_conv_search"
"""The index of trigrams that ``orq_search_index`` builds on PostgreSQL."""
_MIN_WORD = 3
_LAST_CHARACTER = "~"
"""Sorts after every character of an id."""


def workspaces(conversations: QuerySet[Conversation]) -> Iterator[str]:
    """Yield the aliases that occur. For each, one query reads one entry of an index."""
    aliases = conversations.order_by("workspace").values_list("workspace", flat=True)
    alias = aliases.first()
    while alias is not None:
        yield alias
        alias = aliases.filter(workspace__gt=alias).first()


def in_state(conversations: QuerySet[Conversation], state: str | None) -> QuerySet[Conversation]:
    """Return the conversations in a state; “any” returns all of them, ``None`` those that are not deleted."""
    if state is None:
        return conversations.filter(deleted_at=None)
    return conversations if state == "any" else conversations.filter(indexed_state=state)


def cleaned(term: str) -> str:
    """Return the term without blanks around it.

    If it consists of quotation marks and commas, these are quoted: otherwise they would match every name.
    """
    term = term.strip()
    return term if not term or re.search(r"[^\s\"',]", term) else '"{}"'.format(term.replace('"', '\\"'))


def is_id(term: str) -> bool:
    """Return whether the term is the beginning of an Orq id rather than part of a name."""
    return term.lower().startswith("conv_")


def by_id(conversations: QuerySet[Conversation], prefix: str) -> QuerySet[Conversation]:
    """Return the conversations whose id begins with the prefix, in upper or lower case."""
    prefix = prefix.lower()
    return conversations.filter(remote_id__gte=prefix, remote_id__lt=prefix + _LAST_CHARACTER)


def has_index(using: str) -> bool:
    """Return whether the database has a complete index of trigrams."""
    if connections[using].vendor != "postgresql":
        return False
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [SEARCH_INDEX])
        return bool((cursor.fetchone() or [False])[0])


def oldest_searched(newest_first: QuerySet[Conversation], term: str, *, shares: int = 1) -> str | None:
    """Return the oldest id that a search for this term reads; ``None`` if it reads all of them.

    A search of several workspaces reads in each its share of ``MAX_SEARCHED``.
    """
    words = [word for word in re.split(r"[\s\"']+", term) if word]
    if min(map(len, words), default=0) >= _MIN_WORD and has_index(newest_first.db):
        return None
    most = MAX_SEARCHED // shares
    last_two = list(newest_first.values_list("remote_id", flat=True)[most - 1 : most + 1])
    return last_two[0] if len(last_two) > 1 else None

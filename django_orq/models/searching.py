"""Filters for the lists of conversations; the admin and the REST API share them."""

from collections.abc import Iterator

from django.db.models import QuerySet

from . import Conversation

MAX_SEARCHED = 100_000
"""How many names a search reads, newest first: no index serves a search for part of a name."""
MAX_TERM = 100
"""Characters; names in Orq are not longer."""
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


def is_id(term: str) -> bool:
    """Return whether the term is the beginning of an Orq id rather than part of a name."""
    return term.lower().startswith("conv_")


def by_id(conversations: QuerySet[Conversation], prefix: str) -> QuerySet[Conversation]:
    """Return the conversations whose id begins with the prefix, in upper or lower case."""
    prefix = prefix.lower()
    return conversations.filter(remote_id__gte=prefix, remote_id__lt=prefix + _LAST_CHARACTER)


def oldest_searched(newest_first: QuerySet[Conversation], *, shares: int = 1) -> str | None:
    """Return the oldest id that a search reads; ``None`` if it reads all of them.

    A search of several workspaces reads in each its share of ``MAX_SEARCHED``.
    """
    most = MAX_SEARCHED // shares
    last_two = list(newest_first.values_list("remote_id", flat=True)[most - 1 : most + 1])
    return last_two[0] if len(last_two) > 1 else None

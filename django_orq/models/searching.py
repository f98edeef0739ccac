"""Which conversations a search looks through, for people and programs alike."""

from django.db.models import QuerySet

from . import Conversation

MAX_SEARCHED = 100_000
"""How many names are looked through, the newest first: no index helps to find a part of a name."""
MAX_TERM = 100
"""Characters: no name is longer."""
_BEHIND = "~"
"""Sorts behind every character of an id."""


def in_state(conversations: QuerySet[Conversation], state: str | None) -> QuerySet[Conversation]:
    """Those in a state, in “any”, or for ``None`` all but deleted ones."""
    if state is None:
        return conversations.filter(deleted_at=None)
    return conversations if state == "any" else conversations.filter(indexed_state=state)


def is_id(term: str) -> bool:
    """Whether this is the beginning of an Orq id rather than a part of a name."""
    return term.lower().startswith("conv_")


def by_id(conversations: QuerySet[Conversation], prefix: str) -> QuerySet[Conversation]:
    prefix = prefix.lower()
    return conversations.filter(remote_id__gte=prefix, remote_id__lt=prefix + _BEHIND)


def oldest_searched(newest_first: QuerySet[Conversation]) -> str | None:
    """The id down to which names are looked through; ``None`` if that is all of them."""
    ids = newest_first.values_list("remote_id", flat=True)
    last_ones = list(ids[MAX_SEARCHED - 1 : MAX_SEARCHED + 1])
    return last_ones[0] if len(last_ones) > 1 else None

"""Which conversations a search looks through, in the list and in the fields of other models."""

from django.db.models import QuerySet
from django.http import HttpRequest

from ..models import Conversation

MAX_SEARCHED = 100_000
"""How many names are looked through, the newest first: no index helps to find a part of a name."""
_BEHIND = "~"
"""Sorts behind every character of an id."""
_CUT = "django_orq_search_cut"


def is_completing(request: HttpRequest) -> bool:
    """Whether this fills a field of another model, rather than the list."""
    return request.resolver_match is not None and request.resolver_match.url_name == "autocomplete"


def offered(conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """What a new reference may be made to, in the order of the index."""
    return conversations.filter(deleted_at=None).order_by("-deleted_at", "-remote_id", "-pk")


def by_id(conversations: QuerySet[Conversation], prefix: str) -> QuerySet[Conversation]:
    return conversations.filter(remote_id__gte=prefix, remote_id__lt=prefix + _BEHIND)


def newest(request: HttpRequest, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """As many as a search may look through; remembers with the request whether there are more."""
    newest_first = ["-" + str(name).removeprefix("-") for name in conversations.query.order_by]
    ids = conversations.order_by(*newest_first).values_list("remote_id", flat=True)
    last_ones = list(ids[MAX_SEARCHED - 1 : MAX_SEARCHED + 1])
    if len(last_ones) < 2:
        return conversations
    setattr(request, _CUT, True)
    return conversations.filter(remote_id__gte=last_ones[0])


def is_search_cut(request: HttpRequest) -> bool:
    """Whether ``newest`` left some out."""
    return getattr(request, _CUT, False)

"""Which conversations a search looks through, in the list and in the fields of other models."""

from django.db.models import QuerySet
from django.http import HttpRequest

from ..models import Conversation
from ..models.searching import oldest_searched

_CUT = "django_orq_search_cut"


def is_completing(request: HttpRequest) -> bool:
    """Whether this fills a field of another model, rather than the list."""
    return _view(request) == "autocomplete"


def is_listing(request: HttpRequest) -> bool:
    """Whether conversations are shown in numbers, and nothing is done with them."""
    return request.method == "GET" and (is_completing(request) or _view(request).endswith("_changelist"))


def _view(request: HttpRequest) -> str:
    """The name of the URL that was asked for."""
    return (request.resolver_match.url_name if request.resolver_match else None) or ""


def offered(conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """What a new reference may be made to, in the order of the index."""
    return conversations.filter(deleted_at=None).order_by("-deleted_at", "-remote_id", "-pk")


def newest(request: HttpRequest, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """As many as a search may look through; remembers with the request whether there are more."""
    newest_first = ["-" + str(name).removeprefix("-") for name in conversations.query.order_by]
    oldest = oldest_searched(conversations.order_by(*newest_first))
    if oldest is None:
        return conversations
    setattr(request, _CUT, True)
    return conversations.filter(remote_id__gte=oldest)


def is_search_cut(request: HttpRequest) -> bool:
    """Whether ``newest`` left some out."""
    return getattr(request, _CUT, False)

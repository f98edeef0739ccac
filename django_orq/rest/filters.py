"""Which conversations and runs are listed; a value without sense is refused rather than passed over."""

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rest_framework import filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from ..models import Conversation
from ..models.searching import MAX_TERM, by_id, is_id, oldest_searched_in_database
from ..payloads import created_at, first_id
from ..store.database import write_database
from ..sync.runs import freshness_and
from .serializers import ConversationQuery, SyncRunQuery

__all__ = ["BoundedSearch", "CreatedAndUpdated", "ListedState", "RunModeAndState"]

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
"""What every database can compare with, and no conversation is outside of."""


class OfLists(filters.BaseFilterBackend):
    """Leaves a single row alone, which is shown whatever the list is filtered by; other backends hold for it too."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        names_one = (view.lookup_url_kwarg or view.lookup_field) in view.kwargs
        return queryset if names_one else self.filter_list(request, queryset, view)

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        raise NotImplementedError


class ListedState(OfLists):
    """``?state=``: all but deleted ones, unless it is given; then the view learns that these are hidden."""

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        match asked(request, ConversationQuery).get("state"):
            case None:
                view.hides_deleted = True
                return queryset.filter(deleted_at=None)
            case "any":
                return queryset
            case state:
                return queryset.filter(indexed_state=state)


class CreatedAndUpdated(OfLists):
    """Ranges of time. Ids sort by creation, so a range of creation is one of ids."""

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        values = asked(request, ConversationQuery)
        times = {name: _comparable(moment) for name, moment in values.items() if isinstance(moment, datetime)}
        if "created_after" in times:
            queryset = queryset.filter(remote_id__gte=first_id(times["created_after"]))
        if "created_before" in times:
            queryset = queryset.filter(remote_id__lt=first_id(times["created_before"]))
        if "updated_after" in times:
            queryset = queryset.filter(remote_updated_at__gte=times["updated_after"])
        if "updated_before" in times:
            queryset = queryset.filter(remote_updated_at__lt=times["updated_before"])
        return queryset


class BoundedSearch(OfLists, filters.SearchFilter):
    """Parts of the name among the newest conversations, or the beginning of an Orq id; comes after other filters."""

    search_description: Any = _("Parts of the name, or the beginning of an Orq id (conv_…).")

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        terms = self.get_search_terms(request)
        if not terms:
            return queryset
        if len(terms) == 1 and is_id(terms[0]):
            return by_id(queryset, terms[0])
        return filters.SearchFilter.filter_queryset(self, request, _newest(queryset, view), view)

    def get_search_terms(self, request: Request) -> list[str]:
        if len(request.query_params.get(self.search_param, "")) > MAX_TERM:
            message = gettext("Search for at most %(most)s characters.") % {"most": MAX_TERM}
            raise ValidationError({self.search_param: [message]})
        try:
            return list(super().get_search_terms(request))
        except ValidationError as error:
            raise ValidationError({self.search_param: error.detail}) from None


class RunModeAndState(OfLists):
    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        return queryset.filter(**asked(request, SyncRunQuery))


def asked(request: Request, query: type[Any]) -> dict[str, Any]:
    """The query string's values, checked."""
    values = query(data=request.query_params)
    values.is_valid(raise_exception=True)
    checked: dict[str, Any] = values.validated_data
    return checked


def _newest(queryset: QuerySet[Conversation], view: Any) -> QuerySet[Conversation]:
    """As many as a search may look through; the view learns how far back that goes, and how fresh the mirror is."""
    pinned = ("-deleted_at",) if getattr(view, "hides_deleted", False) else ()
    newest_first = queryset.using(write_database()).order_by(*pinned, "-remote_id")
    view.freshness, oldest = freshness_and(view.workspace, oldest_searched_in_database(newest_first))
    if oldest is None:
        return queryset
    view.searched_back_to = created_at(oldest)
    return queryset.filter(remote_id__gte=oldest)


def _comparable(moment: datetime) -> datetime:
    return min(max(moment, _EARLIEST), _LATEST)

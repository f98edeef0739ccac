"""Which conversations and runs are listed, and in pages; a value without sense is refused rather than passed over."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import filters, pagination
from rest_framework.exceptions import NotFound
from rest_framework.fields import DateTimeField
from rest_framework.request import Request
from rest_framework.response import Response

from ..models import Conversation
from ..models.searching import by_id, in_state, is_id, oldest_searched
from ..payloads import REMOTE_ID, created_at, first_id
from ..sync.runs import freshness
from .errors import InvalidCursor
from .serializers import MAX_PAGE_SIZE, ConversationQuery, FreshnessSerializer, SyncRunQuery

__all__ = [
    "BoundedSearch",
    "ConversationPagination",
    "CreatedAndUpdated",
    "ListedState",
    "RunModeAndState",
    "SyncRunPagination",
]

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
        state = asked(request, ConversationQuery).get("state")
        view.hides_deleted = state is None
        return in_state(queryset, state)


class CreatedAndUpdated(OfLists):
    """Ranges of time. Ids sort by creation, so a range of creation is one of ids."""

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        values = asked(request, ConversationQuery)
        times = {n: min(max(time, _EARLIEST), _LATEST) for n, time in values.items() if isinstance(time, datetime)}
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

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if not asked(request, ConversationQuery).get("search"):
            return queryset
        terms = self.get_search_terms(request)
        if len(terms) == 1 and is_id(terms[0]):
            return by_id(queryset, terms[0])
        return filters.SearchFilter.filter_queryset(self, request, _newest(queryset, view), view)


class RunModeAndState(OfLists):
    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        values = asked(request, SyncRunQuery)
        return queryset.filter(**{name: values[name] for name in ("mode", "state") if name in values})


def asked(request: Request, query: type[Any]) -> Any:
    """The query string's values, checked."""
    values = query(data=request.query_params)
    values.is_valid(raise_exception=True)
    return values.validated_data


def _newest(queryset: QuerySet[Conversation], view: Any) -> QuerySet[Conversation]:
    """As many as a search may look through; the view learns how far back that goes."""
    pinned = ("-deleted_at",) if getattr(view, "hides_deleted", False) else ()
    oldest = oldest_searched(queryset.order_by(*pinned, "-remote_id"))
    if oldest is None:
        return queryset
    view.searched_back_to = created_at(oldest)
    return queryset.filter(remote_id__gte=oldest)


class MirrorPagination(pagination.CursorPagination):
    """Newest first, 1 to 100 on a page; each answer says how fresh the mirror is."""

    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE
    position: ClassVar[re.Pattern[str]]
    """What a cursor may hold: it may have been tampered with."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        # Before the page, which is then at least as fresh.
        self.freshness = freshness(view.workspace)
        return super().paginate_queryset(queryset, request, view)

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise InvalidCursor from None
        if cursor and cursor.position is not None and not self.position.fullmatch(str(cursor.position)):
            raise InvalidCursor
        return cursor

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["freshness"] = FreshnessSerializer(self.freshness).data
        return response


class ConversationPagination(MirrorPagination):
    """``remote_id`` is unique within a workspace, so the cursor is exact."""

    ordering = "-remote_id"
    position = REMOTE_ID

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        if getattr(view, "hides_deleted", False):
            queryset = _Pinned(queryset=queryset, column="deleted_at")
        self.searched_back_to = getattr(view, "searched_back_to", None)
        return super().paginate_queryset(queryset, request, view)

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        back_to = self.searched_back_to
        response.data["searched_back_to"] = back_to and DateTimeField().to_representation(back_to)
        return response


class SyncRunPagination(MirrorPagination):
    ordering = "-id"
    position = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class _Pinned:
    """A queryset whose order begins with a column that is the same in all rows, as that of an index does.

    PostgreSQL doesn't see that NULL is the same in all rows, and would sort the whole table.
    """

    queryset: QuerySet[Any]
    column: str

    def order_by(self, first: str, *rest: str) -> QuerySet[Any]:
        sign = "-" if first.startswith("-") else ""
        return self.queryset.order_by(sign + self.column, first, *rest)

"""Filters and pagination of the lists. An invalid value is an error (400, or 404 for a cursor); it is not ignored."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from rest_framework import filters, pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from ..models import Conversation
from ..models.searching import by_id, cleaned, in_state, is_id, oldest_searched
from ..payloads import REMOTE_ID, created_at, first_id
from ..sync.runs import freshness
from .errors import InvalidCursor
from .serializers import MAX_PAGE_SIZE, FreshnessSerializer, TimeField

__all__ = ["ChangePagination", "ConversationFilter", "ConversationPagination", "QueryFilter", "SyncRunPagination"]

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
"""Times outside this range are not supported by every database. No conversation lies outside it."""


class QueryFilter(filters.BaseFilterBackend):
    """Filters lists by the query parameters in ``lookups`` of the view's ``query_class``.

    If the URL names one row, it does nothing.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        names_one = (view.lookup_url_kwarg or view.lookup_field) in view.kwargs
        return queryset if names_one else self.filter_list(request, queryset, view, asked(request, view.query_class))

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any, values: Any) -> QuerySet[Any]:
        lookups = view.query_class.lookups.items()
        return queryset.filter(**{lookup: values[name] for name, lookup in lookups if name in values})


class ConversationFilter(QueryFilter, filters.SearchFilter):
    """The filters of conversations; by default, excludes deleted ones.

    ``?search=`` is the start of an Orq id, or parts of a name. Of the conversations in that state that were created in
    that time, names of the newest are searched, whenever they were updated.

    Sets attributes of the view for its pagination: ``hides_deleted``; ``listing``, the values of the query;
    ``searched_back_to``, an id, if a search did not cover all.
    """

    search_param = "search"  # whatever SEARCH_PARAM the project sets: ConversationQuery validates this one

    def filter_list(self, request: Request, queryset: QuerySet[Any], view: Any, values: Any) -> QuerySet[Any]:
        view.hides_deleted = "state" not in values
        queryset = in_state(queryset, values.get("state"))
        created = {"created_after": "remote_id__gte", "created_before": "remote_id__lt"}  # ids sort by creation time
        ids = {lookup: first_id(values[name]) for name, lookup in created.items() if name in values}
        queryset = queryset.filter(**ids)
        if before := values.get("before"):
            queryset = queryset.filter(remote_id__lt=before)
        if values.get("search"):
            queryset = self._search(request, queryset, view)
        view.listing = values
        return super().filter_list(request, queryset, view, values)

    def get_search_terms(self, request: Request) -> list[str]:
        text: Any = cleaned(request.query_params.get(self.search_param, ""))
        return filters.search_smart_split(text)

    def _search(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        terms = self.get_search_terms(request)
        if len(terms) == 1 and is_id(terms[0]):
            return by_id(queryset, terms[0])
        return filters.SearchFilter.filter_queryset(self, request, _newest(queryset, " ".join(terms), view), view)


def asked(request: Request, query: type[Any]) -> Any:
    """Return the values of the query parameters, validated."""
    values = query(data=request.query_params)
    values.is_valid(raise_exception=True)
    found = values.validated_data.items()
    return {name: min(max(one, _EARLIEST), _LATEST) if isinstance(one, datetime) else one for name, one in found}


def _newest(queryset: QuerySet[Conversation], term: str, view: Any) -> QuerySet[Conversation]:
    """Limit to the newest rows that a search covers; if these are not all, set ``searched_back_to`` of the view."""
    pinned = ("-deleted_at",) if getattr(view, "hides_deleted", False) else ()
    if (oldest := oldest_searched(queryset.order_by(*pinned, "-remote_id"), term)) is None:
        return queryset
    view.searched_back_to = oldest
    return queryset.filter(remote_id__gte=oldest)


def _is_time(text: str) -> bool:
    with suppress(ValueError, TypeError):
        return _EARLIEST <= datetime.fromisoformat(text) <= _LATEST
    return False


_POSITIONS: dict[str, Callable[[str], object]] = {
    "remote_id": REMOTE_ID.fullmatch,
    "remote_updated_at": _is_time,
    "recorded_at": _is_time,
    "id": re.compile("[0-9]{1,18}").fullmatch,
}
"""Whether a text can be a cursor's position, by the column of the order."""


class MirrorPagination(pagination.CursorPagination):
    """Newest first, 1 to 100 on a page. Each page includes the freshness of the mirror."""

    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        # Read before the page, so that the page is at least as fresh.
        self.freshness = freshness(view.workspace)
        return super().paginate_queryset(queryset, request, view)

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise InvalidCursor from None
        is_position = _POSITIONS.get(self.ordering[0].removeprefix("-"), bool)
        if cursor and cursor.position is not None and not is_position(str(cursor.position)):  # a client altered it
            raise InvalidCursor
        return cursor

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["freshness"] = FreshnessSerializer(self.freshness).data
        return response


class ConversationPagination(MirrorPagination):
    """In the order of ``remote_id``, which is unique within a workspace: no page skips or repeats a row.

    A range of update times is read in the order of these, for which there is an index.
    """

    ordering = "-remote_id"
    offset_cutoff = 100_000
    """The maximum number of conversations of one update time; in the other order, positions are unique."""

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> Any:
        asked: Any = getattr(view, "listing", {})
        names = ("remote_updated_at", "id") if asked.get("by_update") else (self.ordering.removeprefix("-"),)
        return tuple(name if asked.get("ascending") else f"-{name}" for name in names)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        if getattr(view, "hides_deleted", False):
            queryset = _Pinned(queryset=queryset, column="deleted_at")
        self.searched_back_to: str | None = getattr(view, "searched_back_to", None)
        self.url = request.build_absolute_uri()
        return super().paginate_queryset(queryset, request, view)

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        back_to = self.searched_back_to
        response.data["searched_back_to"] = back_to and TimeField().to_representation(created_at(back_to))
        url = remove_query_param(self.url, self.cursor_query_param)
        response.data["search_older"] = back_to and replace_query_param(url, "before", back_to)
        return response


class SyncRunPagination(MirrorPagination):
    ordering = "-id"


class ChangePagination(MirrorPagination):
    ordering = ("-recorded_at", "-id")
    offset_cutoff = 100_000
    """The maximum number of changes that were recorded at one time, as those of a batch are."""


@dataclass(frozen=True, kw_only=True)
class _Pinned:
    """A query set whose ordering begins with a column that is NULL in all rows, because the index begins with it.

    PostgreSQL does not know that the column is NULL in all rows, and would otherwise sort the whole table.
    """

    queryset: QuerySet[Any]
    column: str

    def order_by(self, first: str, *rest: str) -> QuerySet[Any]:
        sign = "-" if first.startswith("-") else ""
        return self.queryset.order_by(sign + self.column, first, *rest)

"""Pages of the lists: one cursor, and how fresh the mirror is."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rest_framework import pagination
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.fields import DateTimeField
from rest_framework.request import Request
from rest_framework.response import Response

from ..payloads import is_remote_id
from ..sync.runs import Freshness, freshness
from .errors import InvalidCursor
from .serializers import FreshnessSerializer

__all__ = ["ConversationPagination", "SyncRunPagination"]

_TIME_OR_NULL = {"type": "string", "format": "date-time", "nullable": True}
_FRESHNESS: Any = _("When the newest complete run of each kind began; null if there was none.")
_SEARCHED: Any = _(
    "Since when what was created has been searched for the name, if that was not everything; else null."
)


class MirrorPagination(pagination.CursorPagination):
    """Newest first, 1 to 100 on a page; each answer says how fresh the mirror is."""

    page_size = 25
    page_size_query_param = "page_size"
    page_size_query_description: Any = _("How many are on a page: 1 to 100.")
    cursor_query_description: Any = _("The page, as next and previous have it.")
    max_page_size = 100
    freshness: Freshness

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        # Before the page, which is then at least as fresh.
        self.freshness = getattr(view, "freshness", None) or freshness(view.workspace)
        page: list[Any] | None = super().paginate_queryset(queryset, request, view)
        return page

    def get_page_size(self, request: Request) -> int:
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        if not (asked.isascii() and asked.isdecimal() and len(asked) < 9 and 1 <= int(asked) <= self.max_page_size):
            message = gettext("Ask for a whole number from 1 to %(most)s.") % {"most": self.max_page_size}
            raise ValidationError({self.page_size_query_param: [message]})
        return int(asked)

    def decode_cursor(self, request: Request) -> Any:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise InvalidCursor from None
        if cursor is not None and cursor.position is not None and not self.is_position(str(cursor.position)):
            raise InvalidCursor
        return cursor

    def is_position(self, position: str) -> bool:
        """Whether a cursor may hold it: it may have been tampered with."""
        raise NotImplementedError

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["freshness"] = FreshnessSerializer(self.freshness).data
        return response

    def get_paginated_response_schema(self, schema: Any) -> Any:
        described = super().get_paginated_response_schema(schema)
        times = {"new": _TIME_OR_NULL, "everything": _TIME_OR_NULL}
        freshness = {"type": "object", "required": list(times), "properties": times}
        described["properties"]["freshness"] = freshness | {"description": _FRESHNESS}
        return described | {"required": list(described["properties"])}

    def get_schema_operation_parameters(self, view: Any) -> Any:
        cursor, page_size = super().get_schema_operation_parameters(view)
        page_size["schema"] |= {"minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [cursor, page_size]


class ConversationPagination(MirrorPagination):
    """``remote_id`` is unique within a workspace, so the cursor is exact."""

    ordering = "-remote_id"
    searched_back_to: Any = None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        if getattr(view, "hides_deleted", False):
            queryset = _Pinned(queryset=queryset, column="deleted_at")
        self.searched_back_to = getattr(view, "searched_back_to", None)
        return super().paginate_queryset(queryset, request, view)

    def is_position(self, position: str) -> bool:
        return is_remote_id(position)

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        back_to = self.searched_back_to
        response.data["searched_back_to"] = back_to and DateTimeField().to_representation(back_to)
        return response

    def get_paginated_response_schema(self, schema: Any) -> Any:
        described = super().get_paginated_response_schema(schema)
        described["properties"]["searched_back_to"] = _TIME_OR_NULL | {"description": _SEARCHED}
        return described | {"required": list(described["properties"])}


class SyncRunPagination(MirrorPagination):
    ordering = "-id"

    def is_position(self, position: str) -> bool:
        return position.isascii() and position.isdecimal() and len(position) < 19


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

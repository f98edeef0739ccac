from typing import Any

from rest_framework import pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request


class ConversationPagination(pagination.CursorPagination):
    """Newest first. ``remote_id`` is unique within a workspace, so the cursor is exact."""

    ordering = "-remote_id"
    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 100

    def decode_cursor(self, request: Request) -> Any:
        cursor = super().decode_cursor(request)
        if cursor is not None and "\0" in str(cursor.position):  # no database text holds one; PostgreSQL would raise
            raise NotFound(self.invalid_cursor_message)
        return cursor

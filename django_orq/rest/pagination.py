from rest_framework import pagination


class ConversationPagination(pagination.CursorPagination):
    """Newest first. ``remote_id`` is unique within a workspace, so the cursor is exact."""

    ordering = "-remote_id"
    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 100

"""What the admin only shows: runs, operations, unreadable entries."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from ..store.database import write_database
from .base import OrqAdmin, Row
from .listing import CarefulChangeList


class ReadOnlyAdmin(OrqAdmin[Row]):
    """Rows that nobody writes by hand, from where they are written: those that have just been made are there."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        rows: QuerySet[Row] = super().get_queryset(request)
        return rows.using(write_database())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CarefulChangeList]:
        return CarefulChangeList

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

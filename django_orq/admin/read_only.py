from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from ..primary import write_database
from .listing import CarefulChangeList


class ReadOnly:
    """Rows that only syncing writes, from where it writes them: those that have just been made are there."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc] # mixed into the admin's classes
        return rows.using(write_database())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Listed:
    """Rows whose list answers any query string."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[CarefulChangeList]:
        return CarefulChangeList

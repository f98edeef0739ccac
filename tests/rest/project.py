"""The rule of the project of ``project_settings``."""

from typing import Any

from rest_framework.permissions import BasePermission


class Rule(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user and request.user.get_username() != "barred")

    def has_object_permission(self, request: Any, view: Any, row: Any) -> bool:
        return getattr(row, "display_name", "") != "Secret"

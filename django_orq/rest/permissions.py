from typing import Any

from rest_framework import permissions
from rest_framework.request import Request

__all__ = ["ModelPermissions"]


class ModelPermissions(permissions.DjangoModelPermissions):
    """Django's model permissions, with ``view`` demanded for reading, which the stock class does not.

    Where a view has ``action_permissions``, the permission named there for the action is demanded in their place.
    """

    perms_map = {  # noqa: RUF012 # as in the class that it overrides
        **permissions.DjangoModelPermissions.perms_map,
        "GET": ["%(app_label)s.view_%(model_name)s"],
        "HEAD": ["%(app_label)s.view_%(model_name)s"],
        "OPTIONS": ["%(app_label)s.view_%(model_name)s"],
    }

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        return bool(request.user.has_perms(self._demanded(request, view)))

    def _demanded(self, request: Request, view: Any) -> list[str]:
        own = getattr(view, "action_permissions", {}).get(getattr(view, "action", None))
        # Not by get_queryset(), which the stock class asks: it tells whether there is such a workspace.
        return [own] if own else self.get_required_permissions(request.method or "", view.queryset.model)

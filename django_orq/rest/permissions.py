"""Who may do what over REST."""

from typing import Any

from rest_framework import permissions
from rest_framework.request import Request

__all__ = ["ModelPermissions"]

_VIEW = "%(app_label)s.view_%(model_name)s"
_STOCK = permissions.DjangoModelPermissions.perms_map


class ModelPermissions(permissions.DjangoModelPermissions):
    """Django's model permissions, with ``view`` demanded by every method, for the answers show rows.

    Where a view has an ``action_permission``, it is demanded in the place of the one that the method does.
    """

    perms_map = {  # noqa: RUF012 # as in the class that it overrides
        method: [_VIEW, *demanded] for method, demanded in _STOCK.items()
    }

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        return bool(request.user.has_perms(self._demanded(request, view)))

    def _demanded(self, request: Request, view: Any) -> list[str]:
        # Not by get_queryset(), which the stock class asks: it tells whether there is such a workspace.
        model = view.queryset.model
        own = getattr(view, "action_permission", None)
        if own is None:
            return self.get_required_permissions(request.method or "", model)
        return [*self.get_required_permissions("GET", model), own]

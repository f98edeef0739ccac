"""What all views share: permissions, the workspace of a request, throttling, and errors in one shape."""

from functools import cached_property
from typing import Any

from django.db.models import Model
from django.http import Http404
from rest_framework import permissions, viewsets
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer
from rest_framework.throttling import BaseThrottle, ScopedRateThrottle
from rest_framework.views import APIView

from ..conf import DEFAULT_ALIAS, workspace_aliases
from ..store.database import never_atomic
from .errors import UnknownWorkspace, answer_error

__all__ = ["ModelPermissions"]

_VIEW = "%(app_label)s.view_%(model_name)s"
_STOCK = permissions.DjangoModelPermissions.perms_map
_INCLUDED = (permissions.DjangoModelPermissions, permissions.DjangoModelPermissionsOrAnonReadOnly)
"""Weaker than ``ModelPermissions``, except that for every POST, even to pause, they require the permission to add."""


class ModelPermissions(permissions.DjangoModelPermissions):
    """Requires Django's model permissions, and the one to view for every method, because responses show the object.

    Where a view has a ``post_permission``, POST requires it instead of the permission to add.
    """

    perms_map = {method: [_VIEW, *required] for method, required in _STOCK.items()}  # noqa: RUF012 # as in the base

    def has_permission(self, request: Request, view: Any) -> bool:
        # The base class calls get_queryset(), whose 404 would reveal whether a workspace exists.
        model = view.queryset.model
        required = self.get_required_permissions(request.method or "", model)
        if request.method == "POST" and getattr(view, "post_permission", None):
            required = [*self.get_required_permissions("GET", model), view.post_permission]
        return bool(request.user and request.user.is_authenticated and request.user.has_perms(required))


def with_project_permissions(own: Any) -> tuple[Any, ...]:
    """Return ``own`` and the project's ``DEFAULT_PERMISSION_CLASSES``, without those that ``own`` makes redundant."""
    return (own, *(each for each in APIView.permission_classes if each is not own and each not in _INCLUDED))


class OrqView(APIView):
    """Returns errors in one shape, and runs outside of transactions.

    No transaction may be open while a request to Orq is under way or a Celery task is enqueued.
    """

    versioning_class = None  # NamespaceVersioning would look for a version in the namespace of these URLs

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        view = super().as_view(*args, **initkwargs)
        never_atomic(view)
        return view

    def get_exception_handler(self) -> Any:
        return answer_error


class WorkspaceViewSet(OrqView, viewsets.GenericViewSet[Any]):
    """Views of one workspace (``?workspace=``; if omitted, ``default`` or the only one).

    Every response with an object uses the class's ``serializer_class``, whichever serializer reads the request.
    """

    permission_classes = with_project_permissions(ModelPermissions)
    post_permission: str | None = None
    throttle_scope: str | None = None
    query_class: Any
    """The query parameters of its list. To add parameters of your own, subclass it."""
    not_found: Any
    """The message of a 404 for an object."""
    lookup_value_regex = "[^/]+"  # dots too, so that every wrong id gets this API's own 404

    @cached_property
    def workspace(self) -> str:
        """The alias in the request. If no workspace is configured, the mirror of ``default`` can still be read."""
        aliases = workspace_aliases() or [DEFAULT_ALIAS]
        alias: str = self.request.query_params.get("workspace", aliases[0] if len(aliases) == 1 else DEFAULT_ALIAS)
        if alias not in aliases:
            raise UnknownWorkspace
        return alias

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        _ = self.workspace  # raises for an unknown one in every action, but after the permissions are checked

    def get_throttles(self) -> list[BaseThrottle]:
        """Return the project's throttles and, if ``throttle_scope`` has a rate, that scope's, which counts writes."""
        # If the project uses a subclass of ScopedRateThrottle, the stock class is not added: both count under one key,
        # so each request would count twice.
        scoped = next((t for t in self.throttle_classes if issubclass(t, ScopedRateThrottle)), ScopedRateThrottle)
        if self.request.method in permissions.SAFE_METHODS or not scoped.THROTTLE_RATES.get(self.throttle_scope or ""):
            self.throttle_scope = None
        return [throttle() for throttle in dict.fromkeys([*self.throttle_classes, scoped])]

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(workspace=self.workspace)

    def get_object(self) -> Any:
        try:
            return super().get_object()
        except Http404:
            raise NotFound(self.not_found) from None

    def read(self, row: Model | None = None) -> BaseSerializer[Any]:
        """Return the action's serializer with the validated body of the request."""
        serializer: BaseSerializer[Any] = self.get_serializer(row, data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer

    def show(self, row: Model) -> dict[str, Any]:
        """Return ``row`` as every response shows it."""
        shown: Any = type(self).serializer_class  # in some actions, the one on the instance reads the request
        return dict(shown(row, context=self.get_serializer_context()).data)

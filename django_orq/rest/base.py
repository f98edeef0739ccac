"""What all views share: who may ask, one workspace, and errors of one shape."""

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


class ModelPermissions(permissions.DjangoModelPermissions):
    """Django's model permissions, with ``view`` demanded by every method, for the answers show rows.

    Where a view has a ``post_permission``, POST demands it in the place of the one to add.
    """

    perms_map = {  # noqa: RUF012 # as in the class that it overrides
        method: [_VIEW, *demanded] for method, demanded in _STOCK.items()
    }

    def has_permission(self, request: Request, view: Any) -> bool:
        # Not by get_queryset(), which the stock class asks: it tells whether there is such a workspace.
        model = view.queryset.model
        demanded = self.get_required_permissions(request.method or "", model)
        if request.method == "POST" and getattr(view, "post_permission", None):
            demanded = [*self.get_required_permissions("GET", model), view.post_permission]
        return bool(request.user and request.user.is_authenticated and request.user.has_perms(demanded))


class OrqView(APIView):
    """Answers errors in one shape, and is called outside of transactions.

    None may be open while Orq is asked, or a worker is told of a run.
    """

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        view = super().as_view(*args, **initkwargs)
        never_atomic(view)
        return view

    def get_exception_handler(self) -> Any:
        return answer_error


class WorkspaceViewSet(OrqView, viewsets.GenericViewSet[Any]):
    """Views of one workspace (``?workspace=``, by default ``default``).

    Every answer with a row shows the class's ``serializer_class``, whatever the action reads.
    """

    permission_classes = (ModelPermissions,)
    post_permission: str | None = None
    throttle_scope: str | None = None
    not_found: Any
    """What is said where the address names no row."""
    lookup_value_regex = "[^/]+"  # a dot too, so that whatever is asked for is answered here

    @cached_property
    def workspace(self) -> str:
        """The alias that the request names; a mirror may be read where none is configured."""
        alias: str = self.request.query_params.get("workspace", DEFAULT_ALIAS)
        if alias not in (workspace_aliases() or [DEFAULT_ALIAS]):
            raise UnknownWorkspace
        return alias

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        _ = self.workspace  # whatever the action, an unknown one is refused, and after who asks is known

    def get_throttles(self) -> list[BaseThrottle]:
        """The project's, and the rate of ``throttle_scope``, if the project gives one; reading does not count."""
        is_rated = ScopedRateThrottle.THROTTLE_RATES.get(self.throttle_scope or "") is not None
        if not is_rated or self.request.method in permissions.SAFE_METHODS:
            self.throttle_scope = None
        return [throttle() for throttle in dict.fromkeys([*self.throttle_classes, ScopedRateThrottle])]

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(workspace=self.workspace)

    def get_object(self) -> Any:
        try:
            return super().get_object()
        except Http404:
            raise NotFound(self.not_found) from None

    def read(self, row: Model | None = None) -> BaseSerializer[Any]:
        """The body, checked by what the action reads."""
        serializer: BaseSerializer[Any] = self.get_serializer(row, data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer

    def show(self, row: Model) -> dict[str, Any]:
        shown: Any = type(self).serializer_class  # that of the instance may be what the action reads
        return dict(shown(row, context=self.get_serializer_context()).data)

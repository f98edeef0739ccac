"""What all views of the door share."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rest_framework import viewsets
from rest_framework.serializers import BaseSerializer
from rest_framework.throttling import BaseThrottle

from ..conf import DEFAULT_ALIAS, workspace_aliases
from ..transactions import never_atomic
from .errors import UnknownWorkspace, answer_error
from .permissions import ModelPermissions
from .throttling import OrqThrottle

if TYPE_CHECKING:
    _GenericViewSet = viewsets.GenericViewSet[Any]
else:
    _GenericViewSet = viewsets.GenericViewSet


class WorkspaceViewSet(_GenericViewSet):
    """Views of one workspace (``?workspace=``, by default ``default``), with one shape of errors.

    They are called outside of transactions: none may be open while Orq is asked, or a worker is told of a run.
    """

    permission_classes = (ModelPermissions,)
    action_permissions: ClassVar[dict[str, str]] = {}
    """The permission that an action demands, where it is not the one that its method does."""
    throttle_scopes: ClassVar[dict[str, str]] = {}
    """The rate that an action counts for."""
    serializer_classes: ClassVar[dict[str, type[BaseSerializer[Any]]]] = {}
    """What an action reads or shows, where it is not what ``serializer_class`` does."""

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        view = super().as_view(actions, **initkwargs)
        never_atomic(view)
        return view

    @cached_property
    def workspace(self) -> str:
        """The alias that the request names; a mirror may be read where none is configured."""
        alias: str = self.request.query_params.get("workspace", DEFAULT_ALIAS)
        if alias not in (workspace_aliases() or [DEFAULT_ALIAS]):
            raise UnknownWorkspace
        return alias

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(workspace=self.workspace)

    def get_serializer_class(self) -> Any:
        return self.serializer_classes.get(self.action or "") or super().get_serializer_class()

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        _ = self.workspace  # whatever the action, an unknown one is refused, and after who asks is known

    @property
    def orq_throttle_scope(self) -> str | None:
        return self.throttle_scopes.get(self.action or "")

    def get_throttles(self) -> list[BaseThrottle]:
        return [*super().get_throttles(), OrqThrottle()]

    def get_exception_handler(self) -> Any:
        return answer_error

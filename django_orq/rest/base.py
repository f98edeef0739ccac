"""What all views of the door share."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from rest_framework import viewsets
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ..conf import DEFAULT_ALIAS, workspace_aliases
from ..store.database import never_atomic
from .bodies import careful, check_charset
from .errors import UnknownWorkspace, answer_error
from .permissions import ModelPermissions
from .throttling import OrqThrottle

if TYPE_CHECKING:
    _View = APIView
    _GenericViewSet = viewsets.GenericViewSet[Any]
else:
    _View = object
    _GenericViewSet = viewsets.GenericViewSet


class OneShape(_View):
    """Mixed into views whose errors all have one shape.

    They are called outside of transactions: none may be open while Orq is asked, or a worker is told of a run.
    """

    @classmethod
    def as_view(cls, *args: Any, **initkwargs: Any) -> Any:
        view = super().as_view(*args, **initkwargs)
        never_atomic(view)
        return view

    def get_parsers(self) -> list[BaseParser]:
        return [careful(parser) for parser in super().get_parsers()]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        check_charset(request)
        super().initial(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return answer_error


class WorkspaceViewSet(OneShape, _GenericViewSet):
    """Views of one workspace (``?workspace=``, by default ``default``).

    What is said by action adds to what the class above says, and takes the place of it for an action of the same name.
    """

    permission_classes = (ModelPermissions,)
    action_permissions: ClassVar[dict[str, str]] = {}
    """The permission that an action demands beside ``view``, where it is not the one that its method does."""
    throttle_scopes: ClassVar[dict[str, str]] = {}
    """The rate that an action counts for."""
    serializer_classes: ClassVar[dict[str, type[BaseSerializer[Any]]]] = {}
    """What an action reads, or a list or ``retrieve`` shows, where it is not what ``serializer_class`` does."""

    @cached_property
    def workspace(self) -> str:
        """The alias that the request names; a mirror may be read where none is configured."""
        alias: str = self.request.query_params.get("workspace", DEFAULT_ALIAS)
        if alias not in (workspace_aliases() or [DEFAULT_ALIAS]):
            raise UnknownWorkspace
        return alias

    def by_action(self, name: str) -> Any:
        """What the attribute of that name, of this class or the nearest above, says about the action."""
        action = self._asked_for()
        for owner in (self, *type(self).__mro__):
            entries = vars(owner).get(name, {})
            if action in entries:
                return entries[action]
        return None

    def _asked_for(self) -> str | None:
        """OPTIONS asks what another method would do."""
        if self.action == "metadata":
            action: str | None = self.action_map.get((self.request.method or "").lower())
            return action
        return self.action

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(workspace=self.workspace)

    def get_serializer_class(self) -> Any:
        return self.by_action("serializer_classes") or super().get_serializer_class()

    def get_reader(self, *args: Any, **options: Any) -> BaseSerializer[Any]:
        """What the action reads a body with, also where ``get_serializer_class`` is overridden for what is shown."""
        kind = self.by_action("serializer_classes") or self.get_serializer_class()
        reader: BaseSerializer[Any] = kind(*args, **options, context=self.get_serializer_context())
        return reader

    def show(self, row: Any) -> dict[str, Any]:
        """The row as ``retrieve`` shows it, whatever the action."""
        with self.acting_as("retrieve"):
            return dict(self.get_serializer(row).data)

    @contextmanager
    def acting_as(self, action: str) -> Iterator[None]:
        own, self.action = self.action, action
        try:
            yield
        finally:
            self.action = own

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        _ = self.workspace  # whatever the action, an unknown one is refused, and after who asks is known

    @property
    def action_permission(self) -> str | None:
        permission: str | None = self.by_action("action_permissions")
        return permission

    @property
    def orq_throttle_scope(self) -> str | None:
        scope: str | None = self.by_action("throttle_scopes")
        return scope

    def get_throttles(self) -> list[BaseThrottle]:
        return [*super().get_throttles(), OrqThrottle()]

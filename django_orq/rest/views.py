"""The viewsets. They are meant to be subclassed: each ``perform_…`` is the one line that calls a verb."""

from typing import Any, ClassVar

from django.apps import apps
from django.db.models import QuerySet
from django.utils.translation import gettext
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from .. import tasks
from ..mirror import (
    Renamed,
    create_conversation,
    delete_conversation,
    fetch_conversation,
    refresh_conversation,
    rename_conversation,
)
from ..models import Conversation, SyncRun
from ..payloads import is_remote_id
from ..store.database import all_rows, write_database
from ..sync import runs
from ..tasks import HandedOver
from .base import WorkspaceViewSet
from .errors import BrokerUnreachable, NoSuchRun, NotAmongThese, NotInMirror, RunFinished, RunUnfinished
from .filters import BoundedSearch, CreatedAndUpdated, ListedState, RunModeAndState
from .pagination import ConversationPagination, SyncRunPagination
from .serializers import (
    CameBetweenSerializer,
    ConversationSerializer,
    FetchSerializer,
    NothingSerializer,
    RenameSerializer,
    StartSerializer,
    SyncRunDetailSerializer,
    SyncRunSerializer,
)

__all__ = ["ConversationViewSet", "SyncRunViewSet"]

_NOTHING_BETWEEN = dict.fromkeys(("replaced", "overtaken_by"))
"""No other name came between."""


class ConversationViewSet(
    mixins.ListModelMixin,
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    WorkspaceViewSet,
):
    """The conversations of one workspace: read from the mirror, changed in Orq first.

    The list leaves deleted ones out unless they are asked for; retrieve shows them, with their state.
    """

    queryset = Conversation.objects.all()
    serializer_class = ConversationSerializer
    pagination_class = ConversationPagination
    filter_backends = (ListedState, CreatedAndUpdated, BoundedSearch)
    search_fields = ("display_name",)
    lookup_field = "remote_id"
    lookup_value_regex = "[^/]+"
    action_permissions: ClassVar[dict[str, str]] = {"refresh": "django_orq.change_conversation"}
    throttle_scopes: ClassVar[dict[str, str]] = dict.fromkeys(
        ("create", "partial_update", "destroy", "refresh", "fetch"), "orq-write"
    )
    serializer_classes: ClassVar[dict[str, type[BaseSerializer[Any]]]] = {
        "partial_update": RenameSerializer,
        "refresh": NothingSerializer,
        "fetch": FetchSerializer,
    }

    def get_queryset(self) -> QuerySet[Conversation]:
        """To list, from where the router has them read; one, which may just have been written, from there."""
        queryset: QuerySet[Conversation] = super().get_queryset()
        return queryset if self.action == "list" else queryset.using(write_database())

    def get_object(self) -> Conversation:
        """Whatever its state: our filters are the list's."""
        remote_id = self.kwargs[self.lookup_url_kwarg or self.lookup_field]
        if not is_remote_id(remote_id):
            raise NotInMirror
        found = self.filter_queryset(self.get_queryset()).filter(remote_id=remote_id).first()
        if found is None:
            raise NotInMirror
        self.check_object_permissions(self.request, found)
        conversation: Conversation = found
        return conversation

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Renames in Orq first, unless somebody else renamed it since it was seen."""
        reader = self.get_reader(self.get_object(), data=request.data)
        reader.is_valid(raise_exception=True)
        self.perform_update(reader)
        renamed: Renamed | None = getattr(reader, "renamed", None)
        return Response({**self.show(reader.instance), **CameBetweenSerializer(renamed or _NOTHING_BETWEEN).data})

    @action(detail=True, methods=["post"])
    def refresh(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mirror what Orq has now."""
        conversation = self.get_object()
        self.perform_refresh(conversation)
        return Response(self.show(conversation))

    @action(detail=False, methods=["post"])
    def fetch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mirror one conversation by its Orq id, whether it is here already or not.

        Who may not see it here learns nothing of it: a known one is looked at before Orq is asked, any before it is
        shown.
        """
        reader = self.get_reader(data=request.data)
        reader.is_valid(raise_exception=True)
        remote_id = reader.validated_data["remote_id"]
        if self._is_known(remote_id):
            self._among_these(remote_id)
        self.perform_fetch(reader)
        return Response(self.show(self._among_these(remote_id)))

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        name = serializer.validated_data.get("display_name", "")  # a subclass's serializer may not have it
        serializer.instance = create_conversation(display_name=name, workspace=self.workspace, interactive=True)

    def perform_update(self, serializer: Any) -> None:
        asked = serializer.validated_data
        serializer.renamed = rename_conversation(
            serializer.instance,
            display_name=asked["display_name"],
            expected_updated_at=asked.get("expected_updated_at"),
            interactive=True,
        )

    def perform_destroy(self, instance: Conversation) -> None:
        delete_conversation(instance, interactive=True)

    def perform_refresh(self, instance: Conversation) -> None:
        refresh_conversation(instance, interactive=True)

    def perform_fetch(self, serializer: BaseSerializer[Any]) -> Conversation:
        remote_id = serializer.validated_data["remote_id"]
        return fetch_conversation(remote_id=remote_id, workspace=self.workspace, interactive=True)

    def _is_known(self, remote_id: str) -> bool:
        return all_rows().filter(workspace=self.workspace, remote_id=remote_id).exists()

    def _among_these(self, remote_id: str) -> Conversation:
        """As if the address named it."""
        self.kwargs[self.lookup_url_kwarg or self.lookup_field] = remote_id
        try:
            return self.get_object()
        except NotInMirror:
            raise NotAmongThese from None


class SyncRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, WorkspaceViewSet):
    """The sync runs of one workspace: watched, started and cancelled."""

    queryset = SyncRun.objects.all()
    serializer_class = SyncRunSerializer
    pagination_class = SyncRunPagination
    filter_backends = (RunModeAndState,)
    lookup_value_regex = "[^/]+"
    action_permissions: ClassVar[dict[str, str]] = dict.fromkeys(("create", "cancel"), "django_orq.run_sync")
    throttle_scopes: ClassVar[dict[str, str]] = {"create": "orq-sync"}
    serializer_classes: ClassVar[dict[str, type[BaseSerializer[Any]]]] = {
        "create": StartSerializer,
        "retrieve": SyncRunDetailSerializer,
        "cancel": NothingSerializer,
    }

    def get_queryset(self) -> QuerySet[SyncRun]:
        """From where runs are written, so that one just started is there."""
        queryset: QuerySet[SyncRun] = super().get_queryset().using(write_database())
        return queryset

    def get_object(self) -> SyncRun:
        number = self.kwargs[self.lookup_url_kwarg or self.lookup_field]
        is_number = number.isascii() and number.isdecimal() and len(number) < 19
        run = self.filter_queryset(self.get_queryset()).filter(pk=number).first() if is_number else None
        if run is None:
            raise NoSuchRun
        self.check_object_permissions(self.request, run)
        return run

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start a run, or go on with one that is paused, waits for its budget, or that no worker knows of."""
        reader = self.get_reader(data=request.data)
        reader.is_valid(raise_exception=True)
        handed_over = self.perform_create(reader)
        shown = self.show(handed_over.run)
        if handed_over.is_untold:
            raise BrokerUnreachable(shown, handed_over.message())
        if handed_over.is_others:
            raise RunUnfinished(shown, handed_over.message())
        return Response(shown, status=status.HTTP_202_ACCEPTED)

    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End an unfinished run for good; what it has mirrored stays."""
        run = self.get_object()
        cancelled = self.perform_cancel(run)
        run.refresh_from_db(using=write_database())
        if not cancelled:
            message = gettext("Nothing was done: the state of sync run %(run)s is “%(state)s” already.")
            raise RunFinished(self.show(run), message % {"run": run.pk, "state": run.get_state_display()})
        return Response(self.show(run))

    def perform_create(self, serializer: BaseSerializer[Any]) -> HandedOver:
        return tasks.start_unless_walked(self.workspace, serializer.validated_data["mode"])

    def perform_cancel(self, instance: SyncRun) -> bool:
        return runs.cancel(instance)


if apps.is_installed("drf_spectacular"):
    from . import schema  # noqa: F401 # it registers itself, wherever views are routed

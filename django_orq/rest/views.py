"""The viewsets. They are meant to be subclassed: each ``perform_…`` is the one line that calls a verb."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from .. import handing_over, runs
from ..handing_over import HandedOver
from ..mirror import (
    create_conversation,
    delete_conversation,
    fetch_conversation,
    refresh_conversation,
    rename_conversation,
)
from ..models import Conversation, SyncRun, write_database
from ..payloads import is_remote_id
from .base import WorkspaceViewSet
from .errors import BrokerUnreachable, NoSuchRun, NotInMirror, RunFinished, RunUnfinished
from .filters import BoundedSearch, CreatedAndUpdated, ListedState, RunModeAndState
from .pagination import ConversationPagination, SyncRunPagination
from .serializers import (
    ConversationSerializer,
    FetchSerializer,
    RenameSerializer,
    StartSerializer,
    SyncRunDetailSerializer,
    SyncRunSerializer,
)

__all__ = ["ConversationViewSet", "SyncRunViewSet"]


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
        "fetch": FetchSerializer,
    }

    def get_object(self) -> Conversation:
        """Whatever its state: the filters are the list's."""
        remote_id = self.kwargs[self.lookup_field]
        found = self.get_queryset().filter(remote_id=remote_id).first() if is_remote_id(remote_id) else None
        if found is None:
            raise NotInMirror
        self.check_object_permissions(self.request, found)
        conversation: Conversation = found
        return conversation

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(self.get_object(), data=request.data)
        serializer.is_valid(raise_exception=True)
        self.perform_update(serializer)
        return Response(serializer.data)

    @action(detail=True, methods=["post"])
    def refresh(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mirror what Orq has now."""
        conversation = self.get_object()
        self.perform_refresh(conversation)
        return Response(self._show(conversation))

    @action(detail=False, methods=["post"])
    def fetch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mirror one conversation by its Orq id, whether it is here already or not."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        conversation = self.perform_fetch(serializer)
        return Response(self._show(conversation))

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        name = serializer.validated_data["display_name"]
        serializer.instance = create_conversation(display_name=name, workspace=self.workspace, interactive=True)

    def perform_update(self, serializer: Any) -> None:
        serializer.renamed = rename_conversation(serializer.instance, **serializer.validated_data, interactive=True)

    def perform_destroy(self, instance: Conversation) -> None:
        delete_conversation(instance, interactive=True)

    def perform_refresh(self, instance: Conversation) -> None:
        refresh_conversation(instance, interactive=True)

    def perform_fetch(self, serializer: BaseSerializer[Any]) -> Conversation:
        return fetch_conversation(**serializer.validated_data, workspace=self.workspace, interactive=True)

    def _show(self, conversation: Conversation) -> Any:
        return self.serializer_class(conversation, context=self.get_serializer_context()).data


class SyncRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, WorkspaceViewSet):
    """The sync runs of one workspace: watched, started, let go on and cancelled."""

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
        "cancel": SyncRunDetailSerializer,
    }

    def get_queryset(self) -> QuerySet[SyncRun]:
        """From where runs are written, so that one just started is there."""
        queryset: QuerySet[SyncRun] = super().get_queryset().using(write_database())
        return queryset

    def get_object(self) -> SyncRun:
        number = self.kwargs["pk"]
        is_number = number.isascii() and number.isdecimal() and len(number) < 19
        run = self.get_queryset().filter(pk=number).first() if is_number else None
        if run is None:
            raise NoSuchRun
        self.check_object_permissions(self.request, run)
        return run

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start a run, or go on with one that is paused, waits for its budget, or that no worker knows of."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        handed_over = self.perform_create(serializer)
        shown = self._show(handed_over.run)
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
            message = gettext("Nothing was done: sync run %(run)s is %(state)s already.")
            raise RunFinished(self._show(run), message % {"run": run.pk, "state": run.get_state_display()})
        return Response(self._show(run))

    def perform_create(self, serializer: BaseSerializer[Any]) -> HandedOver:
        return handing_over.start_unless_walked(self.workspace, serializer.validated_data["mode"])

    def perform_cancel(self, instance: SyncRun) -> bool:
        return runs.cancel(instance)

    def _show(self, run: SyncRun) -> Any:
        shown_as = self.serializer_classes.get("retrieve", self.serializer_class)
        return shown_as(run, context=self.get_serializer_context()).data

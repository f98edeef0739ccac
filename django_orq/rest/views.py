"""The viewsets. They are meant to be subclassed: each ``perform_…`` is the one line that calls a verb."""

from typing import Any

from django.apps import apps
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from .. import mirror, tasks
from ..models import Conversation, SyncRun
from ..payloads import is_remote_id
from ..store.database import all_rows, write_database
from ..sync import runs
from . import filters, serializers
from .base import WorkspaceViewSet
from .errors import BrokerUnreachable, RunConflict

__all__ = ["ConversationViewSet", "SyncRunViewSet"]

_WITHOUT_BODY: Any = {"detail": True, "methods": ["post"], "serializer_class": serializers.NothingSerializer}


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
    serializer_class = serializers.ConversationSerializer
    pagination_class = filters.ConversationPagination
    filter_backends = (filters.ListedState, filters.CreatedAndUpdated, filters.BoundedSearch)
    search_fields = ("display_name",)
    lookup_field = "remote_id"
    throttle_scope = "orq-write"
    not_found = _("The mirror has no such conversation. If Orq has it, POST its id to conversations/fetch/.")

    def get_serializer_class(self) -> Any:
        return serializers.RenameSerializer if self.action == "partial_update" else super().get_serializer_class()

    def get_queryset(self) -> Any:
        """To list, from where the router has them read; one, which may just have been written, from there."""
        queryset = super().get_queryset()
        return queryset if self.action == "list" else queryset.using(write_database())

    def get_object(self) -> Any:
        # Databases differ in what they make of an id that is none.
        if not is_remote_id(self.kwargs[self.lookup_url_kwarg or self.lookup_field]):
            raise NotFound(self.not_found)
        return super().get_object()

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Renames in Orq first, unless somebody else renamed it since it was seen."""
        conversation = self.get_object()
        renamed = self.perform_update(self.read(conversation))
        between = {name: getattr(renamed, name, None) for name in ("replaced", "overtaken_by")}
        return Response(self.show(conversation) | between)

    @action(**_WITHOUT_BODY, post_permission="django_orq.change_conversation")
    def refresh(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mirror what Orq has now."""
        conversation = self.get_object()
        self.perform_refresh(conversation)
        return Response(self.show(conversation))

    @action(detail=False, methods=["post"], serializer_class=serializers.FetchSerializer)
    def fetch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Mirror one conversation by its Orq id, whether it is here already or not.

        Who may not see it here learns nothing of it: a known one is looked at before Orq is asked, any before it is
        shown.
        """
        serializer = self.read()
        # As if the address named it.
        self.kwargs[self.lookup_url_kwarg or self.lookup_field] = serializer.validated_data["remote_id"]
        if all_rows().filter(workspace=self.workspace, **serializer.validated_data).exists():
            self.get_object()
        self.perform_fetch(serializer)
        return Response(self.show(self.get_object()))

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        name = serializer.validated_data.get("display_name", "")  # a subclass's serializer may not have it
        serializer.instance = mirror.create_conversation(display_name=name, workspace=self.workspace, interactive=True)

    def perform_update(self, serializer: Any) -> mirror.Renamed:
        """Returns what the rename did, which the answer tells."""
        return mirror.rename_conversation(serializer.instance, interactive=True, **serializer.validated_data)

    def perform_destroy(self, instance: Conversation) -> None:
        mirror.delete_conversation(instance, interactive=True)

    def perform_refresh(self, instance: Conversation) -> None:
        mirror.refresh_conversation(instance, interactive=True)

    def perform_fetch(self, serializer: BaseSerializer[Any]) -> Conversation:
        return mirror.fetch_conversation(workspace=self.workspace, interactive=True, **serializer.validated_data)


class SyncRunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, WorkspaceViewSet):
    """The sync runs of one workspace: watched, started, paused, resumed, approved and cancelled."""

    queryset = SyncRun.objects.all()
    serializer_class = serializers.SyncRunDetailSerializer
    pagination_class = filters.SyncRunPagination
    filter_backends = (filters.RunModeAndState,)
    post_permission = "django_orq.run_sync"
    throttle_scope = "orq-sync"
    not_found = _("There is no such sync run in this workspace. Old runs are removed in time.")

    def get_serializer_class(self) -> Any:
        own = {"list": serializers.SyncRunSerializer, "create": serializers.StartSerializer}
        return own.get(self.action or "") or super().get_serializer_class()

    def get_queryset(self) -> Any:
        """From where runs are written, so that one just started is there."""
        return super().get_queryset().using(write_database())

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start a run, or go on with one that is paused, waits for its budget, or that no worker knows of."""
        return self._answer_enqueued(self.perform_create(self.read()))

    @action(**_WITHOUT_BODY, throttle_scope=None)
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Stop an unfinished run where it is, until somebody resumes it."""
        run = self.get_object()
        return self._answer(run, is_done=self.perform_pause(run), otherwise="sync_run_not_running")

    @action(**_WITHOUT_BODY)
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Have a worker go on with a run that is paused, or whose budget is spent."""
        run = self.get_object()
        if not runs.can_be_resumed(run):
            return self._answer(run, is_done=False, otherwise="sync_run_not_paused")
        return self._answer_enqueued(self.perform_resume(run))

    @action(detail=True, methods=["post"], serializer_class=serializers.ApproveSerializer)
    def approve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Have a worker go on with a run that stopped for a reason that a person has looked into."""
        run, serializer = self.get_object(), self.read()
        try:
            approved = self.perform_approve(run, serializer)
        except ValueError as error:
            raise RunConflict(self.show(run), str(error), "approval_refused") from None
        if approved is None:
            return self._answer(run, is_done=False, otherwise="not_awaiting_approval")
        return self._answer_enqueued(tasks.enqueue(approved))

    @action(**_WITHOUT_BODY, throttle_scope=None)
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """End an unfinished run for good; what it has mirrored stays."""
        run = self.get_object()
        return self._answer(run, is_done=self.perform_cancel(run), otherwise="sync_run_finished")

    def perform_create(self, serializer: BaseSerializer[Any]) -> tasks.Enqueued:
        return tasks.start_unless_running(self.workspace, serializer.validated_data["mode"])

    def perform_pause(self, instance: SyncRun) -> bool:
        return runs.pause(instance)

    def perform_resume(self, instance: SyncRun) -> tasks.Enqueued:
        return tasks.enqueue(runs.resume(instance))

    def perform_approve(self, instance: SyncRun, serializer: BaseSerializer[Any]) -> SyncRun | None:
        return runs.approve(instance, by=self.request.user.get_username(), **serializer.validated_data)

    def perform_cancel(self, instance: SyncRun) -> bool:
        return runs.cancel(instance)

    def _answer(self, run: SyncRun, *, is_done: bool, otherwise: str) -> Response:
        """The run as it is now; 409 with the code ``otherwise`` if nothing was done."""
        run.refresh_from_db(using=write_database())
        if not is_done:
            message = gettext("Nothing was done: the state of sync run %(run)s is “%(state)s”.")
            raise RunConflict(self.show(run), message % {"run": run.pk, "state": run.get_state_display()}, otherwise)
        return Response(self.show(run))

    def _answer_enqueued(self, enqueued: tasks.Enqueued) -> Response:
        shown = self.show(enqueued.run)
        if enqueued.is_not_enqueued:
            raise BrokerUnreachable(shown, enqueued.message(), "broker_unreachable")
        if enqueued.is_others:
            raise RunConflict(shown, enqueued.message(), "sync_run_unfinished")
        return Response(shown, status=status.HTTP_202_ACCEPTED)


if apps.is_installed("drf_spectacular"):
    from . import schema

    schema.conversations(ConversationViewSet)
    schema.sync_runs(SyncRunViewSet)

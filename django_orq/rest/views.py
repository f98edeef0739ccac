"""The viewsets, for projects to subclass: each ``perform_…`` method makes the one call that has an effect."""

from typing import Any

from django.apps import apps
from django.http import StreamingHttpResponse
from django.utils.translation import gettext, gettext_lazy as _
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.mixins import CreateModelMixin, DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from .. import mirror, tasks
from ..exceptions import ConversationChanged
from ..models import Conversation, ConversationChange, SyncRun
from ..payloads import is_remote_id
from ..store.database import all_rows, write_database
from ..sync import runs
from ..sync.export import export
from ..sync.report import people
from . import filters, serializers
from .base import WorkspaceViewSet
from .errors import BrokerUnreachable, RunConflict

__all__ = ["ConversationChangeViewSet", "ConversationViewSet", "SyncRunViewSet"]

_WITHOUT_BODY: Any = {"detail": True, "methods": ["post"], "serializer_class": serializers.NothingSerializer}


class CsvRenderer(BaseRenderer):
    media_type = "text/csv"
    format = "csv"


class ExportingViewSet(ListModelMixin, WorkspaceViewSet):
    """Lists one page, or with ``?format=csv`` exports all rows that the filters select."""

    def get_renderers(self) -> list[Any]:
        """Return that for CSV only if it is asked for, because errors and all other responses are never CSV."""
        request: Any = self.request
        asked = request.GET.get("format", "") + request.headers.get("Accept", "") if request else ""
        return [*super().get_renderers(), *([CsvRenderer()] if self.action == "list" and "csv" in asked else [])]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        if CsvRenderer.format not in (request.accepted_renderer.format, request.query_params.get("format")):
            return super().list(request, *args, **kwargs)
        if not request.user.has_perm("django_orq.export_conversation"):
            raise PermissionDenied
        rows = self.filter_queryset(self.get_queryset())
        lines = export(rows, user=request.user.get_username(), query=request.query_params.urlencode())
        return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")


class ConversationViewSet(CreateModelMixin, RetrieveModelMixin, DestroyModelMixin, ExportingViewSet):
    """Conversations of one workspace.

    They are read from the mirror. Changes are made in Orq first, and then in the mirror. A conversation that was
    deleted in Orq stays in the mirror, marked as deleted: it can be retrieved, and is listed if `state` is `deleted`
    or `any`.
    """

    queryset = Conversation.objects.all()
    serializer_class = serializers.ConversationSerializer
    pagination_class = filters.ConversationPagination
    filter_backends = (filters.ConversationFilter,)
    query_class = serializers.ConversationQuery
    search_fields = ("display_name",)
    lookup_field = "remote_id"
    throttle_scope = "orq-write"
    not_found = _("The mirror has no such conversation. To fetch it from Orq, POST its id to conversations/fetch/.")

    def get_serializer_class(self) -> Any:
        return serializers.RenameSerializer if self.action == "partial_update" else super().get_serializer_class()

    def get_queryset(self) -> Any:
        """Read lists from the router's read database, and single rows, which may be new, from the write database."""
        queryset = super().get_queryset()
        return queryset if self.action == "list" else queryset.using(write_database())

    def get_object(self) -> Any:
        # Databases differ in how they handle invalid ids.
        if not is_remote_id(self.kwargs[self.lookup_url_kwarg or self.lookup_field]):
            raise NotFound(self.not_found)
        return super().get_object()

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Rename a conversation in Orq, then in the mirror.

        If the mirror has a change that is newer than `expected_updated_at`, or if Orq has another name than the
        mirror, nothing is renamed, the mirror is updated, and the response is 409. Without `expected_updated_at`, the
        time in the mirror is used.
        """
        conversation = self.get_object()
        try:
            renamed = self.perform_update(self.read(conversation))
        except ConversationChanged:
            self.get_object()  # which may be excluded now: then the user must learn nothing about it
            raise
        between = {name: getattr(renamed, name, None) for name in ("replaced", "overtaken_by")}
        return Response(self.show(conversation) | between)

    @action(**_WITHOUT_BODY, post_permission="django_orq.change_conversation")
    def refresh(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Update a conversation in the mirror from Orq."""
        self.perform_refresh(self.get_object())
        return Response(self.show(self.get_object()))  # which may be excluded now

    @action(detail=False, methods=["post"], serializer_class=serializers.FetchSerializer)
    def fetch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Retrieve a conversation from Orq by its id, and add it to the mirror or update it there."""
        serializer = self.read()
        # get_object() reads the id from here. A user who may not see a conversation must learn nothing about it, so
        # the permission is checked before the request to Orq if it is mirrored, and in any case before it is shown.
        self.kwargs[self.lookup_url_kwarg or self.lookup_field] = serializer.validated_data["remote_id"]
        if all_rows().filter(workspace=self.workspace, **serializer.validated_data).exists():
            self.get_object()
        self.perform_fetch(serializer)
        return Response(self.show(self.get_object()))

    def perform_create(self, serializer: BaseSerializer[Any]) -> None:
        name = serializer.validated_data.get("display_name", "")  # may be missing in a subclass's serializer
        wanted = {"display_name": name, "workspace": self.workspace, "by": self.request.user}
        serializer.instance = mirror.create_conversation(**wanted, interactive=True)

    def perform_update(self, serializer: Any) -> mirror.Renamed:
        """Return the result of the rename, which the response includes."""
        wanted = {**serializer.validated_data, "by": self.request.user}
        return mirror.rename_conversation(serializer.instance, interactive=True, **wanted)

    def perform_destroy(self, instance: Conversation) -> None:
        mirror.delete_conversation(instance, by=self.request.user, interactive=True)

    def perform_refresh(self, instance: Conversation) -> None:
        mirror.refresh_conversation(instance, interactive=True)

    def perform_fetch(self, serializer: BaseSerializer[Any]) -> Conversation:
        return mirror.fetch_conversation(workspace=self.workspace, interactive=True, **serializer.validated_data)


class ConversationChangeViewSet(ExportingViewSet):
    """Changes of the conversations of one workspace, or of one conversation, newest first.

    To follow changes, read again from ten minutes before the last one that you have seen, and drop the ids that you
    know: transactions are not committed in the order of their times.
    """

    queryset = ConversationChange.objects.select_related("conversation")
    serializer_class = serializers.ConversationChangeSerializer
    pagination_class = filters.ChangePagination
    filter_backends = (filters.QueryFilter,)
    query_class = serializers.ChangeQuery
    not_found = ConversationViewSet.not_found

    def get_queryset(self) -> Any:
        """Read from the write database, which already has the changes that were just made."""
        changes = super().get_queryset().using(write_database())
        if "remote_id" not in self.kwargs:
            return changes
        own = {"workspace": self.workspace, "remote_id": self.kwargs["remote_id"]}
        # Databases differ in how they handle invalid ids.
        row = all_rows().filter(**own).first() if is_remote_id(own["remote_id"]) else None
        if row is None:
            raise NotFound(self.not_found)
        return changes.filter(conversation=row)

    def paginate_queryset(self, queryset: Any) -> Any:
        self.page = super().paginate_queryset(queryset)
        return self.page

    def get_serializer_context(self) -> dict[str, Any]:
        in_orq = [one.actor_id for one in getattr(self, "page", ()) if one.origin == ConversationChange.Origin.ORQ]
        return {**super().get_serializer_context(), "people": people(self.workspace, in_orq)}


class SyncRunViewSet(ListModelMixin, RetrieveModelMixin, WorkspaceViewSet):
    """Sync runs of one workspace, newest first. A run updates the mirror from Orq in the background."""

    queryset = SyncRun.objects.all()
    serializer_class = serializers.SyncRunDetailSerializer
    pagination_class = filters.SyncRunPagination
    filter_backends = (filters.QueryFilter,)
    query_class = serializers.SyncRunQuery
    post_permission = "django_orq.run_sync"
    throttle_scope = "orq-sync"
    not_found = _("There is no such sync run in this workspace. Old runs are deleted automatically.")

    def get_serializer_class(self) -> Any:
        own = {"list": serializers.SyncRunSerializer, "create": serializers.StartSerializer}
        return own.get(self.action or "") or super().get_serializer_class()

    def get_queryset(self) -> Any:
        """Read from the write database, which already has a run that was just started."""
        return super().get_queryset().using(write_database())

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start a run and notify a worker, or resume the unfinished run of this mode.

        An unfinished run is resumed if it is paused or its budget is used up, or if it does not have to wait and no
        worker is processing it or has been notified. Otherwise the response is 409.
        """
        return self._answer_enqueued(self.perform_create(self.read()))

    @action(**_WITHOUT_BODY, throttle_scope=None)
    def pause(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Pause an unfinished run. It keeps its position in the list until it is resumed."""
        run = self.get_object()
        return self._answer(run, is_done=runs.pause(run), otherwise="sync_run_not_running")

    @action(**_WITHOUT_BODY)
    def resume(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Notify a worker to resume a run that is paused or has used up its budget."""
        run = self.get_object()
        if not (runs.can_be_resumed(run) and runs.resume(run)):
            return self._answer(run, is_done=False, otherwise="sync_run_not_paused")
        return self._answer_enqueued(tasks.enqueue(run))

    @action(detail=True, methods=["post"], serializer_class=serializers.ApproveSerializer)
    def approve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Approve a run that was stopped for review, and notify a worker to resume it.

        If the run no longer needs approval for this `reason`, nothing is done and the response is 409.
        """
        run, wanted = self.get_object(), self.read().validated_data
        try:
            approved = runs.approve(run, by=request.user, **wanted)
        except ValueError as error:
            raise RunConflict(self.show(run), str(error), "approval_refused") from None
        if approved is None:
            return self._answer(run, is_done=False, otherwise="not_awaiting_approval")
        return self._answer_enqueued(tasks.enqueue(approved))

    @action(**_WITHOUT_BODY, throttle_scope=None)
    def cancel(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Cancel an unfinished run permanently. Changes that it has mirrored are kept."""
        run = self.get_object()
        return self._answer(run, is_done=runs.cancel(run), otherwise="sync_run_finished")

    def perform_create(self, serializer: BaseSerializer[Any]) -> tasks.Enqueued:
        return tasks.start_unless_running(self.workspace, serializer.validated_data["mode"])

    def _answer(self, run: SyncRun, *, is_done: bool, otherwise: str) -> Response:
        """Return the current run, or raise a 409 with the code ``otherwise`` if nothing was done."""
        run.refresh_from_db(using=write_database())
        if not is_done:
            message = gettext("Nothing was changed: sync run %(run)s is in the state “%(state)s”.")
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
    schema.changes(ConversationChangeViewSet)
    schema.sync_runs(SyncRunViewSet)

"""The door as OpenAPI, for drf-spectacular: each answer of each view, errors included.

Imported by ``urls`` where drf-spectacular is installed; nothing else here knows it.
"""

from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers

from ..conf import DEFAULT_ALIAS
from ..payloads import REMOTE_ID
from .serializers import (
    ConversationQuery,
    ConversationSerializer,
    FetchSerializer,
    RenameSerializer,
    StartSerializer,
    SyncRunDetailSerializer,
    SyncRunQuery,
    SyncRunSerializer,
)

if TYPE_CHECKING:
    _Plain = serializers.Serializer[Any]
else:
    _Plain = serializers.Serializer


class ErrorSerializer(_Plain):
    """The shape of all errors."""

    code = serializers.CharField(help_text=_("Stable, for programs."))
    message = serializers.CharField(help_text=_("For people."))
    remote_status = serializers.IntegerField(
        allow_null=True, help_text=_("The HTTP status of Orq's own answer, if any.")
    )


class InvalidSerializer(ErrorSerializer):
    errors = serializers.DictField(  # type: ignore[assignment] # a field does not stay an attribute
        required=False, help_text=_("What is wrong, by the names of fields.")
    )


class DoubtSerializer(ErrorSerializer):
    hint = serializers.CharField(
        required=False, help_text=_("What to do where it may have taken effect all the same.")
    )


class CurrentSerializer(_Plain):
    """What Orq has now."""

    remote_id = serializers.CharField()
    display_name = serializers.CharField()
    updated_at = serializers.DateTimeField(help_text=_("To be expected by a rename that shall replace it."))
    updated_by_id = serializers.CharField(allow_null=True)


class ChangedSerializer(ErrorSerializer):
    current = CurrentSerializer()


class RunErrorSerializer(ErrorSerializer):
    run = SyncRunDetailSerializer(required=False)


_ERRORS: dict[int, tuple[type[_Plain], Any]] = {
    202: (ErrorSerializer, _("Orq has done it, and the mirror could not follow yet: do not repeat it")),
    400: (InvalidSerializer, _("Something in the request makes no sense")),
    401: (ErrorSerializer, _("Not logged in, or wrongly")),
    403: (ErrorSerializer, _("Not logged in, or without the permission")),
    404: (ErrorSerializer, _("No such conversation, run, page or workspace")),
    406: (ErrorSerializer, _("The answer can't be had in the form asked for")),
    409: (ChangedSerializer, _("Somebody renamed it since")),
    415: (ErrorSerializer, _("The body is of a kind that is not read")),
    429: (ErrorSerializer, _("Too many requests, ours to Orq or yours to us: see Retry-After")),
    500: (ErrorSerializer, _("Orq is not set up in this project")),
    502: (DoubtSerializer, _("Orq refused the server's key or the request, or its answer made no sense")),
    503: (DoubtSerializer, _("Orq or the database is in trouble, nothing was done: see Retry-After")),
    504: (DoubtSerializer, _("Orq did not answer in time, or nobody knows the outcome")),
}
_RUN_CONFLICT = OpenApiResponse(RunErrorSerializer, _("Somebody works on it, or it has ended"))
_BROKER = OpenApiResponse(RunErrorSerializer, _("No worker could be told; the run stays queued"))
_READ = (401, 403, 404, 406, 500, 503)
_WRITE = (*_READ, 400, 415, 429)
_ASKS_ORQ = (*_WRITE, 502, 504)

_WORKSPACE = OpenApiParameter("workspace", str, default=DEFAULT_ALIAS, description=_("The alias of a workspace."))
_RETRY_AFTER = OpenApiParameter(
    "Retry-After",
    int,
    OpenApiParameter.HEADER,
    response=[429, 503],
    description=_("Seconds to wait before the next try."),
)
_REMOTE_ID = OpenApiParameter("remote_id", str, OpenApiParameter.PATH, pattern=f"^{REMOTE_ID.pattern}$")
_RUN_ID = OpenApiParameter("id", int, OpenApiParameter.PATH)


def _schema(summary: Any, success: dict[Any, Any], errors: tuple[int, ...], *parameters: Any, **options: Any) -> Any:
    """What one action takes and answers; ``success`` beside the errors."""
    failures = {code: OpenApiResponse(*_ERRORS[code]) for code in sorted(errors)}
    return extend_schema(
        summary=summary,
        parameters=[_WORKSPACE, _RETRY_AFTER, *parameters],
        responses=success | {code: failure for code, failure in failures.items() if code not in success},
        **options,
    )


CONVERSATIONS = {
    "list": _schema(
        _("List conversations"), {200: ConversationSerializer(many=True)}, (*_READ, 400), ConversationQuery
    ),
    "create": _schema(_("Create a conversation"), {201: ConversationSerializer}, (*_ASKS_ORQ, 202)),
    "retrieve": _schema(_("Show a conversation"), {200: ConversationSerializer}, _READ, _REMOTE_ID),
    "partial_update": _schema(_("Rename a conversation"), {200: RenameSerializer}, (*_ASKS_ORQ, 202, 409), _REMOTE_ID),
    "destroy": _schema(_("Delete a conversation"), {204: None}, (*_ASKS_ORQ, 202), _REMOTE_ID),
    "refresh": _schema(
        _("Mirror what Orq has now"), {200: ConversationSerializer}, _ASKS_ORQ, _REMOTE_ID, request=None
    ),
    "fetch": _schema(_("Mirror one by its Orq id"), {200: ConversationSerializer}, _ASKS_ORQ, request=FetchSerializer),
}
SYNC_RUNS = {
    "list": _schema(_("List sync runs"), {200: SyncRunSerializer(many=True)}, (*_READ, 400), SyncRunQuery),
    "create": _schema(
        _("Start a sync run, or go on with one that rests"),
        {202: SyncRunDetailSerializer, 409: _RUN_CONFLICT, 503: _BROKER},
        _WRITE,
        request=StartSerializer,
    ),
    "retrieve": _schema(_("Show a sync run"), {200: SyncRunDetailSerializer}, _READ, _RUN_ID),
    "cancel": _schema(
        _("Cancel a sync run"), {200: SyncRunDetailSerializer, 409: _RUN_CONFLICT}, _READ, _RUN_ID, request=None
    ),
}


class _Annotated(OpenApiViewExtension):  # type: ignore[no-untyped-call] # of a base class
    match_subclasses = True
    schemas: ClassVar[dict[str, Any]]

    def view_replacement(self) -> Any:
        described = type(self.target.__name__, (self.target,), {"__doc__": self.target.__doc__})
        return extend_schema_view(**self.schemas)(described)


class AnnotatedConversations(_Annotated):  # type: ignore[no-untyped-call] # of a base class
    target_class = "django_orq.rest.views.ConversationViewSet"
    schemas = CONVERSATIONS


class AnnotatedSyncRuns(_Annotated):  # type: ignore[no-untyped-call] # of a base class
    target_class = "django_orq.rest.views.SyncRunViewSet"
    schemas = SYNC_RUNS

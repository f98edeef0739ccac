"""The door as OpenAPI, for drf-spectacular: each answer of each view, errors included.

Imported by ``urls`` where drf-spectacular is installed; nothing else here knows it.
"""

from typing import TYPE_CHECKING, Any, ClassVar

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
)

if TYPE_CHECKING:
    _Plain = serializers.Serializer[Any]
else:
    _Plain = serializers.Serializer


class ErrorSerializer(_Plain):
    """The shape of all errors."""

    code = serializers.CharField(help_text="Stable, for programs.")
    message = serializers.CharField(help_text="For people.")
    remote_status = serializers.IntegerField(allow_null=True, help_text="The HTTP status of Orq's own answer, if any.")


class InvalidSerializer(ErrorSerializer):
    errors = serializers.DictField(required=False, help_text="What is wrong, by the names of fields.")


class DoubtSerializer(ErrorSerializer):
    hint = serializers.CharField(required=False, help_text="What to do where it may have taken effect all the same.")


class CurrentSerializer(_Plain):
    """What Orq has now."""

    remote_id = serializers.CharField()
    display_name = serializers.CharField()
    updated_at = serializers.DateTimeField(help_text="To be expected by a rename that shall replace it.")
    updated_by_id = serializers.CharField(allow_null=True)


class ChangedSerializer(ErrorSerializer):
    current = CurrentSerializer()


class RunErrorSerializer(ErrorSerializer):
    run = SyncRunDetailSerializer(required=False)


_ERRORS: dict[int, tuple[type[_Plain], str]] = {
    202: (ErrorSerializer, "Orq has done it, and the mirror could not follow yet: do not repeat it"),
    400: (InvalidSerializer, "Something in the request makes no sense"),
    401: (ErrorSerializer, "Not logged in, or wrongly"),
    403: (ErrorSerializer, "Not logged in, or without the permission"),
    404: (ErrorSerializer, "No such conversation, run, page or workspace"),
    406: (ErrorSerializer, "The answer can't be had in the form asked for"),
    409: (ChangedSerializer, "Somebody renamed it since"),
    415: (ErrorSerializer, "The body is of a kind that is not read"),
    429: (ErrorSerializer, "Too many requests, ours to Orq or yours to us: see Retry-After"),
    500: (ErrorSerializer, "Orq is not set up in this project"),
    502: (DoubtSerializer, "Orq refused the server's key or the request, or its answer made no sense"),
    503: (DoubtSerializer, "Orq or the database is in trouble, nothing was done: see Retry-After"),
    504: (DoubtSerializer, "Orq did not answer in time, or nobody knows the outcome"),
}
_RUN_CONFLICT = OpenApiResponse(RunErrorSerializer, "Somebody works on it, or it has ended")
_BROKER = OpenApiResponse(RunErrorSerializer, "No worker could be told; the run stays queued")
_READ = (401, 403, 404, 406, 500, 503)
_WRITE = (*_READ, 400, 415, 429)
_ASKS_ORQ = (*_WRITE, 502, 504)

_WORKSPACE = OpenApiParameter("workspace", str, default=DEFAULT_ALIAS, description="The alias of a workspace.")
_REMOTE_ID = OpenApiParameter("remote_id", str, OpenApiParameter.PATH, pattern=f"^{REMOTE_ID.pattern}$")
_RUN_ID = OpenApiParameter("id", int, OpenApiParameter.PATH)


def _errors(*codes: int) -> dict[Any, Any]:
    return {code: OpenApiResponse(*_ERRORS[code]) for code in sorted(codes)}


def _schema(errors: tuple[int, ...], success: dict[Any, Any] | None = None, *more: Any, **options: Any) -> Any:
    """What one action takes and answers; ``success`` beside the errors."""
    return extend_schema(parameters=[_WORKSPACE, *more], responses=_errors(*errors) | (success or {}), **options)


CONVERSATIONS = {
    "list": _schema((*_READ, 400), {200: ConversationSerializer(many=True)}, ConversationQuery),
    "create": _schema((*_ASKS_ORQ, 202), {201: ConversationSerializer}),
    "retrieve": _schema(_READ, {200: ConversationSerializer}, _REMOTE_ID),
    "partial_update": _schema((*_ASKS_ORQ, 202, 409), {200: RenameSerializer}, _REMOTE_ID),
    "destroy": _schema((*_ASKS_ORQ, 202), {204: None}, _REMOTE_ID),
    "refresh": _schema(_ASKS_ORQ, {200: ConversationSerializer}, _REMOTE_ID, request=None),
    "fetch": _schema(_ASKS_ORQ, {200: ConversationSerializer}, request=FetchSerializer),
}
SYNC_RUNS = {
    "list": _schema((*_READ, 400), None, SyncRunQuery),
    "create": _schema(
        _WRITE, {202: SyncRunDetailSerializer, 409: _RUN_CONFLICT, 503: _BROKER}, request=StartSerializer
    ),
    "retrieve": _schema(_READ, {200: SyncRunDetailSerializer}, _RUN_ID),
    "cancel": _schema((*_READ, 415), {200: SyncRunDetailSerializer, 409: _RUN_CONFLICT}, _RUN_ID, request=None),
}


class _Annotated(OpenApiViewExtension):
    match_subclasses = True
    schemas: ClassVar[dict[str, Any]]

    def view_replacement(self) -> Any:
        described = type(self.target.__name__, (self.target,), {"__doc__": self.target.__doc__})
        return extend_schema_view(**self.schemas)(described)


class AnnotatedConversations(_Annotated):
    target_class = "django_orq.rest.views.ConversationViewSet"
    schemas = CONVERSATIONS


class AnnotatedSyncRuns(_Annotated):
    target_class = "django_orq.rest.views.SyncRunViewSet"
    schemas = SYNC_RUNS

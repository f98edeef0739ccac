"""The door as OpenAPI, for drf-spectacular: each answer of each view, errors included.

Imported by ``views`` where drf-spectacular is installed; nothing else here knows it. What a subclass reads and shows
is described as the subclass has it, and its own ``extend_schema`` goes before what is said here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiSerializerFieldExtension, OpenApiViewExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.settings import api_settings

from ..conf import DEFAULT_ALIAS
from ..payloads import MAX_NAME, REMOTE_ID
from .serializers import (
    CameBetweenSerializer,
    ConversationQuery,
    CurrentSerializer,
    SyncRunDetailSerializer,
    SyncRunQuery,
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


class BehindSerializer(ErrorSerializer):
    remote_id = serializers.CharField(help_text=_("The conversation that it was done to, or that came of it."))
    replaced = serializers.CharField(
        allow_null=True, help_text=_("The name that somebody gave it at the same moment, and that yours replaced.")
    )


class InvalidSerializer(ErrorSerializer):
    errors = serializers.DictField(  # type: ignore[assignment] # a field does not stay an attribute
        required=False, help_text=_("What is wrong, by the names of fields.")
    )


class DoubtSerializer(ErrorSerializer):
    hint = serializers.CharField(
        required=False, help_text=_("What to do where it may have taken effect all the same.")
    )


class ChangedSerializer(ErrorSerializer):
    current = CurrentSerializer()


class RunErrorSerializer(ErrorSerializer):
    run = SyncRunDetailSerializer(required=False)


_ERRORS: dict[int, tuple[type[_Plain], Any]] = {
    202: (BehindSerializer, _("Orq has done it, and the mirror could not follow yet: do not repeat it")),
    400: (InvalidSerializer, _("Something in the request makes no sense")),
    401: (ErrorSerializer, _("Not logged in, or wrongly")),
    403: (ErrorSerializer, _("Not logged in, or without the permission")),
    404: (ErrorSerializer, _("No such conversation, run, page or workspace")),
    406: (ErrorSerializer, _("The answer can't be had in the form asked for")),
    409: (ChangedSerializer, _("Somebody renamed it since")),
    413: (ErrorSerializer, _("The body is larger than this site reads")),
    415: (ErrorSerializer, _("The body is of a kind that is not read")),
    429: (ErrorSerializer, _("Too many requests to this site: see Retry-After")),
    500: (ErrorSerializer, _("Orq is not set up in this project")),
    502: (
        ErrorSerializer,
        _("Orq refused the server's key or the request, or its answer made no sense or broke off; nothing was done"),
    ),
    503: (ErrorSerializer, _("The database is in trouble: see Retry-After")),
    504: (DoubtSerializer, _("Orq did not answer in time, or nobody knows what came of it: see the hint")),
}
_ASKING_ORQ = {
    429: OpenApiResponse(ErrorSerializer, _("Too many requests, the server's to Orq or yours to it: see Retry-After")),
    503: OpenApiResponse(
        ErrorSerializer, _("Orq was out of reach or said that it is in trouble, or the database is: see Retry-After")
    ),
}
_RUN_CONFLICT = OpenApiResponse(RunErrorSerializer, _("Somebody works on it, or it has ended"))
_BROKER = OpenApiResponse(
    RunErrorSerializer, _("No worker could be told, and the run stays queued; or the database is in trouble")
)
_READ = (400, 401, 403, 404, 406, 429, 500, 503)
_WRITE = (*_READ, 413, 415)
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

Shown = Callable[[Any], Any]
"""What an action answers with if all is well, by the schema of its view."""


def by_action(schema: Any) -> Any:
    """By the serializer that the view has for the action."""
    return schema._get_serializer()


def by_retrieve(schema: Any) -> Any:
    """As ``retrieve`` shows it."""
    with schema.view.acting_as("retrieve"):
        return schema._get_serializer()


def renamed(schema: Any) -> Any:
    """As ``retrieve`` shows it, and what came between."""
    parts = (by_retrieve(schema), CameBetweenSerializer())
    return {"allOf": [schema.resolve_serializer(part, "response").ref for part in parts]}


def nothing(_schema: Any) -> None:
    return None


def _answering(success: int, shown: Shown, failures: dict[int, Any]) -> type[Any]:
    """The project's schema class, for an action that answers so."""

    def get_request_serializer(schema: Any) -> Any:
        return schema.view.get_reader()

    def get_response_serializers(schema: Any) -> Any:
        return {success: shown(schema)} | failures

    base: Any = api_settings.DEFAULT_SCHEMA_CLASS
    methods = {method.__name__: method for method in (get_request_serializer, get_response_serializers)}
    return type("Answering", (base,), methods)


def _schema(
    summary: Any,
    description: Any,
    success: tuple[int, Shown],
    errors: tuple[int, ...],
    *parameters: Any,
    special: dict[int, Any] | None = None,
    **options: Any,
) -> Any:
    """What one action takes and answers; decorates its method."""
    failures = {code: OpenApiResponse(*_ERRORS[code]) for code in sorted(errors)} | (special or {})
    describe = extend_schema(
        summary=summary,
        description=description,
        parameters=[_WORKSPACE, _RETRY_AFTER, *parameters],
        **options,
    )

    def decorate(method: Any) -> Any:
        kept = getattr(method, "kwargs", {})
        own = kept.get("schema")
        method.kwargs = {**kept, "schema": _answering(*success, dict(sorted(failures.items())))}
        describe(method)
        if own is not None:
            method.kwargs["schema"] = type("Described", (own, method.kwargs["schema"]), {})
        return method

    return decorate


CONVERSATIONS = {
    "list": _schema(
        _("List conversations"),
        _("Newest first, from the mirror; deleted ones are left out unless they are asked for."),
        (200, by_action),
        _READ,
        ConversationQuery,
    ),
    "create": _schema(
        _("Create a conversation"),
        _("In Orq first, then here. It is never sent twice: see 504."),
        (201, by_action),
        (*_ASKS_ORQ, 202),
        special=_ASKING_ORQ,
    ),
    "retrieve": _schema(
        _("Show a conversation"),
        _("From the mirror, with its state; deleted ones too."),
        (200, by_action),
        _READ,
        _REMOTE_ID,
    ),
    "partial_update": _schema(
        _("Rename a conversation"),
        _("In Orq first, then here; not if somebody else renamed it since you saw it."),
        (200, renamed),
        (*_ASKS_ORQ, 202, 409),
        _REMOTE_ID,
        special=_ASKING_ORQ,
    ),
    "destroy": _schema(
        _("Delete a conversation"),
        _("In Orq, for good; here it stays as a deleted one."),
        (204, nothing),
        (*_ASKS_ORQ, 202),
        _REMOTE_ID,
        special=_ASKING_ORQ,
    ),
    "refresh": _schema(
        _("Mirror what Orq has now"),
        _("Asks Orq for a conversation that is known here. One that Orq does not know any more is marked as missing."),
        (200, by_retrieve),
        _ASKS_ORQ,
        _REMOTE_ID,
        request=None,
        special=_ASKING_ORQ,
    ),
    "fetch": _schema(
        _("Mirror one by its Orq id"),
        _("Asks Orq for a conversation, whether it is known here or not."),
        (200, by_retrieve),
        _ASKS_ORQ,
        special=_ASKING_ORQ,
    ),
}
SYNC_RUNS = {
    "list": _schema(
        _("List sync runs"),
        _("Newest first. How far a run is, and what should be known about it, is told where it is shown alone."),
        (200, by_action),
        _READ,
        SyncRunQuery,
    ),
    "create": _schema(
        _("Start a sync run, or go on with one that rests"),
        _("A worker takes it. One that is paused, or whose budget is spent, goes on instead of a new one."),
        (202, by_retrieve),
        _WRITE,
        special={409: _RUN_CONFLICT, 503: _BROKER},
    ),
    "retrieve": _schema(
        _("Show a sync run"),
        _("With how far it is, and what should be known about it."),
        (200, by_action),
        _READ,
        _RUN_ID,
    ),
    "cancel": _schema(
        _("Cancel a sync run"),
        _("Ends an unfinished run for good; what it has mirrored stays."),
        (200, by_retrieve),
        _WRITE,
        _RUN_ID,
        request=None,
        special={409: _RUN_CONFLICT},
    ),
}


class _Annotated(OpenApiViewExtension):  # type: ignore[no-untyped-call] # of a base class
    match_subclasses = True
    schemas: ClassVar[dict[str, Any]]

    def view_replacement(self) -> Any:
        described = type(self.target.__name__, (self.target,), {"__doc__": self.target.__doc__})
        offered = {name: schema for name, schema in self.schemas.items() if hasattr(described, name)}
        return extend_schema_view(**offered)(described)


class AnnotatedConversations(_Annotated):  # type: ignore[no-untyped-call] # of a base class
    target_class = "django_orq.rest.views.ConversationViewSet"
    schemas = CONVERSATIONS


class AnnotatedSyncRuns(_Annotated):  # type: ignore[no-untyped-call] # of a base class
    target_class = "django_orq.rest.views.SyncRunViewSet"
    schemas = SYNC_RUNS


class OneNameForChoices(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call] # of a base class
    """Else choices of fields called alike, such as ``state``, would get names that depend on all others."""

    target_class = "django_orq.rest.serializers.NamedChoice"
    match_subclasses = True

    def get_name(self) -> Any:
        return self.target.schema_name

    def map_serializer_field(self, _auto_schema: Any, _direction: Any) -> Any:
        return {"type": "string", "enum": list(self.target.choices)}


class LimitsOfNames(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call] # of a base class
    """What a name to be given must be; the one that a conversation has is as Orq says."""

    target_class = "django_orq.rest.serializers.NameField"
    match_subclasses = True

    def map_serializer_field(self, _auto_schema: Any, direction: Any) -> Any:
        limits = {"minLength": 1, "maxLength": MAX_NAME} if direction == "request" else {}
        return {"type": "string", **limits}

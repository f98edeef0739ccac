"""The views as OpenAPI, for drf-spectacular: each answer of each operation, errors included.

Imported by ``views`` where drf-spectacular is installed; nothing else here knows it.
"""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_serializer,
    extend_schema_view,
)
from rest_framework.serializers import CharField, DateTimeField, DictField, IntegerField, Serializer, URLField

from ..conf import DEFAULT_ALIAS
from . import serializers
from .serializers import ConversationSerializer

_REPLACED: Any = _("The name that somebody gave it at the same moment, and that yours replaced.")


class RenamedSerializer(ConversationSerializer):
    """A conversation, and what came between."""

    replaced = CharField(allow_null=True, help_text=_REPLACED)
    overtaken_by = CharField(allow_null=True, help_text=_("The name that has replaced yours already."))

    class Meta(ConversationSerializer.Meta):
        fields = (*ConversationSerializer.Meta.fields, "replaced", "overtaken_by")


class PageSerializer(Serializer[Any]):
    next = URLField(allow_null=True)
    previous = URLField(allow_null=True)
    freshness = serializers.FreshnessSerializer()


@extend_schema_serializer(many=False)
class ConversationPageSerializer(PageSerializer):
    results = ConversationSerializer(many=True)
    searched_back_to = DateTimeField(
        allow_null=True, help_text=_("Names of conversations created since then were searched; null: all were.")
    )


@extend_schema_serializer(many=False)
class SyncRunPageSerializer(PageSerializer):
    results = serializers.SyncRunSerializer(many=True)


class ErrorSerializer(Serializer[Any]):
    """The shape of all errors."""

    code = CharField(help_text=_("Stable, for programs."))
    message = CharField(help_text=_("For people."))
    remote_status = IntegerField(allow_null=True, help_text=_("The HTTP status of Orq's own answer, if any."))


def _error(description: Any, name: str = "Error", **more: Any) -> OpenApiResponse:
    """An answer of the shape of all errors, with ``more`` fields if it has a ``name`` of its own."""
    kind = type(f"{name}Serializer", (ErrorSerializer,), more) if more else ErrorSerializer
    return OpenApiResponse(kind, description)


_READ: dict[int, Any] = {
    400: _error(
        _("Something in the request makes no sense"),
        "Invalid",
        errors=DictField(required=False, help_text=_("What is wrong, by the names of fields.")),
    ),
    401: _error(_("Not logged in, or wrongly")),
    403: _error(_("Not logged in, or without the permission")),
    404: _error(_("No such conversation, run, page or workspace")),
    406: _error(_("The answer can't be had in the form asked for")),
    429: _error(_("Too many requests, to this site or to Orq: see Retry-After")),
    500: _error(_("Orq is not set up in this project")),
    503: _error(_("The database or Orq is in trouble or out of reach: see Retry-After")),
}
_WRITE = _READ | {415: _error(_("The body is of a kind that is not read"))}
_ASKS_ORQ = _WRITE | {
    502: _error(_("Orq refused the server's key or the request, or its answer was malformed; nothing was done")),
    504: _error(
        _("Orq did not answer in time, or nobody knows what came of it: see the hint"),
        "OutcomeUnknown",
        hint=CharField(required=False, help_text=_("What to do where it may have taken effect all the same.")),
    ),
}
_CHANGES_ORQ = _ASKS_ORQ | {
    202: _error(
        _("Orq has done it, and the mirror could not follow yet: do not repeat it"),
        "MirrorBehind",
        remote_id=CharField(help_text=_("The conversation that it was done to, or that came of it.")),
        replaced=CharField(allow_null=True, help_text=_REPLACED),
    )
}
_CHANGED = _error(
    _("Somebody renamed it since"), "ConversationChanged", current=serializers.CurrentConversationSerializer()
)
_RUN = serializers.SyncRunDetailSerializer(required=False)
_CONFLICT = _error(_("The run is in another state, or somebody works on it"), "RunConflict", run=_RUN)
_NOT_ENQUEUED = _error(
    _("No worker was told, and the run stays queued; or the database is in trouble"), "Untold", run=_RUN
)
_STOPS_A_RUN = _WRITE | {200: serializers.SyncRunDetailSerializer, 409: _CONFLICT}
_STARTS_A_RUN = _WRITE | {202: serializers.SyncRunDetailSerializer, 409: _CONFLICT, 503: _NOT_ENQUEUED}
_PARAMETERS = [
    OpenApiParameter("workspace", str, default=DEFAULT_ALIAS, description=_("The alias of a workspace.")),
    OpenApiParameter(
        "Retry-After",
        int,
        OpenApiParameter.HEADER,
        response=[429, 503],
        description=_("Seconds to wait before the next try."),
    ),
]


def _operation(summary: Any, answers: dict[int, Any], *parameters: Any, **options: Any) -> Any:
    """What one action answers; it is described by the docstring of its method, or else of its view."""
    return extend_schema(summary=summary, responses=answers, parameters=[*_PARAMETERS, *parameters], **options)


conversations = extend_schema_view(
    list=_operation(_("List conversations"), _READ | {200: ConversationPageSerializer}, serializers.ConversationQuery),
    create=_operation(_("Create a conversation"), _CHANGES_ORQ | {201: ConversationSerializer}),
    retrieve=_operation(_("Show a conversation"), _READ | {200: ConversationSerializer}),
    partial_update=_operation(_("Rename a conversation"), _CHANGES_ORQ | {200: RenamedSerializer, 409: _CHANGED}),
    destroy=_operation(_("Delete a conversation"), _CHANGES_ORQ | {204: None}),
    refresh=_operation(_("Mirror what Orq has now"), _ASKS_ORQ | {200: ConversationSerializer}, request=None),
    fetch=_operation(_("Mirror one by its Orq id"), _ASKS_ORQ | {200: ConversationSerializer}),
)
sync_runs = extend_schema_view(
    list=_operation(_("List sync runs"), _READ | {200: SyncRunPageSerializer}, serializers.SyncRunQuery),
    create=_operation(_("Start a sync run, or go on with one that rests"), _STARTS_A_RUN),
    retrieve=_operation(_("Show a sync run"), _READ | {200: serializers.SyncRunDetailSerializer}),
    pause=_operation(_("Pause a sync run"), _STOPS_A_RUN, request=None),
    resume=_operation(_("Resume a sync run"), _STARTS_A_RUN, request=None),
    approve=_operation(_("Approve a sync run"), _STARTS_A_RUN),
    cancel=_operation(_("Cancel a sync run"), _STOPS_A_RUN, request=None),
)
"""Decorators of the viewsets."""

"""The OpenAPI description of the views, for drf-spectacular: every response of every operation, errors included.

``views`` imports this module if drf-spectacular is installed; no other module depends on drf-spectacular.
"""

from functools import partial
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular import utils as spectacular
from rest_framework.serializers import CharField, DictField, IntegerField, Serializer, URLField

from . import serializers


class RenamedConversationSerializer(serializers.ConversationSerializer):
    """A renamed conversation, with the names that others gave it at the same time."""

    replaced = CharField(allow_null=True, help_text=_("Someone else's new name that yours replaced; null if none."))
    overtaken_by = CharField(allow_null=True, help_text=_("Someone else's newer name, which replaced yours; or null."))

    class Meta(serializers.ConversationSerializer.Meta):
        fields = (*serializers.ConversationSerializer.Meta.fields, "replaced", "overtaken_by")


class PageSerializer(Serializer[Any]):
    next = URLField(allow_null=True, help_text=_("The URL of the next page; null on the last one."))
    previous = URLField(allow_null=True, help_text=_("The URL of the previous page; null on the first one."))
    freshness = serializers.FreshnessSerializer()


def _exported(page: Any) -> Any:
    """The responses of a list that can be exported."""
    return _READ | {(200, "application/json"): page, (200, "text/csv"): str}


def _page(name: str, **fields: Any) -> Any:
    kind = type(f"{name}PageSerializer", (PageSerializer,), {"__doc__": "One page of the list.", **fields})
    return spectacular.extend_schema_serializer(many=False)(kind)


class ErrorSerializer(Serializer[Any]):
    """An error. Depending on its status, it has more fields."""

    code = CharField(help_text=_("A stable code, for programs."))
    message = CharField(help_text=_("A message to show to users."))
    remote_status = IntegerField(allow_null=True, help_text=_("The HTTP status of Orq's response; null if none."))
    errors: Any = DictField(required=False, help_text=_("400: the messages, by names of fields or parameters."))
    hint = CharField(required=False, help_text=_("504: what to do if the request may have taken effect."))
    remote_id = CharField(required=False, help_text=_("202: the id of the conversation that was created or changed."))
    replaced = CharField(required=False, allow_null=True, help_text=_("202: someone else's name that yours replaced."))
    current = serializers.CurrentConversationSerializer(required=False)
    run = serializers.SyncRunDetailSerializer(required=False)


_error = partial(spectacular.OpenApiResponse, ErrorSerializer)
_READ: dict[int, Any] = {
    400: _error(_("The body or the query is invalid")),
    401: _error(_("The request is not authenticated, or its credentials are wrong")),
    403: _error(_("The request is not authenticated, or the user lacks a permission")),
    404: _error(_("There is no such conversation, sync run, page or workspace")),
    406: _error(_("The requested response format is not available")),
    429: _error(_("Too many requests to this API or to Orq: see Retry-After")),
    500: _error(_("The workspace’s settings are missing or invalid, or the database refuses the conversation")),
    503: _error(_("The database or Orq is unavailable: see Retry-After")),
}
_WRITE = _READ | {415: _error(_("The format of the body is not supported"))}
_ASKS_ORQ = _WRITE | {
    502: _error(_("Orq rejected the request or the API key, or its response is invalid; nothing was changed")),
    504: _error(_("Orq did not respond in time, or the outcome is unknown: see the hint")),
}
_BEHIND = _error(_("Orq completed the request, but the local copy is out of date: do not repeat the request"))
_CHANGES_ORQ = _ASKS_ORQ | {202: _BEHIND}
_CHANGED = _error(_("The conversation was changed in Orq since you read it"))
_CONFLICT = _error(_("The state of the run does not allow this"))
_NOT_ENQUEUED = _error(_("The message broker or the database is unavailable"))
_STOPS_A_RUN = _WRITE | {200: serializers.SyncRunDetailSerializer, 409: _CONFLICT}
_STARTS_A_RUN = _WRITE | {202: serializers.SyncRunDetailSerializer, 409: _CONFLICT, 503: _NOT_ENQUEUED}
_PARAMETERS = [
    spectacular.OpenApiParameter("workspace", str, description=_("An alias; if omitted, `default`, or the only one.")),
    spectacular.OpenApiParameter("Retry-After", int, "header", response=[429, 503], description=_("Seconds to wait.")),
]


def _operation(summary: Any, responses: dict[int, Any], *parameters: Any, **options: Any) -> Any:
    """Describe one action. Its description is the docstring of its method, or of the view if there is none."""
    described = [*_PARAMETERS, *parameters]
    return spectacular.extend_schema(summary=summary, responses=responses, parameters=described, **options)


_of_conversations = partial(_operation, tags=["conversations"])
_of_runs = partial(_operation, tags=["sync-runs"])
_SEARCH: Any = {
    "searched_back_to": serializers.TimeField(
        allow_null=True, help_text=_("Only conversations created since this time were searched; null if all were.")
    ),
    "search_older": URLField(allow_null=True, help_text=_("The URL that searches older ones; null if all were.")),
}
_CONVERSATIONS = _page("Conversation", results=serializers.ConversationSerializer(many=True), **_SEARCH)
_CHANGES = _page("ConversationChange", results=serializers.ConversationChangeSerializer(many=True))
_RUNS = _page("SyncRun", results=serializers.SyncRunSerializer(many=True))
_SHOWN = {200: serializers.ConversationSerializer}
_RENAMED = {200: RenamedConversationSerializer, 409: _CHANGED}

conversations = spectacular.extend_schema_view(
    list=_of_conversations(_("List conversations"), _exported(_CONVERSATIONS), serializers.ConversationQuery),
    create=_of_conversations(_("Create a conversation"), _CHANGES_ORQ | {201: serializers.ConversationSerializer}),
    retrieve=_of_conversations(_("Retrieve a conversation"), _READ | _SHOWN),
    partial_update=_of_conversations(_("Rename a conversation"), _CHANGES_ORQ | _RENAMED),
    destroy=_of_conversations(_("Delete a conversation"), _CHANGES_ORQ | {204: None}),
    refresh=_of_conversations(_("Refresh a conversation"), _ASKS_ORQ | _SHOWN, request=None),
    fetch=_of_conversations(_("Fetch a conversation by its Orq id"), _ASKS_ORQ | _SHOWN),
)
changes = spectacular.extend_schema_view(
    list=_operation(_("List changes"), _exported(_CHANGES), serializers.ChangeQuery, tags=["changes"])
)
sync_runs = spectacular.extend_schema_view(
    list=_of_runs(_("List sync runs"), _READ | {200: _RUNS}, serializers.SyncRunQuery),
    create=_of_runs(_("Start or resume a sync run"), _STARTS_A_RUN),
    retrieve=_of_runs(_("Retrieve a sync run"), _READ | {200: serializers.SyncRunDetailSerializer}),
    pause=_of_runs(_("Pause a sync run"), _STOPS_A_RUN, request=None),
    resume=_of_runs(_("Resume a sync run"), _STARTS_A_RUN, request=None),
    approve=_of_runs(_("Approve a sync run"), _STARTS_A_RUN),
    cancel=_of_runs(_("Cancel a sync run"), _STOPS_A_RUN, request=None),
)
"""Decorators for the viewsets."""

"""Conversations in the admin: their list, with the mirror's freshness above it, and what the page of one shows."""

import json
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, SyncRun, searching
from ..store.database import DatabaseClock, write_database
from ..sync import runs
from ..text import is_blank
from .base import if_several, known_aliases, may_see
from .bulk import BulkAdmin
from .forms import RenameForm
from .lists import (
    BoundedPaginator,
    ConversationList,
    CreatedFilter,
    StateFilter,
    WorkspaceFilter,
    chosen_workspace,
    searched,
)
from .texts import OF_CONVERSATIONS, ago, explained

_MARKS = ("missing_since", "confirmed_at", "deleted_at")


@admin.register(Conversation)
class ConversationAdmin(BulkAdmin):
    """Create, rename and delete conversations in Orq, and look at what the mirror has of them.

    Deleted ones are listed only by the filter on states, and their pages are there to be read. Inlines of subclasses
    are not shown.
    """

    search_fields = ("display_name",)
    search_help_text = _("Parts of the name, or the beginning of an Orq id (conv_…).")
    ordering = ("-remote_id",)  # newest first, for ids sort by creation
    sortable_by = ("created",)
    paginator = BoundedPaginator
    actions = ("rename_selected", "refresh_selected", "delete_selected", "create_again")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return ("name", *if_several("workspace"), "created", "remote_updated_at", "shown_state")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return (StateFilter, *if_several(WorkspaceFilter), CreatedFilter)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """To list and to complete, from where the router has them read; to act on, from where they are written."""
        rows = super().get_queryset(request)
        view = _view(request)
        is_listing = request.method == "GET" and (view == "autocomplete" or view.endswith("_changelist"))
        return rows if is_listing else rows.using(write_database())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ConversationList]:
        return ConversationList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        if _view(request) == "autocomplete":  # a new reference, in the order of the index
            queryset = queryset.filter(deleted_at=None).order_by("-deleted_at", "-remote_id", "-pk")
        term = search_term.strip()[: searching.MAX_TERM]
        if searching.is_id(term):
            return searching.by_id(queryset, term), False
        return super().get_search_results(request, searched(request, queryset) if term else queryset, term)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        chosen, now = chosen_workspace(request), DatabaseClock(write_database()).now()
        shown = [chosen] if chosen else known_aliases()
        context = {
            "chosen_workspace": chosen,
            "freshness": [_freshness(alias, now) for alias in shown] if request.method == "GET" else [],
            "links_runs": may_see(request, self.admin_site, SyncRun),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return (obj is None or obj.deleted_at is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return (obj is None or obj.deleted_at is None) and super().has_delete_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Conversation | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": (*if_several("workspace"), "display_name")})]
        times = ("remote_created_at", "created_by_id", "remote_updated_at", "updated_by_id")
        details = (*if_several("workspace"), "remote_id", *times, "shown_metadata", "shown_extra")
        marks = (name for name in _MARKS if getattr(obj, name) is not None)
        return [
            (None, {"fields": ("display_name", "explained_state")}),
            (_("Details"), {"fields": details}),
            (_("Sync"), {"fields": ("mirrored_at", *marks)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Conversation | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        editable = RenameForm.base_fields if self.has_change_permission(request, obj) else ()
        return tuple(name for name in flatten_fieldsets(self.get_fieldsets(request, obj)) if name not in editable)

    @admin.display(description=_("name"))
    def name(self, conversation: Conversation) -> str:
        if conversation.is_scrubbed:
            return str(conversation)
        if is_blank(conversation.display_name):
            return gettext("(without a name)")  # something to click on
        return format_html("<bdi>{}</bdi>", conversation.display_name)

    @admin.display(description=_("created"), ordering="remote_id")
    def created(self, conversation: Conversation) -> Any:
        return conversation.remote_created_at

    @admin.display(description=_("state"))
    def shown_state(self, conversation: Conversation) -> Any:
        return conversation.state.label

    @admin.display(description=_("state"))
    def explained_state(self, conversation: Conversation) -> str:
        return explained(conversation.state.label, OF_CONVERSATIONS[conversation.state])

    @admin.display(description=_("metadata"))
    def shown_metadata(self, conversation: Conversation) -> str:
        return _pretty_json(conversation.metadata)

    @admin.display(description=_("other fields"))
    def shown_extra(self, conversation: Conversation) -> str:
        return _pretty_json(conversation.extra)


def _freshness(workspace: str, now: datetime) -> dict[str, Any]:
    """How fresh the mirror of a workspace is, for the head of the list."""
    fresh, last = runs.freshness(workspace), runs.newest_finished(workspace)
    times = {
        "last_incremental": fresh.last_incremental,
        "last_full": fresh.last_full,
        "ended": last and last.finished_at,
    }
    told = {name: ago(moment, now=now) if moment else gettext("never") for name, moment in times.items()}
    return {"workspace": workspace, "last": last, "under_way": runs.under_way(workspace), **told}


def _view(request: HttpRequest) -> str:
    """The name of the URL that was asked for."""
    return (request.resolver_match.url_name if request.resolver_match else None) or ""


def _pretty_json(content: Any) -> str:
    """Indented, as markup; nothing for what is empty."""
    if not content:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(content, indent=2, ensure_ascii=False))

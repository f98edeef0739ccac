"""Conversations in the admin: their list, and what the page of one shows."""

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Conversation
from ..models.searching import MAX_TERM, by_id, is_id
from ..store.database import write_database
from ..text import is_blank
from .bulk_actions import BulkActionsAdmin
from .bulk_renaming import BulkRenamingAdmin
from .deleting import DeletingAdmin
from .filters import CreatedFilter, StateFilter, WorkspaceFilter
from .forms import RenameForm, SelectionActionForm
from .freshness import FreshnessAdmin
from .help_texts import OF_CONVERSATIONS, explained
from .listing import ConversationList
from .names import as_told
from .pagination import BoundedPaginator
from .saving import SavingAdmin
from .searching import is_completing, is_listing, newest, offered
from .workspaces import if_several

_MARKS = ("missing_since", "confirmed_at", "deleted_at")


@admin.register(Conversation)
class ConversationAdmin(FreshnessAdmin, SavingAdmin, DeletingAdmin, BulkRenamingAdmin, BulkActionsAdmin):
    """Create, rename and delete conversations in Orq, and look at what the mirror has of them.

    Deleted ones are listed only by the filter on states, and their pages are there to be read. Inlines of subclasses
    are not shown.
    """

    search_fields = ("display_name",)
    search_help_text = _("Parts of the name, or the beginning of an Orq id (conv_…).")
    ordering = ("-remote_id",)  # newest first, for ids sort by creation
    sortable_by = ("created",)
    paginator = BoundedPaginator
    action_form = SelectionActionForm
    actions = ("rename_selected", "refresh_selected", "delete_selected", "create_again")

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return ("name", *if_several("workspace"), "created", "remote_updated_at", "shown_state")

    def get_list_filter(self, request: HttpRequest) -> tuple[Any, ...]:
        return (StateFilter, *if_several(WorkspaceFilter), CreatedFilter)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """To list and to complete, from where the router has them read; to act on, from where they are written."""
        rows = super().get_queryset(request)
        return rows if is_listing(request) else rows.using(write_database())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ConversationList]:
        return ConversationList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        if is_completing(request):
            queryset = offered(queryset)
        term = search_term.strip()[:MAX_TERM]
        if "\0" in term:  # in no name, and PostgreSQL refuses to look for it
            return queryset.none(), False
        if is_id(term):
            return by_id(queryset, term), False
        return super().get_search_results(request, newest(request, queryset) if term else queryset, term)

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return (obj is None or obj.deleted_at is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return (obj is None or obj.deleted_at is None) and super().has_delete_permission(request, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Conversation | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": (*if_several("workspace"), "display_name")})]
        times = ("remote_created_at", "created_by_id", "remote_updated_at", "updated_by_id")
        marks = (name for name in _MARKS if getattr(obj, name) is not None)
        return [
            (None, {"fields": ("display_name", "explained_state")}),
            (
                _("In Orq"),
                {"fields": (*if_several("workspace"), "remote_id", *times, "shown_metadata", "shown_extra")},
            ),
            (_("Here"), {"fields": ("mirrored_at", *marks)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Conversation | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        editable = RenameForm.base_fields if self.has_change_permission(request, obj) else ()
        return tuple(name for name in flatten_fieldsets(self.get_fieldsets(request, obj)) if name not in editable)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        conversation = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {}
        if conversation is not None:
            told = as_told(conversation)
            context = {"title": gettext("Change history: %s") % told, "object": told}
        return super().history_view(request, object_id, context | (extra_context or {}))

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


def _pretty_json(content: Any) -> str:
    """Indented, as markup; nothing for what is empty."""
    if not content:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(content, indent=2, ensure_ascii=False))

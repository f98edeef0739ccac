"""Conversations in the admin: their list, with the times of the last syncs above it, and their pages."""

import json
from functools import partial
from itertools import chain
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.timezone import now
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.http import require_POST

from ..conf import DEFAULT_ALIAS
from ..exceptions import OrqError
from ..mirror import fetch_conversation
from ..models import Conversation, ConversationChange, ConversationState, SyncRun, searching
from ..payloads import is_remote_id
from ..store.database import write_database
from ..sync.report import person
from ..text import is_blank
from .base import if_several, page_of, ways_to_sync
from .bulk import BulkAdmin
from .changes import changes_url, history
from .editing import LOGGED
from .filters import CreatedFilter, StateFilter, UpdatedFilter
from .forms import CreateForm, RenameForm, asks_workspace
from .lists import BEFORE, BoundedPaginator, ConversationList, ExportingAdmin, NamesakePaginator, searched, sync_panel
from .texts import OF_CONVERSATIONS, ago, explain_refusal, explained

MAX_OFFERED = 200
"""How many conversations of each workspace a field with autocompletion offers, newest first."""
_MARKS = ("missing_since", "confirmed_at", "deleted_at")


@admin.register(Conversation)
class ConversationAdmin(ExportingAdmin, BulkAdmin):
    """Create, rename and delete conversations in Orq, and view the mirrored ones.

    Deleted conversations are listed only if the state filter selects them, and are read-only. The attributes of a
    subclass are honoured, except ``form`` and, on the add page, ``fields`` and ``fieldsets``: the pages ask only for
    what can be written to Orq.
    """

    list_display = ("name", "created", "updated", "shown_state")
    list_filter = (StateFilter, CreatedFilter, UpdatedFilter)
    list_per_page = 50
    search_fields = ("display_name",)
    search_help_text = _("Words from the name, or the beginning of an Orq id (conv_…).")
    ordering = ("-remote_id",)  # newest first, because ids sort by creation time
    sortable_by = ("created", "updated")
    paginator = BoundedPaginator
    actions: Any = ("rename_selected", "refresh_selected", "delete_selected", "create_again", "export_selected")
    own_list = ConversationList
    own_views: ClassVar[Any] = {**BulkAdmin.own_views, "fetch": "", "csv": ""}

    delete_confirmation_template = "admin/django_orq/conversation/delete_confirmation.html"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        vars(self)["save_as"] = False  # it would rename the conversation instead of creating another one
        # If a subclass replaces ``actions``, keep our ``delete_selected``: the site's would end with StrayWrite.
        of_site = {name for name, _action in self.admin_site.actions}
        if self.actions is not None and "delete_selected" in of_site - {*self.actions}:
            self.actions = ("delete_selected", *self.actions)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        """Read lists and autocompletion from the router's read database, everything else from the write database."""
        rows = super().get_queryset(request)
        view = _view(request)
        is_listing = request.method == "GET" and (view == "autocomplete" or view.endswith(("_changelist", "_csv")))
        return rows if is_listing else rows.using(write_database())

    def get_sortable_by(self, request: HttpRequest) -> Any:
        """Leave out the order of updates if the list is filtered in a way that no index serves together with it."""
        is_filtered = not {StateFilter.parameter_name, *CreatedFilter.parameters}.isdisjoint(request.GET)
        return [name for name in super().get_sortable_by(request) if not (is_filtered and name == "updated")]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        if _view(request) != "autocomplete":
            return self._search(request, search_term, queryset)
        # Choices for a new reference: each workspace is searched by itself, in the order of an index.
        kept = queryset.filter(deleted_at=None).order_by("-deleted_at", "-remote_id")
        aliases = list(searching.workspaces(Conversation.objects.using(queryset.db)))
        parts = [self._search(request, search_term, kept.filter(workspace=one), len(aliases))[0] for one in aliases]
        offered = chain(*(part.values_list("pk", flat=True)[:MAX_OFFERED] for part in parts))
        return queryset.filter(pk__in=[*offered]).order_by("-remote_id", "-pk"), False

    def _search(self, request: HttpRequest, text: str, rows: Any, shares: int = 1) -> tuple[QuerySet[Any], bool]:
        term = text.strip()[: searching.MAX_TERM]
        if searching.is_id(term):
            return searching.by_id(rows, term), False
        found = searched(request, rows, term, shares=shares) if term else rows
        return super().get_search_results(request, found, term)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Offer the workspace of the list that the user comes from."""
        of_list = QueryDict(request.GET.get("_changelist_filters", ""))
        return {"workspace": of_list.get("workspace", DEFAULT_ALIAS)} | super().get_changeform_initial_data(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"run_page": page_of(request, self.admin_site, SyncRun)}
        context |= {"fetch_url": self._url_to("fetch"), "several_url": self._url_to("create_several")}
        context |= {"export_url": self._url_to("csv") if self.has_csv_permission(request) else ""}
        response = self._framed(super().changelist_view(request, context | (extra_context or {})), "list")
        if (shown := getattr(response, "context_data", None) or {}).get("cl"):
            shown |= self._offers(request, shown["cl"])
            shown |= ways_to_sync(request, self.admin_site, shown["cl"].workspace)
            shown["panel"] = partial(sync_panel, shown["cl"].workspace, is_operator=request.user.is_superuser)
        return response

    def _offers(self, request: HttpRequest, shown: Any) -> dict[str, Any]:
        """What a list without rows offers: deleted conversations that match, the one with this id, or a full sync."""
        if shown.result_count:
            return {}
        asked, of_workspace = shown.query.strip(), self.get_queryset(request).filter(workspace=shown.workspace)
        if is_remote_id(asked.lower()):
            is_unknown = not of_workspace.filter(remote_id=asked.lower()).exists()  # or else another filter hides it
            return {"unknown_id": asked.lower() if is_unknown and self.has_add_permission(request) else ""}
        if asked and any(isinstance(spec, StateFilter) and spec.hides_deleted for spec in shown.filter_specs):
            state = {"state": ConversationState.DELETED.value, BEFORE: shown.before}
            deleted = of_workspace.filter(deleted_at__isnull=False).order_by("-remote_id")
            found, _many = self._search(request, asked, deleted.filter(indexed_state=ConversationState.DELETED))
            days = [name for spec in shown.day_filters for name in spec.parameters]
            former = changes_url(request, self.admin_site, shown.workspace, q=asked)
            return {"deleted_url": shown.get_query_string(state, days) if found.exists() else "", "former_url": former}
        return {"is_empty": not (asked or of_workspace.exists())}

    @method_decorator(require_POST)
    def fetch_view(self, request: HttpRequest) -> HttpResponse:
        """Mirror a conversation by its Orq id, and show it."""
        wanted = {name: request.POST.get(name, "") for name in ("remote_id", "workspace")}
        if not (self.has_add_permission(request) and self.may_use(request, wanted["workspace"])):
            raise PermissionDenied
        try:
            row = fetch_conversation(**wanted, interactive=True)
        except (OrqError, ImproperlyConfigured, ValueError) as error:
            self.message_user(request, explain_refusal(error), messages.ERROR)
            return HttpResponseRedirect(self._url_to("changelist"))
        return HttpResponseRedirect(self._url_to("change", row.pk))

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        is_history = _view(request).endswith("_history")
        if is_history and request.resolver_match and page_of(request, self.admin_site, ConversationChange):
            pk = unquote(request.resolver_match.kwargs["object_id"])
            entries = history(queryset, pk, ours={"", "[]", *map(json.dumps, LOGGED.values())})
            return Paginator(entries, *args, **kwargs)
        if _view(request) == "autocomplete":
            return NamesakePaginator(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return (obj is None or obj.deleted_at is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return (obj is None or obj.deleted_at is None) and super().has_delete_permission(request, obj)

    def own_fieldsets(self, request: HttpRequest, obj: Conversation | None) -> list[Any]:
        if obj is None:
            asked = ["workspace"] if asks_workspace(self.get_workspaces(request), request.POST) else []
            return [(None, {"fields": (*asked, "display_name")})]
        people: Any = {"remote_created_at": True, "creator": obj.created_by_id, "remote_updated_at": True}
        people |= {"updater": obj.updated_by_id, "shown_metadata": obj.metadata, "shown_extra": obj.extra}
        details = (*if_several("workspace"), "remote_id", *(name for name, content in people.items() if content))
        marks = (name for name in _MARKS if getattr(obj, name) is not None)
        return [
            (None, {"fields": ("display_name", "explained_state")}),
            (_("Details"), {"fields": details}),
            (_("Sync"), {"fields": ("mirrored_at", *marks)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Conversation | None = None) -> tuple[str, ...]:
        form = CreateForm if obj is None else RenameForm
        may = obj is None or self.has_change_permission(request, obj)
        editable = form.base_fields.keys() - {*self.readonly_fields} if may else ()
        return tuple(name for name in flatten_fieldsets(self.get_fieldsets(request, obj)) if name not in editable)

    @admin.display(description=_("name"))
    def name(self, conversation: Conversation) -> str:
        if conversation.is_scrubbed:
            return str(conversation)
        if is_blank(conversation.display_name):
            return gettext("(no name)")  # a link needs a text
        return format_html("<bdi>{}</bdi>", conversation.display_name)

    @admin.display(description=_("created"), ordering="remote_id")
    def created(self, conversation: Conversation) -> Any:
        return ago(conversation.remote_created_at, now=now())

    @admin.display(description=_("updated"), ordering="remote_updated_at")
    def updated(self, conversation: Conversation) -> Any:
        return ago(conversation.remote_updated_at, now=now())

    @admin.display(description=_("state"), empty_value="")
    def shown_state(self, conversation: Conversation) -> Any:
        return None if conversation.state == ConversationState.LIVE else conversation.state.label

    @admin.display(description=_("state"))
    def explained_state(self, conversation: Conversation) -> str:
        return explained(conversation.state.label, OF_CONVERSATIONS[conversation.state])

    @admin.display(description=_("created by"))
    def creator(self, conversation: Any) -> str:
        return person(conversation.created_by_id, getattr(conversation, "people", {}))

    @admin.display(description=_("updated by"))
    def updater(self, conversation: Any) -> str:
        return person(conversation.updated_by_id, getattr(conversation, "people", {}))

    @admin.display(description=_("metadata"))
    def shown_metadata(self, conversation: Conversation) -> str:
        return _pretty_json(conversation.metadata)

    @admin.display(description=_("other fields"))
    def shown_extra(self, conversation: Conversation) -> str:
        return _pretty_json(conversation.extra)


def _view(request: HttpRequest) -> str:
    """The name of the requested URL."""
    return (request.resolver_match.url_name if request.resolver_match else None) or ""


def _pretty_json(content: Any) -> str:
    """Indented JSON as markup; a dash if it is empty."""
    if not content:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(content, indent=2, ensure_ascii=False))

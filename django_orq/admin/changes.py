"""The record of changes in the admin: the list of all, and the timeline of a conversation."""

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, ConversationChange, searching
from ..store.history import all_changes
from .base import ReadOnlyAdmin, if_several, page_of
from .filters import DaysFilter
from .lists import CUT, MAX_LISTED, BoundedPaginator, ChangesList, ExportingAdmin, found_by_id
from .texts import name_all, told_change

MAX_PEOPLE = 30
NEWEST = 1_000
"""The people who made so many of the newest changes, or requested so many operations, are offered in the filter."""
TIMELINE = 10


class PersonFilter(admin.SimpleListFilter):
    title = _("person")
    parameter_name = "actor"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        (self._workspace,) = params["workspace"]
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = model_admin.get_queryset(request).filter(workspace=self._workspace).order_by("-recorded_at", "-pk")
        found: dict[str, Any] = {change.actor_id: change for change in [*newest[:NEWEST]][::-1] if change.actor_id}
        self.offered = sorted(found.values(), key=attrgetter("pk"), reverse=True)[:MAX_PEOPLE]
        return [(change.actor_id, lazy(getattr, str)(change, "who")) for change in self.offered]

    def has_output(self) -> bool:
        return bool(self.lookup_choices or self.value())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(actor_id=self.value()) if self.value() else queryset


class RecordedFilter(DaysFilter):
    title = _("day")
    parameters = ("since", "until")
    column = "recorded_at"


@admin.register(ConversationChange)
class ConversationChangeAdmin(ExportingAdmin, ReadOnlyAdmin):
    """Who changed which conversation, and when."""

    ordering = ("-recorded_at", "-id")
    sortable_by = ()
    paginator = BoundedPaginator
    list_select_related = ("conversation",)
    list_display = ("recorded_at", "told", "origin", "row")
    list_filter = (RecordedFilter, PersonFilter, "origin", "kind")
    search_fields = ("old_name", "new_name")
    actions = None
    own_list = ChangesList
    own_views: ClassVar[Any] = {"csv": ""}
    search_help_text = _("Words from the old or new name, or the beginning of an Orq id (conv_…).")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()[: searching.MAX_TERM]
        if searching.is_id(term):
            return queryset.filter(conversation__in=found_by_id(term, queryset.db)), False
        oldest = list(queryset.values_list("recorded_at", flat=True)[MAX_LISTED : MAX_LISTED + 1]) if term else []
        if oldest:
            setattr(request, CUT, (MAX_LISTED, oldest[0], None))
            queryset = queryset.filter(recorded_at__gte=oldest[0])
        return super().get_search_results(request, queryset, term)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"export_url": self._url_to("csv") if self.has_csv_permission(request) else ""}
        response = self._framed(super().changelist_view(request, context | (extra_context or {})), "list")
        if changes := (getattr(response, "context_data", None) or {}).get("cl"):
            changes.result_list = list(changes.result_list)
            page = page_of(request, self.admin_site, Conversation)
            for change in changes.result_list:
                change.url = page and reverse(page, args=[change.conversation_id], current_app=self.admin_site.name)
            filters = [spec for spec in changes.filter_specs if isinstance(spec, PersonFilter)]
            offered = chain.from_iterable(spec.offered for spec in filters)
            name_all(changes.workspace, [*changes.result_list, *offered])
        return response

    def own_fieldsets(self, request: HttpRequest, obj: Any) -> list[Any]:
        about = ("told", *if_several("workspace"), "conversation", "kind", "old_name", "new_name", "fields")
        return [(None, {"fields": (*about, "origin", "recorded_at", "remote_updated_at", "run", "operation")})]

    @admin.display(description=_("conversation"))
    def row(self, change: Any) -> str:
        name = format_html("<bdi>{}</bdi>", change.conversation)
        url = getattr(change, "url", "")
        return format_html('<a href="{}">{}</a>', url, name) if url else name

    @admin.display(description=_("change"))
    def told(self, change: ConversationChange) -> str:
        if not hasattr(change, "who"):
            name_all(change.workspace, [change])
        return told_change(change)


def timeline(request: HttpRequest, site: admin.AdminSite, row: Any) -> dict[str, Any]:
    """What a conversation's page shows of its changes; also sets ``people`` of the row to the names of people."""
    page, newest = page_of(request, site, ConversationChange, "changelist"), []
    if page:
        newest = list(all_changes().filter(conversation=row).order_by("-recorded_at", "-pk")[: TIMELINE + 1])
    row.people = name_all(row.workspace, newest, row.created_by_id, row.updated_by_id)
    told = [(change, told_change(change)) for change in newest[:TIMELINE]]
    more = {"changes_page": page, "has_more_changes": len(newest) > TIMELINE, "plain_name": row.display_name}
    return {"changes": told, **more}


def history(log_entries: QuerySet[Any], row: Any, *, ours: Iterable[str]) -> list[Any]:
    """Our record as log entries of the admin, with others than ``ours``, the oldest first."""
    newest: list[Any] = list(all_changes().filter(conversation=row).order_by("-recorded_at", "-pk")[:NEWEST])
    name_all(newest[0].workspace if newest else "", newest)
    others = log_entries.exclude(change_message__in=ours)
    return sorted([*map(_log_entry, newest), *others], key=attrgetter("action_time"))


def _log_entry(change: Any) -> LogEntry:
    user: Any = get_user_model()()
    user.get_username, user.get_full_name = change.who.__str__, str  # a project's methods may need a saved user
    entry = LogEntry(action_time=change.recorded_at, action_flag=CHANGE, change_message=told_change(change))
    entry.user = user
    return entry


def changes_url(request: HttpRequest, site: admin.AdminSite, workspace: str, **filters: Any) -> str:
    """The URL of the list of changes with these filters, if the user may see it; otherwise empty."""
    page = page_of(request, site, ConversationChange, "changelist")
    query = urlencode({"workspace": workspace, **filters}, doseq=True)
    return page and f"{reverse(page, current_app=site.name)}?{query}"

"""The change lists: filters, search and pagination that read a limited number of rows, however large the table is."""

from copy import copy
from functools import cached_property
from itertools import chain
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.utils.timezone import localdate
from django.utils.translation import gettext, gettext_lazy as _

from ..conf import DEFAULT_ALIAS
from ..models import Conversation, searching
from ..payloads import created_at, is_remote_id
from ..sync.export import export
from ..sync.health import standing
from ..text import number
from .base import OrqAdmin, known_aliases
from .filters import DaysFilter, StateFilter, UpdatedFilter
from .plot import plotted
from .texts import ago, isolated, local

MAX_LISTED = 10_000
"""The maximum number of rows that are counted and paginated."""
_MAX_FOUND = 1_000
"""How many conversations with the same beginning of an id are found by it in the lists of changes and operations."""
CUT = "django_orq_search_cut"
"""The attribute of a request: how many rows its search covered, if not all, back to when, and how to go on."""
BEFORE = "before"
"""The query parameter that lets a search begin with the conversations that are older than this id."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg] # generic only in the stubs
    """Counts at most ``MAX_LISTED`` rows, so that a list costs the same whatever the size of its table.

    The rows of a page are fetched by their keys: the last column of the ordering is unique. The keys alone can be read
    from an index; databases may not use it if they also have to fetch the rows before the page.
    """

    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        return self._keys[: MAX_LISTED + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self._counted, MAX_LISTED)

    @property
    def has_more(self) -> bool:
        """Whether there are rows beyond the last page."""
        return self._counted > MAX_LISTED

    def page(self, number: int | str) -> "Page[Any]":
        number = self.validate_number(number)
        bottom = (number - 1) * self.per_page
        return Page(self.rows(bottom, min(bottom + self.per_page, self.count)), number, self)

    def rows(self, bottom: int, top: int) -> QuerySet[Any]:
        return self.object_list.filter(**{f"{self._key}__in": list(self._keys[bottom:top])})

    @property
    def _key(self) -> str:
        return str(self.object_list.query.order_by[-1]).removeprefix("-")

    @property
    def _keys(self) -> QuerySet[Any]:
        return self.object_list.values_list(self._key, flat=True)


class NamesakePaginator(BoundedPaginator):
    """For autocompletion, whose choices are texts only: names with the time of creation and the end of the id."""

    def rows(self, bottom: int, top: int) -> Any:
        rows = list(super().rows(bottom, top))
        for row in rows:
            row.told = f"{isolated(str(row))} ({local(row.remote_created_at)}, …{row.remote_id[-4:]})"
        return rows


class ExportingAdmin(OrqAdmin):
    """Exports its list as CSV."""

    def has_csv_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("django_orq.export_conversation")

    @admin.action(permissions=["csv"], description=_("Export selected %(verbose_name_plural)s as CSV"))
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return self._csv(request, queryset, gettext("selected rows"))

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """Export the list with the filters of the query string."""
        if not (self.has_csv_permission(request) and self.has_view_permission(request)):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{self._url_to('changelist')}?e=1")  # as the stock list does
        return self._csv(request, rows, request.GET.urlencode())

    def _csv(self, request: HttpRequest, rows: QuerySet[Any], query: str) -> HttpResponseBase:
        lines = export(rows, user=request.user.get_username(), query=query)
        name = f"{self.opts.verbose_name_plural}-exported-{localdate()}.csv"
        headers = {"Content-Disposition": content_disposition_header(as_attachment=True, filename=name)}
        return StreamingHttpResponse(chain(["\ufeff"], lines), content_type="text/csv; charset=utf-8", headers=headers)


class NewestList(ChangeList):
    """The newest rows, as many as ``newest`` returns, because no index serves the filters."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        self.root_queryset = newest(self.root_queryset)
        return super().get_queryset(request, exclude_parameters)


class WorkspaceList(ChangeList):
    """The rows of one workspace, because there are no indexes for the rows of all."""

    paginator: BoundedPaginator
    cut_text: Any
    """Says that a search read only ``count`` rows, back to ``since``."""
    search_on = ""
    """The query string that continues the search."""
    before: str | None = None
    """The id below which the search begins. Only links to other pages and orders of its result keep it."""

    def get_filters(self, request: HttpRequest) -> Any:
        configured = known_aliases() and self.model_admin.get_workspaces(request)  # type: ignore[attr-defined] # of OrqAdmin
        self.workspaces = list(dict.fromkeys([*configured, *searching.workspaces(self.root_queryset)]))
        self.before, _list = self.params.pop(BEFORE, None), self.filter_params.pop(BEFORE, None)
        return super().get_filters(request)

    @cached_property
    def workspace(self) -> str:
        """The alias in the query string; without a valid one, ``default``, or else the first one."""
        choices = (self.params.get("workspace", ""), DEFAULT_ALIAS, *self.workspaces)
        return next((one for one in choices if one in self.workspaces), "" if known_aliases() else DEFAULT_ALIAS)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return super().get_filters_params(params) | {"workspace": [self.workspace]}

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        if {*(new_params or ()), *(remove or ())} <= {PAGE_VAR, ALL_VAR, ORDER_VAR}:
            new_params = {BEFORE: self.before, **(new_params or {})}
        return super().get_query_string(new_params, remove)

    @property
    def day_filters(self) -> list[DaysFilter]:
        return [spec for spec in self.filter_specs if isinstance(spec, DaysFilter)]

    @property
    def has_days(self) -> bool:
        return any(any(spec.days) for spec in self.day_filters)

    @property
    def other_parameters(self) -> list[tuple[str, str]]:
        """What the form for days has to keep."""
        days = {name for spec in self.day_filters for name in spec.parameters}
        given = self.filter_params.items()
        return [(name, value) for name, values in given if name not in days for value in values]

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if cut := getattr(request, CUT, None):
            count, since, before = cut
            self.search_help_text = str(self.cut_text) % {"count": number(count), "since": local(since)}
            self.search_on = self.get_query_string({BEFORE: before}) if before else ""
        return queryset

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.multi_page or (self.show_all and self.can_show_all):
            self.result_list = self.paginator.rows(0, self.paginator.count)
        if self.paginator.has_more:  # then no total is shown, and "select all" is not offered
            self.result_count = self.full_result_count = len(self.result_list)

    @property
    def of_all_pages(self) -> "WorkspaceList":
        """A copy for the template of the pagination, which shows the total number of rows on all pages."""
        shown = copy(self)
        shown.result_count = self.paginator.count
        return shown


class ChangesList(WorkspaceList):
    cut_text = _("%(count)s changes were searched, back to %(since)s. To find an older one, filter by day.")


class ConversationList(WorkspaceList):
    """The conversations of one workspace in the order of creation, for which there are indexes.

    In another order, which a project may offer, the database sorts all of them if there is no matching index.
    """

    cut_text = _("%(count)s conversations were searched for this name, back to those created on %(since)s.")

    @property
    def plot(self) -> dict[str, Any] | None:
        """The conversations of the workspace that were created on each of the last days, whatever the filters."""
        return plotted(self.root_queryset, self.workspace)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        first, *_others = asked = super().get_ordering(request, queryset)
        if any(isinstance(spec, UpdatedFilter) and any(spec.days) for spec in self.filter_specs):
            first = first if str(first).endswith("remote_updated_at") else "-remote_updated_at"  # as its index
        columns = map(self.get_ordering_field, self.model_admin.get_sortable_by(request))
        offered = {*columns, *self.model_admin.get_ordering(request)}
        own = {sign + name for sign in ("", "-") for name in ("remote_id", "remote_updated_at")}
        if {first, str(first).removeprefix("-")} & offered - own:  # an ordering of the project
            return [*asked, "pk"]
        # PostgreSQL does not know that all rows have NULL here, so the ordering begins as the index does.
        hides_deleted = any(isinstance(spec, StateFilter) and spec.hides_deleted for spec in self.filter_specs)
        pinned = ("deleted_at",) if hides_deleted else ()
        is_asked = str(first).endswith("remote_updated_at")
        is_served = is_asked and hides_deleted and "updated" in (self.sortable_by or ())
        by_update = ("remote_updated_at", "pk") if is_served else ("remote_id",)
        sign = "-" if str(first).startswith("-") or first not in by_update else ""
        return [sign + name for name in (*pinned, *by_update)]


def sync_panel(workspace: str, *, is_operator: bool) -> dict[str, Any]:
    """The judgement on the workspace's sync and the times of its last runs, for the panel above a list."""
    judged = standing(workspace, is_operator=is_operator, format_time=local)
    last, never = judged.last, gettext("not synced yet")
    told: dict[str, Any] = {name: ago(at, now=judged.now) if at else never for name, at in vars(judged.fresh).items()}
    told["ended"] = ago(last.finished_at, now=judged.now) if last and last.finished_at else ""
    return {"standing": judged, "last": last, "under_way": judged.under_way, **told}


def newest(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those of the rows that are among the newest ``MAX_SEARCHED`` of their table."""
    keys = rows.model._default_manager.using(rows.db).order_by("-pk").values_list("pk", flat=True)
    older = list(keys[searching.MAX_SEARCHED : searching.MAX_SEARCHED + 1])
    return rows.filter(pk__gt=older[0]) if older else rows


def found_by_id(term: str, database: str) -> list[int]:
    """The keys of the newest conversations whose Orq id begins with the term."""
    rows = Conversation.objects.using(database)
    rows = rows.filter(workspace__in=[*searching.workspaces(rows)])  # the index begins with it
    return [*searching.by_id(rows, term).values_list("pk", flat=True)[:_MAX_FOUND]]


def kept(admin_class: Any, request: HttpRequest, url: str) -> str:
    """The URL with the filters of the list that the user came from, so that “Close” leads back to that list."""
    filters = {"opts": admin_class.opts, "preserved_filters": admin_class.get_preserved_filters(request)}
    return str(add_preserved_filters(filters, url))


def searched(request: HttpRequest, conversations: QuerySet[Conversation], term: str, *, shares: int) -> QuerySet[Any]:
    """The newest conversations of one workspace, as many as a search covers; the list says if there are more."""
    if is_remote_id(before := request.GET.get(BEFORE)):
        conversations = conversations.filter(remote_id__lt=before)
    is_pinned = any(str(name).endswith("deleted_at") for name in conversations.query.order_by)
    newest_first = conversations.order_by(*["-deleted_at"][:is_pinned], "-remote_id")  # in the order of an index
    if (oldest := searching.oldest_searched(newest_first, term, shares=shares)) is None:
        return conversations
    setattr(request, CUT, (searching.MAX_SEARCHED, created_at(oldest), oldest))
    return conversations.filter(remote_id__gte=oldest)

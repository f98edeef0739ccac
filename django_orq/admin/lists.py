"""The change lists: filters, search and pagination that read a limited number of rows, however large the table is."""

from collections.abc import Callable, Iterator
from copy import copy
from datetime import timedelta
from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy as _

from ..conf import DEFAULT_ALIAS
from ..models import Conversation, ConversationState, searching
from ..payloads import first_id
from ..store.database import DatabaseClock, write_database
from ..sync import runs
from ..text import number
from .base import known_aliases
from .texts import ago

MAX_LISTED = 10_000
"""The maximum number of rows that are counted and paginated."""
MAX_OFFERED = 200
"""How many conversations of each workspace a field with autocompletion offers, newest first."""
CUT = "django_orq_search_cut"
"""The attribute of a request with the number of rows that its search covered, if it did not cover all."""


class KnownChoiceFilter(admin.SimpleListFilter):
    """Ignores a value in the query string that is not one of the choices."""

    offered: tuple[tuple[str, Any], ...] = ()
    """The choices with their labels."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*self.offered]

    def value(self) -> str | None:
        value = super().value()
        return value if value in [choice for choice, _label in self.lookup_choices] else None


class StateFilter(KnownChoiceFilter):
    """Filters by state; by default, deleted conversations are not listed."""

    title = _("state")
    parameter_name = "state"
    offered = (
        (ConversationState.LIVE, _("Live: exist in Orq")),
        (ConversationState.UNLISTED, _("Unlisted: exist in Orq, but its list omits them")),
        (ConversationState.MISSING, _("Missing: not found when last looked for")),
        (ConversationState.DELETED, _("Deleted: no longer exist in Orq")),
        ("any", _("All, including deleted")),
    )

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        stock, *others = super().choices(changelist)
        yield {**stock, "display": _("All except deleted")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        return searching.in_state(queryset, self.value())


class WorkspaceFilter(KnownChoiceFilter):
    """Offers the configured workspaces; to find those that have rows, the whole table would have to be read."""

    title = _("workspace")
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in known_aliases()]

    def has_output(self) -> bool:
        """Return ``False`` if there is only one choice, unless it is selected."""
        return len(self.lookup_choices) > 1 or self.value() is not None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(workspace=self.value()) if self.value() else queryset


class CreatedFilter(KnownChoiceFilter):
    """Filters by days since creation (in the current time zone), by means of a range of ids.

    Ids sort by creation time.
    """

    title = _("created")
    parameter_name = "created"
    offered = (("0", _("Today")), ("7", _("Past 7 days")), ("30", _("Past 30 days")), ("365", _("Past year")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        if (value := self.value()) is None:
            return queryset
        today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        return queryset.filter(remote_id__gte=first_id(today - timedelta(days=int(value))))


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


class WorkspaceList(ChangeList):
    """The rows of one workspace, because there are no indexes for the rows of all."""

    paginator: BoundedPaginator
    cut_text: Any
    """Says that a search read only the newest ``count`` rows."""

    @cached_property
    def workspaces(self) -> list[str]:
        """The aliases to choose from: those in the settings, and others that have rows."""
        return list(dict.fromkeys([*known_aliases(), *searching.workspaces(self.root_queryset)]))

    @cached_property
    def workspace(self) -> str:
        """The alias in the query string; without a valid one, ``default``, or else the first one."""
        choices = (self.params.get("workspace", ""), DEFAULT_ALIAS, *self.workspaces)
        return next((alias for alias in choices if alias in self.workspaces), DEFAULT_ALIAS)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return super().get_filters_params(params) | {"workspace": [self.workspace]}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if count := getattr(request, CUT, 0):
            self.search_help_text = str(self.cut_text) % {"count": number(count)}
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
    cut_text = _(
        "Only the newest %(count)s changes were searched for this name. To find an older one, filter by day, or "
        "search for the beginning of an Orq id."
    )


class ConversationList(WorkspaceList):
    """The conversations of one workspace in the order of creation, for which there are indexes.

    In another order, which a project may offer, the database sorts all of them if there is no matching index.
    """

    cut_text = _(
        "Only the newest %(count)s conversations were searched for this name. To find an older one, search for the "
        "beginning of its Orq id, or filter by the state that it has."
    )

    @cached_property
    def freshness(self) -> dict[str, Any]:
        """The times of the workspace's last syncs, for the panel above the list."""
        now = DatabaseClock(write_database()).now()
        fresh, last = runs.freshness(self.workspace), runs.newest_finished(self.workspace)
        never = gettext("not synced yet")
        told: dict[str, Any] = {name: ago(at, now=now) if at else never for name, at in vars(fresh).items()}
        told["ended"] = ago(last.finished_at, now=now) if last and last.finished_at else ""
        told["can_sync"] = self.workspace in (known_aliases() or [DEFAULT_ALIAS])
        return {"last": last, "under_way": runs.under_way(self.workspace), **told}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        first, *_others = asked = super().get_ordering(request, queryset)
        columns = map(self.get_ordering_field, self.model_admin.get_sortable_by(request))
        offered = {*columns, *self.model_admin.get_ordering(request)}
        if {first, str(first).removeprefix("-")} & offered - {"remote_id", "-remote_id"}:  # an ordering of the project
            return [*asked, "pk"]
        sign = "" if first == "remote_id" else "-"
        # PostgreSQL does not know that all rows have NULL here, so the ordering begins as the index does.
        hides_deleted = any(isinstance(spec, StateFilter) and spec.value() is None for spec in self.filter_specs)
        pinned = ("deleted_at",) if hides_deleted else ()
        return [sign + name for name in (*pinned, "remote_id")]


def own_list(own: type[ChangeList], get_changelist: Callable[..., type[ChangeList]], request: Any) -> type[ChangeList]:
    """Our change list, based on the stock one or the theme's."""
    return type(own.__name__, (own, get_changelist(request)), {})


def searched(request: HttpRequest, conversations: QuerySet[Conversation], *, shares: int) -> QuerySet[Conversation]:
    """The newest conversations of one workspace, as many as a search covers; the list says if there are more."""
    names = [str(name).removeprefix("-") for name in conversations.query.order_by]
    # If the project has another ordering, the newest have to be found without it.
    newest_first = names if "remote_id" in names else ["remote_id"]
    in_order = conversations.order_by(*(f"-{name}" for name in newest_first))
    oldest = searching.oldest_searched(in_order, shares=shares)
    if oldest is None:
        return conversations
    setattr(request, CUT, searching.MAX_SEARCHED)
    return conversations.filter(remote_id__gte=oldest)

"""The change lists: filters, searches and pages that read no more of a table than they show."""

from collections.abc import Iterator
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
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..models import Conversation, ConversationState, searching
from ..payloads import first_id
from ..text import number
from .base import known_aliases

MAX_LISTED = 10_000
"""How many rows are counted, and offered in pages, at most."""
_CUT = "django_orq_search_cut"


class KnownChoiceFilter(admin.SimpleListFilter):
    """Takes a value of the query string that is none of the choices for no choice at all."""

    offered: tuple[tuple[str, Any], ...] = ()
    """The choices, each with its label."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*self.offered]

    def value(self) -> str | None:
        value = super().value()
        return value if value in [choice for choice, _label in self.lookup_choices] else None


class StateFilter(KnownChoiceFilter):
    """Which states are listed; deleted conversations only if they are asked for."""

    title = _("state")
    parameter_name = "state"
    offered = (
        (ConversationState.LIVE, _("Live: Orq has them")),
        (ConversationState.UNLISTED, _("Unlisted: exist in Orq, but its list omits them")),
        (ConversationState.MISSING, _("Missing: not found at the last sync")),
        (ConversationState.DELETED, _("Deleted: gone from Orq")),
        ("any", _("All, deleted ones too")),
    )

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        stock, *others = super().choices(changelist)
        yield {**stock, "display": _("All but deleted ones")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        return searching.in_state(queryset, self.value())


class WorkspaceFilter(KnownChoiceFilter):
    """One of the configured workspaces: to offer those that occur in the table, all of it would have to be read."""

    title = _("workspace")
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(alias, alias) for alias in known_aliases()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(workspace=self.value()) if self.value() else queryset


def chosen_workspace(request: HttpRequest) -> str:
    """The alias by which a list is filtered; empty if it is not."""
    alias = request.GET.get("workspace", "")
    return alias if alias in known_aliases() else ""


class CreatedFilter(KnownChoiceFilter):
    """How many days ago, in the reader's time zone. Ids sort by creation, so each choice is a range of ids."""

    title = _("created")
    parameter_name = "created"
    offered = (("0", _("Today")), ("7", _("Past 7 days")), ("30", _("Past 30 days")), ("365", _("Past year")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
        if (value := self.value()) is None:
            return queryset
        today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        return queryset.filter(remote_id__gte=first_id(today - timedelta(days=int(value))))


class BoundedPaginator(Paginator):  # type: ignore[type-arg] # generic in the stubs alone
    """Counts no further than it has to, so that a list costs the same whatever the size of its table.

    The rows of a page are fetched by their keys, which are the last column of the order. These are read off the index
    that has them in order; a database may decide against it if it has to fetch the rows before the page as well.
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
        """Whether there are rows that no page offers."""
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


class ConversationList(ChangeList):
    """Conversations in the order of creation, as an index has them: any other order would sort the whole table."""

    paginator: BoundedPaginator

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        sign = "" if "remote_id" in super().get_ordering(request, queryset) else "-"
        # PostgreSQL doesn't see that NULL is the same in all rows, so the order names what the index begins with.
        pinned = ("deleted_at",) if self._choice(StateFilter) is None else ()
        unique = ("remote_id",) if self._choice(WorkspaceFilter) else ("remote_id", "pk")
        return [sign + name for name in (*pinned, *unique)]

    def _choice(self, filter_class: type[KnownChoiceFilter]) -> str | None:
        return next((spec.value() for spec in self.filter_specs if isinstance(spec, filter_class)), None)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if getattr(request, _CUT, False):
            self.search_help_text = gettext(
                "Only the newest %(count)s conversations were searched for this name, and there are more. "
                "Filter by state or time of creation to search among fewer, or search for the beginning of an Orq id."
            ) % {"count": number(searching.MAX_SEARCHED)}
        return queryset

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.multi_page or (self.show_all and self.can_show_all):
            self.result_list = self.paginator.rows(0, self.paginator.count)
        if self.paginator.has_more:  # no number is shown then, nor are all of them offered to be selected at once
            self.result_count = self.full_result_count = len(self.result_list)

    @property
    def of_all_pages(self) -> "ConversationList":
        """The same, for the template below the list: the number there is that of all pages."""
        shown = copy(self)
        shown.result_count = self.paginator.count
        return shown


def searched(request: HttpRequest, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """The newest, as many as a search may look through; the list says where there are more."""
    newest_first = ["-" + str(name).removeprefix("-") for name in conversations.query.order_by]
    oldest = searching.oldest_searched(conversations.order_by(*newest_first))
    if oldest is None:
        return conversations
    setattr(request, _CUT, True)
    return conversations.filter(remote_id__gte=oldest)

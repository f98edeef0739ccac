"""The change lists: what they make of a query string, and how much of the table they read."""

from copy import copy
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext

from ..models import searching
from ..text import number
from .filters import StateFilter, WorkspaceFilter
from .pagination import BoundedPaginator
from .searching import is_search_cut


class CarefulChangeList(ChangeList):
    """Answers a query string without sense as the stock list answers most of them: with the plain list."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        if any("\0" in text for name, values in request.GET.lists() for text in (name, *values)):
            raise IncorrectLookupParameters
        try:
            super().__init__(request, *args, **kwargs)
        except (DataError, OverflowError, ValueError) as error:  # values that the database can't compare with
            if not request.GET:
                raise
            raise IncorrectLookupParameters from error


class ConversationList(CarefulChangeList):
    """Conversations in the order of creation, as an index has them: any other order would sort the whole table."""

    paginator: BoundedPaginator

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        sign = "" if "remote_id" in super().get_ordering(request, queryset) else "-"
        # PostgreSQL doesn't see that NULL is the same in all rows, so the order names what the index begins with.
        pinned = ("deleted_at",) if self._choice(StateFilter) is None else ()
        unique = ("remote_id",) if self._choice(WorkspaceFilter) else ("remote_id", "pk")
        return [sign + name for name in (*pinned, *unique)]

    def _choice(self, filter_class: type[SimpleListFilter]) -> str | None:
        return next((spec.value() for spec in self.filter_specs if isinstance(spec, filter_class)), None)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if is_search_cut(request):
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

"""Pages of a list that may be long."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

MAX_LISTED = 10_000
"""How many rows are counted, and offered in pages, at most."""


class BoundedPaginator(_Paginator):
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

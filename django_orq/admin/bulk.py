"""What the actions on selected conversations share: on one in the request, on several as an operation for workers."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.translation import gettext, ngettext

from ..mirror.orders import MOST_ITEMS, Order, place
from ..models import Conversation, Operation
from ..text import number
from .base import url_to
from .handing_over import hand_over
from .remote_first import RemoteFirstAdmin
from .users import orderer

Permission = Callable[[HttpRequest, Conversation], bool]


class BulkAdmin(RemoteFirstAdmin):
    """An action that asks first shows a page, the form of which is sent to a view of its own."""

    def _check_posted(self, request: HttpRequest, *, permitted: bool) -> HttpResponse | None:
        """The refusal, if it is none of ours to do."""
        if not permitted:
            raise PermissionDenied
        return None if request.method == "POST" else HttpResponseNotAllowed(["POST"])

    def _selected(
        self, request: HttpRequest, queryset: QuerySet[Conversation], *, most: int = MOST_ITEMS
    ) -> list[Conversation]:
        """All of them, none if they are more than ``most``."""
        selected = list(queryset[: most + 1])
        if len(selected) > most:
            self._say_too_many(request, most)
            return []
        return selected

    def _say_too_many(self, request: HttpRequest, most: int) -> None:
        message = gettext("At most %(count)s conversations can be chosen at once. Nothing was done.")
        self.message_user(request, message % {"count": number(most)}, messages.ERROR)

    def _permitted(self, request: HttpRequest, rows: Sequence[Conversation], may: Permission) -> list[Conversation]:
        """Those with which this person may do it; of the others it is said."""
        refused = [row for row in rows if not may(request, row)]
        if refused:
            message = gettext("You may not do this with %(names)s.")
            self._say_of(request, refused, message, messages.ERROR)
        return [row for row in rows if row not in refused]

    def _alive(self, request: HttpRequest, selected: Sequence[Conversation]) -> list[Conversation]:
        """Those that are not deleted; of the others it is said."""
        deleted = [row for row in selected if row.deleted_at is not None]
        if deleted:
            self._say_gone(request, deleted)
        return [row for row in selected if row.deleted_at is None]

    def _tombstones(self, request: HttpRequest, selected: Sequence[Conversation]) -> list[Conversation]:
        """Those that are deleted; of the others it is said."""
        alive = [row for row in selected if row.deleted_at is None]
        if alive:
            message = ngettext(
                "%(names)s is not deleted, so it was left alone.",
                "%(names)s are not deleted, so they were left alone.",
                len(alive),
            )
            self._say_of(request, alive, message, messages.WARNING)
        return [row for row in selected if row.deleted_at is not None]

    def _find_all(self, request: HttpRequest, keys: Sequence[int]) -> list[Conversation]:
        """Of those with these primary keys, the ones that this person may see, in the list's order."""
        wanted = set(keys)
        if len(wanted) > MOST_ITEMS:
            self._say_too_many(request, MOST_ITEMS)
            return []
        return list(self.get_queryset(request).filter(pk__in=wanted).order_by(*self.get_ordering(request)))

    def _order(
        self, request: HttpRequest, verb: str, orders: Sequence[Order], form_token: str | None = None
    ) -> HttpResponse:
        """Record it, have workers told, and lead to the page that shows how it goes."""
        operation, is_new = place(verb, orders, by=orderer(request), form_token=form_token)
        if is_new:
            self.message_user(request, *hand_over(operation))
        else:
            message = gettext("This form was sent before, so nothing was ordered now. Here is what it ordered.")
            self.message_user(request, message, messages.INFO)
        if not self.admin_site.is_registered(Operation):
            return self._back(request)
        return HttpResponseRedirect(url_to(self.admin_site, Operation, "change", operation.pk))

    def _back(self, request: HttpRequest) -> HttpResponse:
        """To the list, with the filters that it had."""
        filters: Any = {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts}
        return HttpResponseRedirect(add_preserved_filters(filters, self._url_to("changelist")))

    def _ask(self, request: HttpRequest, name: str, title: str, **context: Any) -> HttpResponse:
        """The page whose form is sent to the view ``name``."""
        url, filters = self._url_to(name), self.get_preserved_filters(request)
        return self._render(request, name, title, form_url=f"{url}?{filters}" if filters else url, **context)

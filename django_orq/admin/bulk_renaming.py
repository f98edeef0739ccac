"""The action that renames: a page with one field for each selected conversation."""

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..mirror.orders import MOST_ITEMS, Order
from ..models import Conversation, Operation, OperationItem
from .bulk import BulkAdmin
from .bulk_forms import RenameSelectedForm, keys_to_rename
from .names import isolated
from .outcomes import conflict, row_follows

_OTHER_FIELDS = 20
"""Of a form, beside the names: Django takes only so many in all."""


class BulkRenamingAdmin(BulkAdmin):
    def own_urls(self) -> list[URLPattern]:
        return [self._own_url("rename_selected", self.rename_selected_view), *super().own_urls()]

    @admin.action(permissions=["change"], description=_("Rename selected %(verbose_name_plural)s"))
    def rename_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        selected = self._renamable(request, self._selected(request, queryset, most=_most_fields()))
        return self._ask_names(request, RenameSelectedForm(selected)) if selected else None

    def rename_selected_view(self, request: HttpRequest) -> HttpResponse:
        refusal = self._check_posted(request, permitted=self.has_change_permission(request))
        if refusal:
            return refusal
        rows = self._renamable(request, self._find_all(request, keys_to_rename(request.POST)))
        form = RenameSelectedForm(rows, request.POST)
        if not rows:
            return self._back(request)
        if not form.is_valid():
            return self._ask_names(request, form)
        return self._rename_all(request, form)

    def _renamable(self, request: HttpRequest, rows: list[Conversation]) -> list[Conversation]:
        return self._permitted(request, self._alive(request, rows), self.has_change_permission)

    def _rename_all(self, request: HttpRequest, form: RenameSelectedForm) -> HttpResponse:
        match form.orders:
            case []:
                self.message_user(request, gettext("No name was changed, so nothing was done."), messages.INFO)
            case [order]:
                if not self._rename_one(request, form, order):
                    return self._ask_names(request, form)
            case orders:
                return self._order(request, Operation.Verb.RENAME, orders, form.cleaned_data["form_token"])
        return self._back(request)

    def _rename_one(self, request: HttpRequest, form: RenameSelectedForm, order: Order) -> bool:
        rename = self._do_once(request, Operation.Verb.RENAME, order, form.cleaned_data["form_token"])
        if rename.state != OperationItem.State.DONE:
            form.renew()
            if change := conflict(rename):
                form.ask_again(order, change)
            return False
        if row_follows(rename):
            message = gettext("The conversation is now called “%(name)s”.")
            self.message_user(request, message % {"name": isolated(order.wanted)}, messages.SUCCESS)
        return True

    def _ask_names(self, request: HttpRequest, form: RenameSelectedForm) -> HttpResponse:
        return self._ask(request, "rename_selected", gettext("Rename conversations"), form=form)


def _most_fields() -> int:
    limit = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    return MOST_ITEMS if limit is None else min(MOST_ITEMS, max(1, limit - _OTHER_FIELDS))

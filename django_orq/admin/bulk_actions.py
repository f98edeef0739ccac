"""The actions that delete, refresh, and create again."""

from collections.abc import Callable

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..mirror.orders import Order, derive_token, ordered_for
from ..models import Conversation, Operation, OperationItem
from .bulk import BulkAdmin
from .bulk_forms import SelectionForm, digest_of_names
from .forms import posted_token
from .outcomes import row_follows
from .remote_first import is_tombstone

_Rows = list[Conversation]


class BulkActionsAdmin(BulkAdmin):
    def own_urls(self) -> list[URLPattern]:
        ours = (
            self._own_url("delete_selected", self.delete_selected_view),
            self._own_url("create_again", self.create_again_view),
        )
        return [*ours, *super().own_urls()]

    @admin.action(permissions=["delete"], description=_("Delete selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        """In the stock action's place, which would delete rows."""
        rows = self._deletable(request, self._selected(request, queryset))
        return self._confirm(request, "delete_selected", gettext("Delete conversations"), rows) if rows else None

    @admin.action(permissions=["add"], description=_("Create deleted %(verbose_name_plural)s again"))
    def create_again(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        rows = self._recreatable(request, self._selected(request, queryset))
        return self._confirm(request, "create_again", gettext("Create conversations again"), rows) if rows else None

    @admin.action(permissions=["change"], description=_("Refresh selected %(verbose_name_plural)s from Orq"))
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        alive = self._alive(request, self._selected(request, queryset))
        rows = self._permitted(request, alive, self.has_change_permission)
        form_token = _token_of_selection(request)
        if len(rows) > 1:
            return self._order(request, Operation.Verb.REFRESH, [Order(conversation=row) for row in rows], form_token)
        for row in rows:
            self._refresh(request, row, form_token)
        return None

    def delete_selected_view(self, request: HttpRequest) -> HttpResponse:
        refusal = self._check_posted(request, permitted=self.has_delete_permission(request))
        return refusal or self._act(request, Operation.Verb.DELETE, self._deletable, self._delete)

    def create_again_view(self, request: HttpRequest) -> HttpResponse:
        refusal = self._check_posted(request, permitted=self.has_add_permission(request))
        return refusal or self._act(request, Operation.Verb.CREATE, self._recreatable, self._create_again)

    def _deletable(self, request: HttpRequest, rows: _Rows) -> _Rows:
        return self._permitted(request, self._alive(request, rows), self.has_delete_permission)

    def _recreatable(self, request: HttpRequest, rows: _Rows) -> _Rows:
        """The tombstones of which the name is known; of the others it is said."""
        tombstones = self._tombstones(request, rows)
        scrubbed = [row for row in tombstones if row.is_scrubbed]
        if scrubbed:
            message = ngettext(
                "%(names)s can't be created again: its name is no longer kept here.",
                "%(names)s can't be created again: their names are no longer kept here.",
                len(scrubbed),
            )
            self._say_of(request, scrubbed, message, messages.ERROR)
        return [row for row in tombstones if not row.is_scrubbed]

    def _act(
        self,
        request: HttpRequest,
        verb: str,
        choose: Callable[[HttpRequest, _Rows], _Rows],
        act: Callable[[HttpRequest, Conversation, str], None],
    ) -> HttpResponse:
        form = SelectionForm(request.POST)
        if not form.is_valid():
            message = gettext("The page was incomplete, so nothing was done. Choose the conversations again.")
            self.message_user(request, message, messages.ERROR)
            return self._back(request)
        found, token = self._find_all(request, form.cleaned_data["selected"]), form.cleaned_data["form_token"]
        told_again = _deleted_by(token, found) if verb == Operation.Verb.DELETE else []
        rows = [*told_again, *choose(request, [row for row in found if row not in told_again])]
        if verb == Operation.Verb.DELETE and _have_changed(rows, form):
            message = gettext("Some of them have changed since you chose them. Look at them once more.")
            self.message_user(request, message, messages.WARNING)
            return self._confirm(request, "delete_selected", gettext("Delete conversations"), rows)
        if len(rows) > 1:
            return self._order(request, verb, [Order(conversation=row) for row in rows], token)
        for row in rows:
            act(request, row, token)
        return self._back(request)

    def _delete(self, request: HttpRequest, row: Conversation, token: str) -> None:
        self._act_once(request, Operation.Verb.DELETE, row, token, done=gettext("%(names)s was deleted."))

    def _refresh(self, request: HttpRequest, row: Conversation, token: str) -> None:
        self._act_once(request, Operation.Verb.REFRESH, row, token, done=gettext("%(names)s is up to date."))

    def _create_again(self, request: HttpRequest, row: Conversation, token: str) -> None:
        done = gettext("A new conversation called %(names)s was created.")
        self._act_once(request, Operation.Verb.CREATE, row, token, done=done)

    def _act_once(self, request: HttpRequest, verb: str, row: Conversation, token: str, *, done: str) -> None:
        item = self._do_once(request, verb, Order(conversation=row), token)
        if item.state == OperationItem.State.DONE and row_follows(item):
            self._say_of(request, [row], done, messages.SUCCESS)

    def _confirm(self, request: HttpRequest, name: str, title: str, rows: _Rows) -> HttpResponse:
        keys = ",".join(str(row.pk) for row in rows)
        form = SelectionForm(initial={"selected": keys, "seen": digest_of_names(rows)})
        return self._ask(request, name, title, form=form, conversations=rows)


def _deleted_by(form_token: str, rows: _Rows) -> _Rows:
    """Those that this form has had deleted when it was sent before: it says so once more."""
    ordered = ordered_for(form_token)
    return [row for row in rows if row.pk in ordered and is_tombstone(row)]


def _have_changed(rows: _Rows, form: SelectionForm) -> bool:
    """Whether they are no longer what the person saw; of a form that was sent before, it no longer matters."""
    seen = form.cleaned_data["seen"]
    is_other = bool(rows and seen) and seen != digest_of_names(rows)
    return is_other and not ordered_for(form.cleaned_data["form_token"])


def _token_of_selection(request: HttpRequest) -> str:
    """The list's form is the same whatever is selected in it; what is ordered is not."""
    selected = sorted(request.POST.getlist(ACTION_CHECKBOX_NAME))
    return derive_token(posted_token(request), selected, request.POST.get("select_across"))

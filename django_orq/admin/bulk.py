"""The actions on selected conversations.

A single conversation is processed within the request, several by a worker as an operation. An action that needs
confirmation shows a page whose form is sent to a separate view.
"""

from collections.abc import Callable, Sequence
from functools import partial, partialmethod
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.http import require_POST

from ..mirror.operations import MAX_ITEMS, ItemRequest, create_operation
from ..models import Conversation, Operation
from ..text import number
from . import forms
from .editing import EditingAdmin, Outcome, is_tombstone
from .lists import kept
from .operations import enqueue
from .references import references

Verb = Operation.Verb
_Rows = list[Conversation]
MAX_RENAMES = 300
"""The maximum on one page: each has three fields, and Django accepts 1,000 fields in a request."""
_PAGES = {
    Verb.RENAME: ("rename_selected", _("Rename conversations")),
    Verb.DELETE: ("delete_selected", _("Delete conversations")),
    Verb.CREATE: ("create_again", _("Create conversations again")),
}
"""The name that the template and the view share, and the title."""
_DONE = {
    Verb.RENAME: _("The conversation was renamed to %(names)s."),
    Verb.DELETE: _("%(names)s was deleted."),
    Verb.REFRESH: _("%(names)s is up to date."),
}


class BulkAdmin(EditingAdmin):
    own_views: ClassVar[Any] = {
        **dict.fromkeys(("create_several", "rename_selected", "delete_selected", "create_again"), ""),
        "refresh": "<path:object_id>/",
    }

    @admin.action(permissions=["change"], description=_("Rename selected %(verbose_name_plural)s"))
    def rename_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        rows = self._choose(request, Verb.RENAME, self._selected(request, queryset, most=MAX_RENAMES))
        return self._ask_names(request, forms.rename_forms(rows)) if rows else None

    @admin.action(permissions=["change"], description=_("Refresh selected %(verbose_name_plural)s from Orq"))
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        rows = self._choose(request, Verb.REFRESH, self._selected(request, queryset))
        return self._act(request, Verb.REFRESH, rows)

    @admin.action(permissions=["delete"], description=_("Delete selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        """Delete in Orq. This replaces the stock action, which would end with StrayWrite."""
        return self._confirm(request, Verb.DELETE, self._selected(request, queryset))

    @admin.action(permissions=["add"], description=_("Create deleted %(verbose_name_plural)s again"))
    def create_again(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        return self._confirm(request, Verb.CREATE, self._selected(request, queryset))

    @method_decorator(require_POST)
    def rename_selected_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        proposes = "preview" in request.POST
        keys = forms.posted_keys(request) if proposes else forms.keys_to_rename(request.POST)
        rows = self._choose(request, Verb.RENAME, self._find_all(request, keys[:MAX_RENAMES]))
        names = forms.ProposalForm(request.POST).propose(rows) if proposes else request.POST
        renames = forms.rename_forms(rows, names)
        changed = [form for form in renames if form.has_changed()]
        keeps = not all(form.is_bound for form in renames)
        if renames and (proposes or keeps or any(form.errors for form in renames)):
            return self._ask_names(request, renames, changed=len(changed) if proposes else None)
        if len(changed) > 1:
            return self._place(request, Verb.RENAME, [form.item_request for form in changed])
        for form in changed:
            if (outcome := self._rename(request, form)) is Outcome.FAILED:
                return self._ask_names(request, renames)
            if outcome is Outcome.DONE:
                self._say_of(request, [form.instance], str(_DONE[Verb.RENAME]), messages.SUCCESS)
        if len(renames) == 1 and "stay" in request.POST:  # from the page of this conversation
            return HttpResponseRedirect(self._url_to("change", renames[0].instance.pk))
        if not changed:
            self.message_user(request, gettext("No name was changed, so nothing was saved."), messages.INFO)
        return self._back(request)

    def create_several_view(self, request: HttpRequest) -> HttpResponse:
        """Create conversations from a list of names, as one operation."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = self._creating_form(request, forms.SeveralForm)
        if request.method == "POST" and form.is_valid():
            return self._place(request, Verb.CREATE, form.item_requests)
        context: dict[str, Any] = {"form": form, "has_errors": bool(form.errors)}
        return self._render(request, "create_several", gettext("Create several conversations"), **context)

    @method_decorator(require_POST)
    def confirmed_view(self, request: HttpRequest, *, verb: Operation.Verb) -> HttpResponse:
        """Delete conversations, or create them again, after the confirmation."""
        may = self.has_add_permission if verb == Verb.CREATE else self.has_delete_permission
        if not (self.has_view_permission(request) and may(request)):
            raise PermissionDenied
        found = self._find_all(request, forms.posted_keys(request))
        rows = self._choose(request, verb, found)
        if not found:
            text = gettext("The selected conversations were not found, so nothing was changed. Select them again.")
            self.message_user(request, text, messages.ERROR)
        if verb == Verb.DELETE and rows and not self._are_as_seen(request, rows):
            return self._confirm(request, verb, rows) or self._back(request)
        return self._act(request, verb, rows) or self._back(request)

    delete_selected_view = partialmethod(confirmed_view, verb=Verb.DELETE)
    create_again_view = partialmethod(confirmed_view, verb=Verb.CREATE)

    @method_decorator(require_POST)
    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Update one conversation from Orq, and return to its page."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        found = self._find_all(request, forms.parse_keys([object_id]))
        self._act(request, Verb.REFRESH, self._choose(request, Verb.REFRESH, found))
        return self._back(request, "change", object_id)

    def _act(self, request: HttpRequest, verb: Operation.Verb, rows: _Rows) -> HttpResponse | None:
        """Delete or refresh one conversation now; leave several to a worker. ``None`` means: back to the list."""
        if len(rows) > 1 or (rows and verb == Verb.CREATE):  # so that a form sent twice creates one conversation
            return self._place(request, verb, [ItemRequest(conversation=row) for row in rows])
        for row in rows:
            name = row.display_name
            if self._do(request, verb, ItemRequest(conversation=row)) is Outcome.DONE:
                self._say_of(request, [self._named(request, row, name)], str(_DONE[verb]), messages.SUCCESS)
        return None

    def _place(self, request: HttpRequest, verb: Operation.Verb, item_requests: Sequence[ItemRequest]) -> HttpResponse:
        """Record the operation, notify a worker, and redirect to its page."""
        if verb == Verb.CREATE and not self.may_use(request, *(one.conversation.workspace for one in item_requests)):
            raise PermissionDenied
        rows = [(one.conversation, one.new_name) for one in item_requests]
        token = forms.posted_token(request, [(row.pk, row.workspace, name or row.display_name) for row, name in rows])
        operation, is_new = create_operation(verb, item_requests, by=request.user, form_token=token)
        already = gettext("You have already submitted this form. Nothing was started again.")
        self.message_user(request, *(enqueue(operation) if is_new else (already, messages.INFO)))
        return self._show_operation(request, operation)

    def _selected(self, request: HttpRequest, queryset: QuerySet[Conversation], *, most: int = MAX_ITEMS) -> _Rows:
        """All rows of the query set, or none if there are more than ``most``."""
        selected = list(queryset[: most + 1])
        if len(selected) <= most:
            return selected
        message = gettext("You can select at most %(count)s conversations at once. Nothing was changed.")
        self.message_user(request, message % {"count": number(most)}, messages.ERROR)
        return []

    def _find_all(self, request: HttpRequest, keys: Sequence[int]) -> _Rows:
        """The conversations with these primary keys that the user may see, in the order of the list."""
        found = self.get_queryset(request).filter(pk__in=set(keys)).order_by(*self.get_ordering(request))
        return self._selected(request, found)

    def _choose(self, request: HttpRequest, verb: Operation.Verb, rows: _Rows) -> _Rows:
        """The conversations to which the user may apply the action now; the others are reported."""
        if verb == Verb.CREATE:
            text = gettext("Not created: %(names)s. Only deleted conversations with a name can be created again.")
            return self._keep(request, rows, lambda row: is_tombstone(row) and not row.is_scrubbed, text)
        may = self.has_delete_permission if verb == Verb.DELETE else self.has_change_permission
        there = self._keep(request, rows, lambda row: not is_tombstone(row), gettext("Already deleted: %(names)s."))
        refused = gettext("You do not have permission for this action on %(names)s.")
        return self._keep(request, there, partial(may, request), refused)

    def _keep(self, request: HttpRequest, rows: _Rows, fits: Callable[[Conversation], bool], text: str) -> _Rows:
        """The rows that fit; ``text`` is shown for the others."""
        fitting = [row for row in rows if fits(row)]
        if others := [row for row in rows if row not in fitting]:
            self._say_of(request, others, text, messages.WARNING)
        return fitting

    def _confirm(self, request: HttpRequest, verb: Operation.Verb, rows: _Rows) -> HttpResponse | None:
        """The confirmation page; ``None`` if no conversation is left."""
        if not (chosen := self._choose(request, verb, rows)):
            return None
        seen, keys = forms.digest_of_names(chosen), forms.joined_keys(chosen)
        found = references(request, self.admin_site, chosen)
        return self._ask(request, verb, conversations=chosen, selected=keys, seen=seen, references=found)

    def _ask_names(self, request: HttpRequest, renames: list[forms.RenameForm], **context: Any) -> HttpResponse:
        """The page with these forms. ``changed`` is the number of names that a preview has changed."""
        context |= {"forms": renames, "has_errors": any(form.errors for form in renames)}
        context |= {"selected": forms.joined_keys(form.instance for form in renames)}
        return self._ask(request, Verb.RENAME, proposal=forms.ProposalForm(request.POST), **context)

    def _ask(self, request: HttpRequest, verb: Operation.Verb, **context: Any) -> HttpResponse:
        """A page whose form is sent to the view with the same name."""
        name, title = _PAGES[verb]
        url, filters = self._url_to(name), self.get_preserved_filters(request)
        context["stays"] = "stay" in request.POST
        return self._render(request, name, str(title), form_url=f"{url}?{filters}" if filters else url, **context)

    def _back(self, request: HttpRequest, *page: str) -> HttpResponse:
        """Redirect to the list with its previous filters, or to another page that leads back to them."""
        return HttpResponseRedirect(kept(self, request, self._url_to(*page or ("changelist",))))

"""The pages that create, rename and delete one conversation, and what they share with the actions.

The stock views of the admin save within a transaction, and an exception becomes a server error that loses the form.
These views look the same, but send the request to Orq first, outside any transaction, and show errors in the form.
"""

from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.contrib.admin import helpers
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.forms import Form, all_valid
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext

from ..conf import get_workspace
from ..exceptions import ConversationChanged, MirrorBehind, OrqError
from ..mirror.operations import ItemRequest, change_conversation, create_once
from ..models import Conversation, Operation, OperationItem
from ..store.database import write_database
from .base import OrqAdmin, admin_of, are_several, url_to, ways_to_sync
from .changes import timeline
from .forms import CreateForm, RenameForm, digest_of_names, posted_token
from .references import references
from .texts import as_told, explain_done, explain_error, explain_item, isolated, quoted

Verb, State = Operation.Verb, OperationItem.State
LOGGED: dict[str, list[Any]] = {Verb.CREATE: [{"added": {}}], Verb.RENAME: [{"changed": {"fields": ["Name"]}}]}
"""Messages of log entries, for “Recent actions”. Our own record of changes has the details."""


class Outcome(Enum):
    DONE = auto()
    UNSEEN = auto()
    """Done in Orq, but the row does not show it, or not by this request."""
    FAILED = auto()


class EditingAdmin(OrqAdmin):
    def changeform_view(
        self, request: Any, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Handle ``add_view`` and ``change_view``, without the transaction of the stock view."""
        render = partial(self._render_form, request, form_url=form_url, extra_context=extra_context or {})
        if object_id is None:
            return self._create(request, render)
        conversation = self._find(request, object_id)
        posts_to_tombstone = request.method == "POST" and is_tombstone(conversation)
        may = self.has_change_permission if request.method == "POST" else self.has_view_or_change_permission
        if not may(request, None if posts_to_tombstone else conversation):
            raise PermissionDenied
        if conversation is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined] # not in the stubs
        if posts_to_tombstone:
            self._say_gone(request, [conversation])
            return HttpResponseRedirect(request.get_full_path())
        return self._change(request, conversation, render)

    def _create(self, request: HttpRequest, render: Callable[..., HttpResponse]) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        self._to_field(request)
        form = self._creating_form(request, CreateForm)
        formsets, _inlines = inlines = self._create_formsets(request, self.model(), change=False)  # type: ignore[attr-defined] # not in the stubs
        if not all([form.is_valid(), all_valid(formsets)]):  # both, because each shows its own errors
            return render(form, inlines)
        item, is_new = self._create_once(request, form.item_request)
        if item is None or item.state in (State.FAILED, State.UNKNOWN):
            return render(form, inlines, offers_sync=item is not None and item.state == State.UNKNOWN)
        if item.state != State.DONE:
            return self._show_operation(request, item.operation)
        if is_new and item.conversation is not None:
            self._save_inlines(request, item.conversation, form, formsets, add=True)
        elif any(formset.has_changed() for formset in formsets):
            text = gettext("You have already submitted this form. Check on the conversation's page what was saved.")
            if is_new:
                text = gettext("Nothing else on the page was saved. Enter it again once the conversation is here.")
            self.message_user(request, text, messages.WARNING)
        if item.conversation is None:
            return self.response_post_save_add(request, self.model())
        return self.response_add(request, self._told(request, self._named(request, item.conversation, item.name)))

    def _creating_form(self, request: HttpRequest, form_class: Any) -> Any:
        initial, workspaces = self.get_changeform_initial_data(request), self.get_workspaces(request)
        return form_class(request.POST or None, initial=initial, workspaces=workspaces)

    def _create_once(self, request: HttpRequest, item_request: ItemRequest) -> tuple[OperationItem | None, bool]:
        """Create the conversation in Orq, once for each form, and report anything unusual.

        Also returns whether the form was submitted for the first time. Otherwise the item may be pending or sent,
        because another process is still creating the conversation. It is ``None`` if the form was submitted with
        another name before, because the user went back to it.
        """
        item, is_new = create_once(item_request, by=request.user, form_token=posted_token(request))
        if is_new and item.conversation is not None:
            self.log_addition(request, item.conversation, LOGGED[Verb.CREATE])
        template = item_request.conversation
        if (item.name, item.workspace) != (template.display_name, template.workspace):
            text = gettext("You submitted this form before, for “%(name)s”: %(outcome)s Save again to create another.")
            text %= {"name": isolated(item.name), "outcome": explain_item(item)}
            self.message_user(request, text, messages.WARNING)
            return None, is_new
        if item.state in (State.PENDING, State.SENT):
            text = gettext("You have already submitted this form. The conversation is still being created.")
            self.message_user(request, text, messages.INFO)
        elif item.state != State.DONE or item.conversation is None:
            level = messages.WARNING if item.state == State.DONE else messages.ERROR
            self.message_user(request, explain_item(item), level)
        return item, is_new

    def _show_operation(self, request: HttpRequest, operation: Operation) -> HttpResponse:
        """Redirect to the operation's page, or to the list if this site has no such pages."""
        has_pages = admin_of(self.admin_site, Operation) is not None
        url = url_to(self.admin_site, Operation, "change", operation.pk) if has_pages else self._url_to("changelist")
        return HttpResponseRedirect(url)

    def _change(self, request: HttpRequest, conversation: Conversation, render: Callable[..., Any]) -> Any:
        form = RenameForm(request.POST or None, instance=conversation)
        formsets, _inlines = inlines = self._create_formsets(request, conversation, change=True)  # type: ignore[attr-defined] # not in the stubs
        shown = flatten_fieldsets(self.get_fieldsets(request, conversation))
        renames = "display_name" in {*shown} - {*self.get_readonly_fields(request, conversation)}
        if not renames:
            form.fields = {}
        if request.method != "POST" or not all([form.is_valid(), all_valid(formsets)]):
            return render(form, inlines, conversation)
        if (outcome := self._rename(request, form) if form.has_changed() else Outcome.DONE) is Outcome.FAILED:
            return render(form, inlines, conversation)
        self._save_inlines(request, conversation, form, formsets)
        if outcome is Outcome.UNSEEN:
            return HttpResponseRedirect(request.get_full_path())
        return self.response_change(request, self._told(request, conversation))

    def _save_inlines(self, request: Any, row: Conversation, form: Any, formsets: Any, *, add: bool = False) -> None:
        """Save the project's inlines after the change was made in Orq."""
        if not formsets:
            return
        for formset in formsets:
            formset.instance = row
        with transaction.atomic(using=write_database()):
            self.save_related(request, form, formsets, change=not add)
        if message := self.construct_change_message(request, Form(), formsets):
            self.log_change(request, row, message)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        conversation = self._find(request, object_id)
        seen = None if is_tombstone(conversation) else conversation
        if not (self.has_view_permission(request, seen) and self.has_delete_permission(request, seen)):
            raise PermissionDenied
        if conversation is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined] # not in the stubs
        outcome, name = Outcome.FAILED, conversation.display_name
        if is_tombstone(conversation):
            self._say_gone(request, [conversation])
            outcome = Outcome.UNSEEN
        elif request.method == "POST" and self._are_as_seen(request, [conversation]):
            outcome = self._do(request, Verb.DELETE, ItemRequest(conversation=conversation))
        if outcome is Outcome.FAILED:
            return self._ask_to_delete(request, conversation, extra_context or {})
        if outcome is Outcome.UNSEEN and IS_POPUP_VAR not in request.POST:
            return self.response_post_save_change(request, conversation)
        key = conversation.serializable_value(self._to_field(request) or "pk")
        return self.response_delete(request, str(self._told(request, self._named(request, conversation, name))), key)

    def _are_as_seen(self, request: HttpRequest, rows: list[Conversation]) -> bool:
        """Whether the names are still those on the page that was confirmed; if not, the user is told."""
        if request.POST.get("seen") in (None, digest_of_names(rows)):
            return True
        message = gettext("The selection or a name changed after you opened the page. Check the conversations below.")
        self.message_user(request, message, messages.WARNING)
        return False

    def _rename(self, request: HttpRequest, form: RenameForm) -> Outcome:
        """Rename one conversation in this request; if someone else has renamed it, the form asks again.

        Raises ``Http404`` if that fails, and another name excludes it from what the user may see.
        """
        try:
            outcome = self._do(request, Verb.RENAME, form.item_request)
        except ConversationChanged as change:
            form.ask_again(change)
            outcome = Outcome.FAILED
        if outcome is Outcome.FAILED:
            get_object_or_404(self.get_queryset(request), pk=form.instance.pk)
        return outcome

    def _do(self, request: HttpRequest, verb: Operation.Verb, wanted: ItemRequest) -> Outcome:
        """Change one conversation in this request, and report anything unusual."""
        row, behind, note = wanted.conversation, False, {}
        try:
            note = change_conversation(verb, wanted, by=request.user, interactive=True)
        except ConversationChanged:
            raise
        except MirrorBehind as error:
            behind, note = True, {"replaced": error.replaced}
        except (OrqError, ImproperlyConfigured) as error:
            self.message_user(request, explain_error(verb, error), messages.ERROR)
            return Outcome.FAILED
        if verb == Verb.DELETE and "gone" not in note:
            self.log_deletions(request, QuerySet(self.model, using=write_database()).filter(pk=row.pk))
        elif verb == Verb.RENAME and "same" not in note:
            self.log_change(request, row, LOGGED[verb])
        if behind or note:
            self.message_user(request, explain_done(verb, note, behind=behind), messages.WARNING)
        return Outcome.UNSEEN if behind or note.keys() & {"overtaken", "gone"} else Outcome.DONE

    def _find(self, request: HttpRequest, object_id: str) -> Conversation | None:
        return self.get_object(request, unquote(object_id), self._to_field(request))

    def _to_field(self, request: HttpRequest) -> str | None:
        """The field by which the page that opened this popup refers to conversations, or an error if it may not."""
        field = request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR))
        if field and not self.to_field_allowed(request, field):
            raise DisallowedModelAdminToField(f"The field {field} cannot be referenced.")
        return field

    def _named(self, request: HttpRequest, conversation: Conversation, name: str) -> Conversation:
        """The conversation, with the ``name`` that the user knows if a new one excludes it from what they may see."""
        if not self.get_queryset(request).filter(pk=conversation.pk).exists():
            conversation.display_name = name
        return conversation

    def _told(self, request: HttpRequest, conversation: Conversation) -> Conversation:
        """The conversation as messages show it. A popup passes its plain name to the page that opened the popup."""
        told = conversation if IS_POPUP_VAR in request.POST else as_told(conversation)
        told.__class__ = self.model  # perhaps a proxy, which has pages of its own
        return told

    def _say_gone(self, request: HttpRequest, rows: list[Conversation]) -> None:
        self._say_of(request, rows, gettext("Already deleted: %(names)s."), messages.WARNING)

    def _say_of(self, request: HttpRequest, rows: list[Conversation], message: str, level: int) -> None:
        """Show ``message``, which has a placeholder for their ``names``."""
        self.message_user(request, message % {"names": quoted(rows)}, level)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        is_popup = IS_POPUP_VAR in request.POST or IS_POPUP_VAR in request.GET
        stock = {"to_field": self._to_field(request), "preserved_filters": self.get_preserved_filters(request)}
        own = {"several_workspaces": are_several(), "form_token": uuid4().hex}
        return super()._page(request, title) | {"is_popup": is_popup} | stock | own

    def _render_form(self, request: Any, form: Any, inlines: Any, conversation: Any = None, **options: Any) -> Any:
        """The stock page around one of our forms. ``options``: ``offers_sync``, and arguments of the stock view."""
        add, told = conversation is None, conversation and as_told(conversation)
        fieldsets: Any = list(self.get_fieldsets(request, conversation))
        readonly = self.get_readonly_fields(request, conversation)
        # Used by way of its module, because a theme replaces the class there.
        admin_form = helpers.AdminForm(form, fieldsets, {}, readonly, model_admin=self)
        formsets: Any = self.get_inline_formsets(request, *inlines, conversation)  # type: ignore[call-arg] # no types of inlines
        context = self._page(request, self._title(request, conversation))
        context |= {"original": told, "subtitle": told and str(told), "object_id": told and str(told.pk)}
        if not add:
            context |= timeline(request, self.admin_site, conversation) | {"orq_url": _orq_url(conversation)}
            context["references"] = references(request, self.admin_site, [conversation])
        context |= {
            "adminform": admin_form,
            "media": sum((one.media for one in formsets), self.media + admin_form.media),
            "inline_admin_formsets": formsets,
            "errors": helpers.AdminErrorList(form, inlines[0]),
            "renames": not add and "display_name" in form.fields,
            **options["extra_context"],
        }
        if options.get("offers_sync"):
            context |= ways_to_sync(request, self.admin_site, form.item_request.conversation.workspace)
        stock = {"add": add, "change": not add, "obj": conversation, "form_url": options["form_url"]}
        return self._framed(self.render_change_form(request, context, **stock), "form")

    def _title(self, request: HttpRequest, conversation: Conversation | None) -> str:
        change = "Change %s" if self.has_change_permission(request, conversation) else "View %s"
        return gettext("Add %s" if conversation is None else change) % self.opts.verbose_name

    def _ask_to_delete(self, request: HttpRequest, conversation: Conversation, extra_context: Any) -> HttpResponse:
        stock = {"object_name": str(self.opts.verbose_name), "deleted_objects": [conversation]}
        context = self._page(request, gettext("Delete")) | stock | {"object": as_told(conversation)}
        context |= {"seen": digest_of_names([conversation]), "back_url": self._url_to("change", conversation.pk)}
        context["references"] = references(request, self.admin_site, [conversation])
        return self.render_delete_form(request, context | extra_context)


def is_tombstone(conversation: Conversation | None) -> bool:
    return conversation is not None and conversation.deleted_at is not None


def _orq_url(row: Conversation) -> str:
    """The page of the conversation in Orq, if it exists and the workspace has a ``CONVERSATION_URL``; else empty."""
    with suppress(ImproperlyConfigured):
        url = get_workspace(row.workspace).conversation_url
        return url.replace("{id}", row.remote_id) if url and not is_tombstone(row) else ""
    return ""

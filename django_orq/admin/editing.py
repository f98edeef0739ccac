"""The pages that create, rename and delete one conversation, and what the actions on a single one share with them.

The stock views of the admin save within a transaction and answer an exception with a server error that loses the form.
These look the same, ask Orq first, outside of transactions, and show a failure beside the form as it was filled.
"""

from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.utils import unquote
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext

from ..exceptions import ConversationChanged, MirrorBehind, OrqError
from ..mirror import Renamed, delete_conversation, refresh_conversation, rename_conversation
from ..mirror.operations import HISTORY, ItemRequest, create_once
from ..models import Conversation, Operation, OperationItem
from ..store.database import all_rows
from .base import OrqAdmin, are_several, requester, url_to
from .forms import CreateForm, RenameForm, digest_of_names, posted_token
from .texts import as_told, explain_done, explain_error, explain_item, isolated, quoted

Verb, State = Operation.Verb, OperationItem.State


class Outcome(Enum):
    DONE = auto()
    UNSEEN = auto()
    """Orq did it, but the row does not show that."""
    FAILED = auto()


class EditingAdmin(OrqAdmin[Conversation]):
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """What ``add_view`` and ``change_view`` come to; without the transaction of the stock one."""
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
        form = CreateForm(request.POST or None, initial=self.get_changeform_initial_data(request))
        if not form.is_valid():
            return render(form)
        item = self._create_once(request, form.item_request)
        if item is None or item.state in (State.FAILED, State.UNKNOWN):
            return render(form, offers_sync=item is not None and item.state == State.UNKNOWN)
        if item.state != State.DONE:
            return self._show_operation(request, item.operation)
        if item.conversation is None:
            return self.response_post_save_add(request, Conversation())
        return self.response_add(request, _told(request, item.conversation))

    def _create_once(self, request: HttpRequest, item_request: ItemRequest) -> OperationItem | None:
        """Create it in Orq, once for each form, and say what did not go as usual.

        Pending or sent if the form was sent before and another process is at it; ``None`` if it has created something
        else before, for somebody went back to it.
        """
        item, template = (
            create_once(item_request, by=requester(request), form_token=posted_token(request)),
            item_request.conversation,
        )
        if (item.name, item.workspace) != (template.display_name, template.workspace):
            text = gettext("This form was used already, for “%(name)s”. Save again to create another conversation.")
            self.message_user(request, text % {"name": isolated(item.name)}, messages.WARNING)
            return None
        if item.state in (State.PENDING, State.SENT):
            text = gettext("This form was sent before, and the conversation is still being created.")
            self.message_user(request, text, messages.INFO)
        elif item.state != State.DONE or item.conversation is None:
            level = messages.WARNING if item.state == State.DONE else messages.ERROR
            self.message_user(request, explain_item(item), level)
        return item

    def _show_operation(self, request: HttpRequest, operation: Operation) -> HttpResponse:
        """Lead to its page, or to the list if this site has none."""
        if not self.admin_site.is_registered(Operation):
            return HttpResponseRedirect(self._url_to("changelist"))
        return HttpResponseRedirect(url_to(self.admin_site, Operation, "change", operation.pk))

    def _change(
        self, request: HttpRequest, conversation: Conversation, render: Callable[..., HttpResponse]
    ) -> HttpResponse:
        form = RenameForm(request.POST or None, instance=conversation)
        if not form.is_valid():
            return render(form, conversation)
        outcome = self._rename(request, form)
        if outcome is Outcome.FAILED:
            return render(form, conversation)
        if outcome is Outcome.UNSEEN:
            return HttpResponseRedirect(request.get_full_path())
        return self.response_change(request, _told(request, conversation))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        conversation = self._find(request, object_id)
        if not self.has_delete_permission(request, None if is_tombstone(conversation) else conversation):
            raise PermissionDenied
        if conversation is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined] # not in the stubs
        outcome = Outcome.FAILED
        if is_tombstone(conversation):
            self._say_gone(request, [conversation])
            outcome = Outcome.UNSEEN
        elif request.method == "POST" and self._are_as_seen(request, [conversation]):
            outcome = self._do(request, Verb.DELETE, conversation)
        if outcome is Outcome.FAILED:
            return self._ask_to_delete(request, conversation, extra_context or {})
        if outcome is Outcome.UNSEEN:
            return self.response_post_save_change(request, conversation)
        key = conversation.serializable_value(_to_field(request) or "pk")
        return self.response_delete(request, str(_told(request, conversation)), key)

    def _are_as_seen(self, request: HttpRequest, rows: list[Conversation]) -> bool:
        """Whether they are still called as the page that asked showed them; if not, it is said."""
        if request.POST.get("seen") in (None, digest_of_names(rows)):
            return True
        message = gettext("The selection or a name has changed since you opened this page. Look at it once more.")
        self.message_user(request, message, messages.WARNING)
        return False

    def _rename(self, request: HttpRequest, form: RenameForm) -> Outcome:
        """Rename one while a person waits; if somebody else has renamed it, the form asks again."""
        row, item_request = form.instance, form.item_request
        entry = [] if item_request.new_name == row.display_name else HISTORY[Verb.RENAME]
        ask = partial(rename_conversation, row, expected_updated_at=item_request.expected_updated_at)
        try:
            return self._perform(request, Verb.RENAME, row, partial(ask, display_name=item_request.new_name), entry)
        except ConversationChanged as change:
            form.ask_again(change)
            return Outcome.FAILED

    def _do(self, request: HttpRequest, verb: Operation.Verb, row: Conversation) -> Outcome:
        """Delete or refresh one while a person waits."""
        ask = partial(delete_conversation if verb == Verb.DELETE else refresh_conversation, row)
        return self._perform(request, verb, row, ask, HISTORY[verb])

    def _perform(
        self, request: HttpRequest, verb: str, row: Conversation, ask: Callable[..., Renamed | None], entry: Any
    ) -> Outcome:
        """Ask Orq, write it into the history, and say what did not go as usual."""
        behind, names = False, {}
        try:
            if renamed := ask(interactive=True):
                names = {"replaced": renamed.replaced, "overtaken": renamed.overtaken_by}
        except ConversationChanged:
            raise
        except MirrorBehind as error:
            behind, names = True, {"replaced": error.replaced}
        except (OrqError, ImproperlyConfigured) as error:
            self.message_user(request, explain_error(verb, error), messages.ERROR)
            return Outcome.FAILED
        if verb == Verb.DELETE:
            self.log_deletions(request, all_rows().filter(pk=row.pk))
        else:
            self.log_change(request, row, entry)
        if behind or any(names.values()):
            self.message_user(request, explain_done(verb, behind=behind, **names), messages.WARNING)
        return Outcome.UNSEEN if behind or names.get("overtaken") else Outcome.DONE

    def _find(self, request: HttpRequest, object_id: str) -> Conversation | None:
        field = _to_field(request)
        if field and not self.to_field_allowed(request, field):
            raise DisallowedModelAdminToField(f"The field {field} cannot be referenced.")
        return self.get_object(request, unquote(object_id), field)

    def _say_gone(self, request: HttpRequest, rows: list[Conversation]) -> None:
        self._say_of(request, rows, gettext("Deleted already: %(names)s."), messages.WARNING)

    def _say_of(self, request: HttpRequest, rows: list[Conversation], message: str, level: int) -> None:
        """``message`` has a place for their ``names``."""
        self.message_user(request, message % {"names": quoted(rows)}, level)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **super()._page(request, title),
            "is_popup": IS_POPUP_VAR in request.POST or IS_POPUP_VAR in request.GET,
            "to_field": _to_field(request),
            "preserved_filters": self.get_preserved_filters(request),
            "several_workspaces": are_several(),
            "form_token": uuid4().hex,
        }

    def _render_form(
        self,
        request: HttpRequest,
        form: CreateForm | RenameForm,
        conversation: Conversation | None = None,
        *,
        form_url: str,
        extra_context: dict[str, Any],
        offers_sync: bool = False,
    ) -> HttpResponse:
        """The stock page around one of our forms."""
        add, told = conversation is None, conversation and as_told(conversation)
        fieldsets: Any = list(self.get_fieldsets(request, conversation))
        readonly = self.get_readonly_fields(request, conversation)
        admin_form = AdminForm(form, fieldsets, {}, readonly, model_admin=self)
        context = {
            **self._page(request, self._title(request, conversation)),
            "subtitle": told and str(told),
            "original": told,
            "object_id": told and str(told.pk),
            "adminform": admin_form,
            "media": self.media + admin_form.media,
            "inline_admin_formsets": [],
            "errors": AdminErrorList(form, []),
            "offers_sync": offers_sync,
            **extra_context,
        }
        return self.render_change_form(request, context, add=add, change=not add, obj=conversation, form_url=form_url)

    def _title(self, request: HttpRequest, conversation: Conversation | None) -> str:
        if conversation is None:
            return gettext("Add %s") % self.opts.verbose_name
        changes = self.has_change_permission(request, conversation)
        return (gettext("Change %s") if changes else gettext("View %s")) % self.opts.verbose_name

    def _ask_to_delete(
        self, request: HttpRequest, conversation: Conversation, extra_context: dict[str, Any]
    ) -> HttpResponse:
        context = {
            **self._page(request, gettext("Delete")),
            "object": as_told(conversation),
            "conversation": conversation,
            "object_name": str(self.opts.verbose_name),
            "deleted_objects": [conversation],
            "seen": digest_of_names([conversation]),
            **extra_context,
        }
        return self.render_delete_form(request, context)


def is_tombstone(conversation: Conversation | None) -> bool:
    return conversation is not None and conversation.deleted_at is not None


def _told(request: HttpRequest, conversation: Conversation) -> Conversation:
    """As a message should call it; a popup hands its name to a field of the page that opened it."""
    return conversation if IS_POPUP_VAR in request.POST else as_told(conversation)


def _to_field(request: HttpRequest) -> str | None:
    """The column by which another model's page, which opened this one, refers to conversations."""
    return request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR))

"""The pages that create and rename."""

from functools import partial
from typing import Any, Protocol

from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext

from ..models import Conversation, Operation, OperationItem
from .forms import CreateForm, RenameForm
from .names import as_told
from .outcomes import conflict, row_follows
from .remote_first import RemoteFirstAdmin, is_tombstone


class _Render(Protocol):
    def __call__(
        self, form: CreateForm | RenameForm, conversation: Conversation | None = None, *, offers_sync: bool = False
    ) -> HttpResponse: ...


class SavingAdmin(RemoteFirstAdmin):
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
        self._check_permission(request, conversation)
        if conversation is None:
            return self._redirect_from_unknown(request, object_id)
        if request.method == "POST" and is_tombstone(conversation):
            self._say_gone(request, [conversation])
            return HttpResponseRedirect(request.get_full_path())
        return self._rename(request, conversation, render)

    def _check_permission(self, request: HttpRequest, conversation: Conversation | None) -> None:
        if request.method == "POST":
            permitted = self.has_change_permission(request, None if is_tombstone(conversation) else conversation)
        else:
            permitted = self.has_view_or_change_permission(request, conversation)
        if not permitted:
            raise PermissionDenied

    def _create(self, request: HttpRequest, render: _Render) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = CreateForm(_posted(request), initial=self.get_changeform_initial_data(request))
        if not form.is_valid():
            return render(form)
        creation = self._do_once(request, Operation.Verb.CREATE, form.order, form.cleaned_data["form_token"])
        if creation.state != OperationItem.State.DONE:
            form.renew()
            return render(form, offers_sync=creation.state == OperationItem.State.UNKNOWN)
        if creation.conversation is None or not row_follows(creation):
            return self.response_post_save_add(request, Conversation())
        return self.response_add(request, as_told(creation.conversation))

    def _rename(self, request: HttpRequest, conversation: Conversation, render: _Render) -> HttpResponse:
        form = RenameForm(_posted(request), instance=conversation)
        if not form.is_valid():
            return render(form, conversation)
        rename = self._do_once(request, Operation.Verb.RENAME, form.order, form.cleaned_data["form_token"])
        if rename.state != OperationItem.State.DONE:
            form.renew()
            if change := conflict(rename):
                form.ask_again(change)
            return render(form, conversation)
        if rename.conversation is None or not row_follows(rename):
            return HttpResponseRedirect(request.get_full_path())
        return self.response_change(request, as_told(rename.conversation))

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
        fieldsets: Any = list(self.get_fieldsets(request, conversation))
        readonly = self.get_readonly_fields(request, conversation)
        admin_form = AdminForm(form, fieldsets, {}, readonly, model_admin=self)
        context = {
            **self._page(request, self._title(request, conversation)),
            **_original(conversation),
            "adminform": admin_form,
            "media": self.media + admin_form.media,
            "inline_admin_formsets": [],
            "errors": AdminErrorList(form, []),
            "offers_sync": offers_sync,
            **extra_context,
        }
        add = conversation is None
        return self.render_change_form(request, context, add=add, change=not add, obj=conversation, form_url=form_url)

    def _title(self, request: HttpRequest, conversation: Conversation | None) -> str:
        if conversation is None:
            title = gettext("Add %s")
        elif self.has_change_permission(request, conversation):
            title = gettext("Change %s")
        else:
            title = gettext("View %s")
        return title % self.opts.verbose_name


def _original(conversation: Conversation | None) -> dict[str, Any]:
    """What the stock page is told of the row that it shows; nothing of one that is yet to be created."""
    if conversation is None:
        return {"subtitle": None, "original": None, "object_id": None}
    told = as_told(conversation)
    return {"subtitle": str(told), "original": told, "object_id": str(conversation.pk)}


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None

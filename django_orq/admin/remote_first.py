"""What the views that ask Orq share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext, ngettext

from ..mirror import Renamed
from ..models import Conversation, OperationItem
from ..operations import create_once
from ..transactions import outside_of_transactions
from .failures import FAILURES, explain, explain_item
from .orderers import orderer
from .presentation import names
from .workspaces import if_several

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Conversation]
else:
    _ModelAdmin = admin.ModelAdmin

_Outcome = TypeVar("_Outcome")


class RemoteFirstAdmin(_ModelAdmin):
    """Asks Orq first, in views that no transaction surrounds.

    The stock views of the admin save within a transaction and answer an exception with a server error that loses
    the form. These look the same, and show a failure beside the form as it was filled.
    """

    def get_urls(self) -> list[URLPattern]:
        """Ours and the stock ones, each outside of ``ATOMIC_REQUESTS``: no transaction is open while Orq is asked."""
        patterns: list[URLPattern] = [*self.own_urls(), *super().get_urls()]
        outside_of_transactions(patterns)
        return patterns

    def own_urls(self) -> list[URLPattern]:
        return []

    def _create_once(self, request: HttpRequest, name: str, workspace: str, form_token: str) -> OperationItem:
        """Create a conversation, once for each form, and say if that did not go as ever."""
        creation, is_first = create_once(
            display_name=name, workspace=workspace, by=orderer(request), form_token=form_token
        )
        if creation.state != OperationItem.State.DONE:
            self.message_user(request, explain_item(creation), messages.ERROR)
        elif creation.conversation is None:
            self.message_user(request, explain_item(creation), messages.WARNING)
        elif not is_first:
            message = gettext("This form was sent more than once; the conversation was created once.")
            self.message_user(request, message, messages.INFO)
        return creation

    def _attempt(self, request: HttpRequest, verb: str, order: Callable[[], _Outcome]) -> _Outcome | None:
        """What the order returns; ``None``, and a message for the person, if it failed."""
        try:
            return order()
        except FAILURES as error:
            self.message_user(request, explain(error, verb), messages.ERROR)
            return None

    def _find(self, request: HttpRequest, object_id: str) -> Conversation | None:
        field = to_field(request)
        if field and not self.to_field_allowed(request, field):
            raise DisallowedModelAdminToField(f"The field {field} cannot be referenced.")
        return self.get_object(request, unquote(object_id), field)

    def _redirect_from_unknown(self, request: HttpRequest, object_id: str) -> HttpResponse:
        response: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined] # not in the stubs
            request, self.opts, object_id
        )
        return response

    def _say_replaced(self, request: HttpRequest, renamed: Renamed, name: str) -> bool:
        """Tell what came between; returns whether the name is another one by now."""
        if renamed.overtaken_by is not None:
            message = gettext("You renamed it to “%(ours)s”, and somebody to “%(theirs)s” right after that.")
            self.message_user(request, message % {"ours": name, "theirs": renamed.overtaken_by}, messages.WARNING)
        elif renamed.replaced is not None:
            message = gettext("Somebody renamed it to “%(theirs)s” just before you saved; your name replaced that.")
            self.message_user(request, message % {"theirs": renamed.replaced}, messages.WARNING)
        return renamed.overtaken_by is not None

    def _say_gone(self, request: HttpRequest, conversations: list[Conversation]) -> None:
        message = ngettext("%(names)s is deleted already.", "%(names)s are deleted already.", len(conversations))
        self.message_user(request, message % {"names": names(conversations)}, messages.WARNING)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "subtitle": None,
            "opts": self.opts,
            "app_label": self.opts.app_label,
            "is_popup": IS_POPUP_VAR in request.POST or IS_POPUP_VAR in request.GET,
            "to_field": to_field(request),
            "preserved_filters": self.get_preserved_filters(request),
            "several_workspaces": bool(if_several("workspace")),
        }


def is_tombstone(conversation: Conversation | None) -> bool:
    return conversation is not None and conversation.deleted_at is not None


def to_field(request: HttpRequest) -> str | None:
    """The column by which another model's page, which opened this one, refers to conversations."""
    return request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR))

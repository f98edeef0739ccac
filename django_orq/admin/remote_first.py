"""What the views that ask Orq share."""

from typing import Any, TypeGuard

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminToField
from django.contrib.admin.options import IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import ngettext

from ..mirror.once import do_once
from ..mirror.orders import Order
from ..models import Conversation, OperationItem
from ..store.database import outside_of_transactions
from .base import OrqAdmin
from .names import names
from .outcomes import conflict, explain_item, explain_repetition, was_eventful
from .users import orderer
from .workspaces import are_several

_REPEATS = "django_orq_repeats"
"""Of a request: whether its form had been sent before."""


class RemoteFirstAdmin(OrqAdmin[Conversation]):
    """Asks Orq first, in views that no transaction surrounds.

    The stock views of the admin save within a transaction and answer an exception with a server error that loses
    the form. These look the same, and show a failure beside the form as it was filled.
    """

    def get_urls(self) -> list[URLPattern]:
        """The stock ones outside of ``ATOMIC_REQUESTS`` too: no transaction is open while Orq is asked."""
        patterns = super().get_urls()
        outside_of_transactions(patterns)
        return patterns

    def _do_once(self, request: HttpRequest, verb: str, order: Order, form_token: str) -> OperationItem:
        """Do it in Orq, once for each form, and say it if that did not go as ever (but for a conflict)."""
        item, is_first = do_once(verb, order, by=orderer(request), form_token=form_token)
        setattr(request, _REPEATS, not is_first)
        if item.state != OperationItem.State.DONE:
            if conflict(item) is None:
                self.message_user(request, explain_item(item), messages.ERROR)
        elif was_eventful(item):
            self.message_user(request, explain_item(item), messages.WARNING)
        elif not is_first:
            self.message_user(request, explain_repetition(verb), messages.INFO)
        return item

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **options: Any) -> None:
        """A form that is sent again says nothing that still waits to be read from the time before."""
        if not (getattr(request, _REPEATS, False) and _is_waiting(request, str(message))):
            super().message_user(request, message, *args, **options)

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

    def _say_gone(self, request: HttpRequest, conversations: list[Conversation]) -> None:
        message = ngettext("%(names)s is deleted already.", "%(names)s are deleted already.", len(conversations))
        self._say_of(request, conversations, message, messages.WARNING)

    def _say_of(self, request: HttpRequest, conversations: list[Conversation], message: str, level: int) -> None:
        """``message`` has a place for their ``names``."""
        self.message_user(request, message % {"names": names(conversations)}, level)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **super()._page(request, title),
            "is_popup": IS_POPUP_VAR in request.POST or IS_POPUP_VAR in request.GET,
            "to_field": to_field(request),
            "preserved_filters": self.get_preserved_filters(request),
            "several_workspaces": are_several(),
        }


def _is_waiting(request: HttpRequest, message: str) -> bool:
    """Whether somebody has yet to read this message."""
    waiting: Any = messages.get_messages(request)
    found = message in map(str, list(waiting))
    waiting.used = False  # it was not shown now
    return found


def is_tombstone(conversation: Conversation | None) -> TypeGuard[Conversation]:
    return conversation is not None and conversation.deleted_at is not None


def to_field(request: HttpRequest) -> str | None:
    """The column by which another model's page, which opened this one, refers to conversations."""
    return request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR))

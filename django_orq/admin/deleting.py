"""The page that deletes."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext

from ..mirror.orders import Order, ordered_for
from ..models import Conversation, Operation, OperationItem
from .bulk_forms import digest_of_names
from .forms import new_token, posted_token
from .names import as_told
from .outcomes import row_follows
from .remote_first import RemoteFirstAdmin, is_tombstone, to_field


class DeletingAdmin(RemoteFirstAdmin):
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        conversation = self._find(request, object_id)
        if not self.has_delete_permission(request, None if is_tombstone(conversation) else conversation):
            raise PermissionDenied
        if conversation is None:
            return self._redirect_from_unknown(request, object_id)
        form_token = posted_token(request)
        if is_tombstone(conversation) and conversation.pk not in ordered_for(form_token):
            self._say_gone(request, [conversation])
            return self.response_post_save_change(request, conversation)
        if request.method == "POST":
            deletion = self._delete_once(request, conversation, form_token)
            if deletion is not None and deletion.state == OperationItem.State.DONE:
                return self._respond_deleted(request, conversation, deletion)
        return self._render_deletion(request, conversation, extra_context or {})

    def _delete_once(self, request: HttpRequest, conversation: Conversation, form_token: str) -> OperationItem | None:
        seen = request.POST.get("seen")
        if seen is not None and seen != digest_of_names([conversation]):
            message = gettext("It has been renamed since you opened this page. Look at it once more.")
            self.message_user(request, message, messages.WARNING)
            return None
        return self._do_once(request, Operation.Verb.DELETE, Order(conversation=conversation), form_token)

    def _respond_deleted(
        self, request: HttpRequest, conversation: Conversation, deletion: OperationItem
    ) -> HttpResponse:
        if not row_follows(deletion):
            return self.response_post_save_change(request, conversation)
        return self.response_delete(request, str(as_told(conversation)), self._key(request, conversation))

    def _key(self, request: HttpRequest, conversation: Conversation) -> Any:
        return conversation.serializable_value(to_field(request) or "pk")

    def _render_deletion(
        self, request: HttpRequest, conversation: Conversation, extra_context: dict[str, Any]
    ) -> HttpResponse:
        context = {
            **self._page(request, gettext("Delete")),
            "object": as_told(conversation),
            "conversation": conversation,
            "object_name": str(self.opts.verbose_name),
            "deleted_objects": [conversation],
            "seen": digest_of_names([conversation]),
            "form_token": new_token(),
            **extra_context,
        }
        return self.render_delete_form(request, context)

"""The page that deletes."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext

from ..mirror import delete_conversation
from ..models import Conversation
from .bulk_forms import digest_of_names
from .remote_first import RemoteFirstAdmin, is_tombstone, to_field


class DeletingAdmin(RemoteFirstAdmin):
    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        conversation = self._find(request, object_id)
        if not self.has_delete_permission(request, None if is_tombstone(conversation) else conversation):
            raise PermissionDenied
        if conversation is None:
            return self._redirect_from_unknown(request, object_id)
        if is_tombstone(conversation):
            self._say_gone(request, [conversation])
            return self.response_post_save_change(request, conversation)
        if request.method == "POST" and self._has_changed(request, conversation):
            message = gettext("It has been renamed since you opened this page. Look at it once more.")
            self.message_user(request, message, messages.WARNING)
        elif request.method == "POST" and self._order_deletion(request, conversation):
            self.log_deletions(request, [conversation])  # type: ignore[arg-type] # any iterable will do
            return self.response_delete(request, str(conversation), self._key(request, conversation))
        return self._render_deletion(request, conversation, extra_context or {})

    def _has_changed(self, request: HttpRequest, conversation: Conversation) -> bool:
        seen = request.POST.get("seen")
        return seen is not None and seen != digest_of_names([conversation])

    def _order_deletion(self, request: HttpRequest, conversation: Conversation) -> bool:
        def order() -> bool:
            delete_conversation(conversation, interactive=True)
            return True

        return self._attempt(request, "delete", order) or False

    def _key(self, request: HttpRequest, conversation: Conversation) -> Any:
        return conversation.serializable_value(to_field(request) or "pk")

    def _render_deletion(
        self, request: HttpRequest, conversation: Conversation, extra_context: dict[str, Any]
    ) -> HttpResponse:
        context = {
            **self._page(request, gettext("Delete")),
            "object": conversation,
            "object_name": str(self.opts.verbose_name),
            "deleted_objects": [conversation],
            "seen": digest_of_names([conversation]),
            **extra_context,
        }
        return self.render_delete_form(request, context)

"""The page and the action that delete."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..mirror import delete_conversation
from ..models import Conversation
from .deletion import Deletion, delete_each
from .failures import explain
from .presentation import names
from .remote_first import RemoteFirstAdmin, is_tombstone, to_field

MAX_SELECTED = 100
"""How many conversations one action deletes, since each is a request to Orq while a person waits."""


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
        if request.method == "POST" and self._order_deletion(request, conversation):
            self.log_deletions(request, [conversation])  # type: ignore[arg-type] # any iterable will do
            return self.response_delete(request, str(conversation), self._key(request, conversation))
        return self._render_deletion(request, conversation, extra_context or {})

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
            **extra_context,
        }
        return self.render_delete_form(request, context)

    @admin.action(permissions=["delete"], description=_("Delete selected %(verbose_name_plural)s"))
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponse | None:
        """In the stock action's place: asks first, then deletes in Orq one by one and says what became of each."""
        selected = list(queryset[: MAX_SELECTED + 1])
        if len(selected) > MAX_SELECTED:
            message = gettext("At most %(count)d conversations can be deleted at once. Nothing was deleted.")
            self.message_user(request, message % {"count": MAX_SELECTED}, messages.ERROR)
            return None
        if not request.POST.get("post"):
            return self._render_selected(request, selected)
        outcome = delete_each(selected)
        if outcome.deleted:
            self.log_deletions(request, outcome.deleted)  # type: ignore[arg-type] # any iterable will do
        self._say_outcome(request, outcome)
        return None

    def _render_selected(self, request: HttpRequest, selected: list[Conversation]) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self._page(request, gettext("Delete multiple objects")),
            "queryset": selected,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "media": self.media,
        }
        template = "admin/django_orq/conversation/delete_selected_confirmation.html"
        return TemplateResponse(request, self.delete_selected_confirmation_template or template, context)

    def _say_outcome(self, request: HttpRequest, outcome: Deletion) -> None:
        if outcome.deleted:
            message = ngettext("%(names)s was deleted.", "%(names)s were deleted.", len(outcome.deleted))
            self.message_user(request, message % {"names": names(outcome.deleted)}, messages.SUCCESS)
        if outcome.gone_before:
            self._say_gone(request, outcome.gone_before)
        for conversation, error in outcome.failed:
            message = f"{names([conversation])} ({conversation.remote_id}): {explain(error, 'delete')}"
            self.message_user(request, message, messages.ERROR)
        if outcome.untried:
            message = gettext("The others were not tried after that: %(names)s.")
            self.message_user(request, message % {"names": names(outcome.untried)}, messages.WARNING)

"""Operations in the admin: how far they are, and what became of each conversation."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Count, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from ..exceptions import ConversationChanged
from ..mirror.orders import retry, retryable, unsettled
from ..models import Conversation, Operation, OperationItem
from ..store.database import all_items, all_operations
from ..sync.report import Extent, is_being_done, remarks_on_operation
from .filters import SeveralFilter
from .handing_over import hand_over
from .names import isolated
from .outcomes import explain_item
from .progress import ProgressAdmin, answer_progress
from .read_only import ReadOnlyAdmin
from .times import local
from .users import orderer
from .workspaces import are_several

State, Verb = OperationItem.State, Operation.Verb
_SETTLED = (State.DONE, State.FAILED, State.UNKNOWN)


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin[Operation], ProgressAdmin[Operation]):
    """Whoever ordered an operation may look at it; with the permission to view operations, at those of others too."""

    ordering = ("-pk",)
    list_filter = (SeveralFilter, "verb")
    search_fields = ("ordered_by",)

    def own_urls(self) -> list[URLPattern]:
        views = {"progress": self.progress_view, "go_on": self.go_on_view, "retry": self.retry_view}
        return [self._own_url(name, view, below="<int:operation_id>/") for name, view in views.items()]

    def has_view_permission(self, request: HttpRequest, obj: Operation | None = None) -> bool:
        if super().has_view_permission(request, obj):
            return True
        return request.user.has_module_perms("django_orq") if obj is None else _is_own(request, obj)

    def may_order(self, request: HttpRequest, operation: Operation) -> bool:
        """Whether this person could order now what is left to do, or what failed, for each of the conversations."""
        if not self.has_view_permission(request, operation) or not self.admin_site.is_registered(Conversation):
            return False
        conversations: Any = self.admin_site.get_model_admin(Conversation)
        if operation.verb == Verb.CREATE:
            return bool(conversations.has_add_permission(request))
        items = retryable(operation) if operation.is_finished else unsettled(operation)
        rows = [item.conversation for item in items.select_related("conversation")]
        deletes = operation.verb == Verb.DELETE
        may = conversations.has_delete_permission if deletes else conversations.has_change_permission
        return may(request) and all(may(request, row) for row in rows if row is not None and row.deleted_at is None)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Operation]:
        counts = {f"n_{state}": _number(state) for state in _SETTLED}
        operations: QuerySet[Operation] = super().get_queryset(request).annotate(**counts, lone_name=_LONE_NAME)
        if super().has_view_permission(request):
            return operations
        return operations.filter(ordered_by_pk=str(request.user.pk))

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return ("name", "standing", "outcome", "ordered_by", "ordered_at")

    def get_fieldsets(self, request: HttpRequest, obj: Operation | None = None) -> Any:
        retried = ("retried_by",) if obj is not None and obj.retried_by else ()
        return [(None, {"fields": ("ordered_by", *retried, "ordered_at", "started_at", "finished_at")})]

    @method_decorator(require_GET)
    def progress_view(self, request: HttpRequest, operation_id: int) -> HttpResponse:
        """How far it is, for the page that shows it."""
        operation = self._find(request, operation_id)
        counts = _counts(operation)
        fields = {
            "state": _standing(operation),
            "remarks": "\n".join(remarks_on_operation(operation, tell=local)),
            **{f"item-{item.pk}": _state_and_outcome(item) for item in _items(operation)},
        }
        text = _in_words(operation, counts)
        return answer_progress(_extent(operation, counts), is_finished=operation.is_finished, text=text, fields=fields)

    @method_decorator(require_POST)
    def go_on_view(self, request: HttpRequest, operation_id: int) -> HttpResponse:
        """Tell a worker once more."""
        operation = self._find_to_order(request, operation_id)
        if operation.is_finished:
            message, level = gettext("Nothing was done: it is finished already."), messages.WARNING
        else:
            message, level = hand_over(operation)
        return self._say(request, operation, message, level)

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, operation_id: int) -> HttpResponse:
        """Have what failed done again."""
        operation = self._find_to_order(request, operation_id)
        if retry(operation, by=orderer(request)):
            message, level = hand_over(operation)
        else:
            message, level = gettext("Nothing was done: there is nothing that could be done again."), messages.WARNING
        return self._say(request, operation, message, level)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= self._describe(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def _describe(self, request: HttpRequest, operation: Operation) -> dict[str, Any]:
        counts, may_order = _counts(operation), self.may_order(request, operation)
        remarks = remarks_on_operation(operation, tell=local)
        return {
            "standing": _standing(operation),
            "extent": _extent(operation, counts),
            "counts": _in_words(operation, counts),
            "remarks": "\n".join(remarks),
            "items": [(item, _name_of(item), _state_and_outcome(item)) for item in _items(operation)],
            "renames": operation.verb == Verb.RENAME,
            "several_workspaces": are_several(),
            "links": self.admin_site.is_registered(Conversation),
            "offers_go_on": may_order and bool(remarks) and not operation.is_finished,
            "offers_retry": may_order and operation.is_finished and retryable(operation).exists(),
            "replaces": retryable(operation).filter(error_code=ConversationChanged.code).count(),
        }

    def _find(self, request: HttpRequest, operation_id: int) -> Operation:
        operation = all_operations().filter(pk=operation_id).first()
        if operation is None:
            raise Http404
        if not self.has_view_permission(request, operation):
            raise PermissionDenied
        return operation

    def _find_to_order(self, request: HttpRequest, operation_id: int) -> Operation:
        operation = self._find(request, operation_id)
        if not self.may_order(request, operation):
            raise PermissionDenied
        return operation

    def _say(self, request: HttpRequest, operation: Operation, message: str, level: int) -> HttpResponse:
        self.message_user(request, message, level)
        return HttpResponseRedirect(self._url_to("change", operation.pk))

    @admin.display(description=_("operation"), ordering="pk")
    def name(self, operation: Operation) -> str:
        lone_name = getattr(operation, "lone_name", None)
        if not lone_name:
            return str(operation)
        named = {"number": operation.pk, "verb": operation.get_verb_display(), "name": isolated(lone_name)}
        return gettext("#%(number)s: %(verb)s “%(name)s”") % named

    @admin.display(description=_("state"))
    def standing(self, operation: Operation) -> str:
        return _standing(operation)

    @admin.display(description=_("outcome"))
    def outcome(self, operation: Operation) -> str:
        counts: dict[str, int] = {state: getattr(operation, f"n_{state}") for state in _SETTLED}
        if operation.total == 1:
            return next((str(State(state).label) for state, count in counts.items() if count), "")
        return _in_words(operation, counts)


_LONE_NAME = Case(
    When(total=1, then=Subquery(OperationItem.objects.filter(operation=OuterRef("pk")).order_by().values("name")[:1]))
)
"""What the conversation of an operation on a single one is called, in a list of operations."""


def _number(state: str) -> Any:
    """How many items of an operation have this state, in a list of operations."""
    items = OperationItem.objects.filter(operation=OuterRef("pk"), state=state).order_by().values("operation")
    return Coalesce(Subquery(items.annotate(n=Count("pk")).values("n")), 0)


def _is_own(request: HttpRequest, operation: Operation) -> bool:
    return bool(operation.ordered_by_pk) and operation.ordered_by_pk == str(request.user.pk)


def _items(operation: Operation) -> QuerySet[OperationItem]:
    items = all_items().filter(operation=operation)
    return items.select_related("conversation", "operation").order_by("pk")


def _counts(operation: Operation) -> dict[str, int]:
    """How many items there are of each state."""
    return dict(_items(operation).select_related(None).order_by().values_list("state").annotate(Count("pk")))


def _extent(operation: Operation, counts: dict[str, int]) -> Extent:
    return Extent(done=sum(counts.get(state, 0) for state in _SETTLED), total=operation.total)


def _in_words(operation: Operation, counts: dict[str, int]) -> str:
    """“12 of 30: 10 done, 2 failed”."""
    part, extent = gettext("%(count)d %(state)s"), _extent(operation, counts)
    named = {"settled": extent.done, "total": extent.total}
    parts = [part % {"count": counts[state], "state": state.label} for state in _SETTLED if counts.get(state)]
    if not parts:
        return gettext("%(settled)d of %(total)d") % named
    return gettext("%(settled)d of %(total)d: %(parts)s") % {**named, "parts": ", ".join(parts)}


def _standing(operation: Operation) -> str:
    if operation.is_finished:
        return gettext("finished")
    if is_being_done(operation):
        return gettext("being done")
    return gettext("waiting") if operation.resume_at is not None else gettext("queued")


def _name_of(item: OperationItem) -> str:
    if item.conversation is not None:
        return item.name or item.conversation.remote_id
    return item.name or gettext("name no longer kept")


def _state_and_outcome(item: OperationItem) -> str:
    if item.state in (State.PENDING, State.SENT):
        return str(item.get_state_display())
    return explain_item(item)

"""Operations in the admin: their progress, and the outcome for each conversation."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.http import require_POST

from ..exceptions import ConversationChanged
from ..mirror.operations import retry, retryable
from ..models import Conversation, Operation, OperationItem, searching
from ..store.database import all_items, all_rows
from ..sync.report import Progress, is_being_done, remarks_on_operation
from ..tasks import enqueue_slice
from .base import ReadOnlyAdmin, admin_of, are_several, page_of
from .changes import MAX_PEOPLE, NEWEST, RecordedFilter, changes_url
from .filters import KnownChoiceFilter
from .lists import NewestList, found_by_id, kept, newest
from .texts import explain_item, local

State, Verb = OperationItem.State, Operation.Verb
_FINISHED = (State.DONE, State.FAILED, State.UNKNOWN)


class RequestedFilter(RecordedFilter):
    column = "requested_at"


class RequesterFilter(KnownChoiceFilter):
    title = _("person")
    parameter_name = "requested_by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        operations = newest(model_admin.get_queryset(request)).order_by("-pk")
        names = filter(None, operations.values_list("requested_by", flat=True)[:NEWEST])
        return [(name, name) for name in [*dict.fromkeys(names)][:MAX_PEOPLE]]


class OutcomeFilter(KnownChoiceFilter):
    title = _("outcome")
    parameter_name = "outcome"
    offered = (
        ("failed", _("Some failed")),
        ("unknown", _("Some unknown")),
        ("done", _("All done")),
        ("unfinished", _("Unfinished")),
    )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Operation]) -> QuerySet[Operation]:
        conditions: dict[Any, dict[str, Any]] = {
            None: {},
            "failed": {"n_failed__gt": 0},
            "unknown": {"n_unknown__gt": 0},
            "done": {"finished_at__isnull": False, "n_failed": 0, "n_unknown": 0},
            "unfinished": {"finished_at": None},
        }
        return queryset.filter(**conditions[self.value()])


def enqueue(operation: Operation) -> tuple[str, int]:
    """Notify a worker; return the message to show and its level."""
    enqueue_slice(operation)
    if operation.ticket:
        return gettext("Queued for a worker."), messages.SUCCESS
    return gettext(
        "The request is saved, but no worker could be notified. The next sync that a worker runs will process it."
    ), messages.WARNING


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    """Shows users the operations that they requested; with the permission to view operations, all of them."""

    ordering = ("-pk",)
    list_display = ("__str__", "standing", "outcome", "requested_by", "requested_at")
    list_filter = (RequestedFilter, RequesterFilter, OutcomeFilter, "verb")
    search_fields = ("requested_by",)
    search_help_text = _(
        "Words from the name of a conversation, the beginning of an Orq id (conv_…), or a person. Names are searched "
        "in the newest operations, on up to 100,000 conversations."
    )
    own_list = NewestList
    own_views: ClassVar[Any] = {"retry": "<int:operation_id>/"}

    def has_view_permission(self, request: HttpRequest, obj: Operation | None = None) -> bool:
        if super().has_view_permission(request, obj):
            return True
        if obj is None:
            return request.user.has_module_perms("django_orq")
        return obj.requested_by_pk == str(request.user.pk)

    def may_retry(self, request: HttpRequest, operation: Operation) -> bool:
        """Whether the user may request the retryable items again: this takes the permission for each conversation."""
        conversations = admin_of(self.admin_site, Conversation)
        if not self.has_view_permission(request, operation) or conversations is None:
            return False
        items = retryable(operation).select_related("conversation")
        if operation.verb == Verb.CREATE:
            is_allowed = conversations.may_use(request, *(item.workspace for item in items))
            return bool(is_allowed and conversations.has_add_permission(request))
        rows = {item.conversation for item in items if item.conversation is not None}
        shown = conversations.get_queryset(request).filter(pk__in=[row.pk for row in rows]).count()
        deletes = operation.verb == Verb.DELETE
        may = conversations.has_delete_permission if deletes else conversations.has_change_permission
        return shown == len(rows) and may(request) and all(may(request, row) for row in rows if row.deleted_at is None)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Operation]:
        operations = _counted(super().get_queryset(request))
        if super().has_view_permission(request):
            return operations
        return operations.filter(requested_by_pk=str(request.user.pk))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet[Any], bool]:
        """Also find operations on conversations with this name or Orq id."""
        found, may_repeat = super().get_search_results(request, queryset, search_term)
        if not (term := search_term.strip()[: searching.MAX_TERM]):
            return found, may_repeat
        items = OperationItem.objects.using(queryset.db)
        if searching.is_id(term):
            items = items.filter(conversation__in=found_by_id(term, queryset.db))
        else:
            named = (Q(name__icontains=word) | Q(new_name__icontains=word) for word in term.split())
            items = newest(items).filter(*named)
        # Not “or”: for many items, PostgreSQL would read the list of them once for each operation.
        either = found.order_by().values("pk").union(items.values("operation"))
        return queryset.filter(pk__in=either), False

    def own_fieldsets(self, request: HttpRequest, obj: Operation | None) -> list[Any]:
        retried = ("retried_by",) if obj is not None and obj.retried_by else ()
        return [(None, {"fields": ("requested_by", *retried, "requested_at", "started_at", "finished_at")})]

    @method_decorator(require_POST)
    def retry_view(self, request: HttpRequest, operation_id: int) -> HttpResponse:
        """Try the items again that failed or whose outcome is unknown."""
        operation = get_object_or_404(self.get_queryset(request), pk=operation_id)
        if not self.may_retry(request, operation):
            raise PermissionDenied
        nothing = gettext("It is being retried already, or nothing is left to be retried."), messages.WARNING
        self.message_user(request, *(enqueue(operation) if retry(operation, by=request.user) else nothing))
        return HttpResponseRedirect(kept(self, request, self._url_to("change", operation.pk)))

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        operation, again = context["original"], retryable(context["original"])
        items = [(item, explain_item(item)) for item in _with_candidates(operation)]
        changed = items[0][0].workspace if items and operation.changes.exists() else ""
        context |= {
            "standing": self.standing(operation),
            "extent": Progress(done=sum(count for count, _label in _outcomes(operation)), total=operation.total),
            "counts": self.outcome(operation),
            "remarks": "\n".join(remarks_on_operation(operation, format_time=local)),
            "is_watched": not operation.is_finished,
            "items": items,
            "changes": changed and changes_url(request, self.admin_site, changed, operation__id__exact=operation.pk),
            "conversation_page": page_of(request, self.admin_site, Conversation),
            "renames": operation.verb == Verb.RENAME,
            "several_workspaces": are_several(),
            "offers_retry": operation.is_finished and again.exists() and self.may_retry(request, operation),
            "replaces": again.filter(error_code=ConversationChanged.code).count(),
        }
        return self._framed(super().render_change_form(request, context, *args, **kwargs), "form")

    @admin.display(description=_("state"))
    def standing(self, operation: Operation) -> str:
        if operation.is_finished:
            return gettext("finished")
        if is_being_done(operation):
            return gettext("in progress")
        return gettext("waiting") if operation.resume_at is not None else gettext("queued")

    @admin.display(description=_("outcome"))
    def outcome(self, operation: Operation) -> str:
        """Return, for example, “12 of 30: 10 done, 2 failed”; for a single conversation, only its state."""
        found = _outcomes(operation)
        if operation.total == 1:
            return "".join(str(label) for _count, label in found)
        parts = ", ".join(gettext("%(count)d %(state)s") % {"count": count, "state": label} for count, label in found)
        settled = {"settled": sum(count for count, _label in found), "total": operation.total}
        return ": ".join(filter(None, [gettext("%(settled)d of %(total)d") % settled, parts]))


def _counted(operations: QuerySet[Operation]) -> QuerySet[Operation]:
    """The operations, annotated with the number of items for each outcome."""
    return operations.annotate(**{f"n_{state}": _number(state) for state in _FINISHED})


def _number(state: str) -> Any:
    items = OperationItem.objects.filter(operation=OuterRef("pk"), state=state).order_by().values("operation")
    return Coalesce(Subquery(items.annotate(n=Count("pk")).values("n")), 0)


def _with_candidates(operation: Operation) -> list[Any]:
    """The items, each with the conversations that may be the result of a creation whose outcome is unknown."""
    found = all_items().filter(operation=operation).select_related("conversation", "operation").order_by("pk")
    items: list[Any] = list(found)
    unknown = {pk for item in items if item.state == State.UNKNOWN for pk in item.note.get("candidates", ())}
    rows = all_rows().in_bulk(unknown)
    for item in items:
        item.candidates = [rows[pk] for pk in item.note.get("candidates", ()) if pk in rows]
    return items


def _outcomes(operation: Any) -> list[tuple[int, Any]]:
    """The number of items for each outcome that occurs, with its label."""
    return [(count, state.label) for state in _FINISHED if (count := getattr(operation, f"n_{state}"))]

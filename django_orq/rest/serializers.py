"""Request and response bodies, and query parameters."""

from datetime import datetime
from typing import Any

from django.db.models import BigAutoField, BigIntegerField, DateTimeField
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from rest_framework import ISO_8601, serializers

from ..models import Conversation, ConversationChange, ConversationState, SyncRun
from ..models.searching import MAX_TERM
from ..payloads import MAX_NAME, REMOTE_ID
from ..sync.report import counts, how_far, remarks
from ..sync.runs import Freshness

__all__ = ["ApproveSerializer", "ConversationChangeSerializer", "ConversationSerializer", "FetchSerializer"]
__all__ += ["RenameSerializer", "StartSerializer", "SyncRunDetailSerializer", "SyncRunSerializer"]

MAX_PAGE_SIZE = 100


class NothingSerializer(serializers.Serializer[Any]):
    """The body of a request to an action that takes none."""


class NameField(serializers.CharField):
    """A name, unchanged: ``django_orq.mirror`` strips and validates it."""

    def __init__(self, **options: Any) -> None:
        help_text = format_lazy(_("1 to {most} characters."), most=MAX_NAME)
        super().__init__(trim_whitespace=False, allow_blank=True, help_text=help_text, **options)


class TimeField(serializers.DateTimeField):
    """A time in ISO 8601 with full precision, in requests and responses, whatever the project's ``DATETIME_FORMAT``.

    A client can send back ``remote_updated_at`` unchanged. A time without an offset is in the current time zone.
    """

    format = ISO_8601
    input_formats = (ISO_8601,)

    def enforce_timezone(self, value: datetime) -> datetime:
        try:
            return super().enforce_timezone(value)
        except OverflowError:  # in the first or last hours of the calendar, depending on the time zone
            self.fail("overflow")


# The stock fields of big integers show them as strings if the project sets COERCE_BIGINT_TO_STRING.
_FIELDS: Any = {DateTimeField: TimeField} | dict.fromkeys((BigAutoField, BigIntegerField), serializers.IntegerField)


class MirrorSerializer(serializers.ModelSerializer[Any]):
    """Shows times and numbers in one form, whatever the project's settings."""

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | _FIELDS


class ConversationSerializer(MirrorSerializer):
    """A conversation in the mirror. Only `display_name` can be written."""

    display_name = NameField()
    state = serializers.ChoiceField(choices=ConversationState.choices, read_only=True)
    metadata = serializers.DictField(read_only=True, allow_null=True)
    extra = serializers.DictField(read_only=True)

    class Meta:
        model = Conversation
        fields: tuple[str, ...] = (
            *("workspace", "remote_id", "display_name", "state"),
            *("remote_created_at", "remote_updated_at", "created_by_id", "updated_by_id", "metadata", "extra"),
            *("mirrored_at", "missing_since", "confirmed_at", "deleted_at"),
        )
        read_only_fields = tuple(name for name in fields if name != "display_name")


class ConversationChangeSerializer(MirrorSerializer):
    """A change of a conversation."""

    remote_id = serializers.CharField(source="conversation.remote_id", help_text=_("The conversation's Orq id."))
    changed_metadata = serializers.ListField(source="fields", help_text=_("The keys of the metadata that changed."))
    actor_name = serializers.SerializerMethodField(help_text=_("The name of who made it; null if it is not known."))

    class Meta:
        model = ConversationChange
        fields = (
            *("id", "workspace", "remote_id", "kind", "old_name", "new_name", "changed_metadata"),
            *("origin", "actor_id", "actor_name", "run", "operation", "remote_updated_at", "recorded_at"),
        )
        read_only_fields = fields

    def get_actor_name(self, change: Any) -> str | None:
        if change.origin == ConversationChange.Origin.HERE:
            return change.actor_name or None
        names: dict[str, str] = self.context.get("people", {})
        return names.get(change.actor_id)


class RenameSerializer(serializers.Serializer[Any]):
    """A new name."""

    display_name = NameField()
    expected_updated_at = TimeField(
        write_only=True, required=False, help_text=_("The remote_updated_at that you read; if it has changed, 409.")
    )


class CurrentConversationSerializer(serializers.Serializer[Any]):
    """The conversation as it is in Orq now."""

    remote_id = serializers.CharField()
    display_name = serializers.CharField()
    updated_at = TimeField(help_text=_("To replace this name, send this time as expected_updated_at."))
    updated_by_id = serializers.CharField(allow_null=True)


class FetchSerializer(serializers.Serializer[Any]):
    remote_id = serializers.RegexField(
        f"^{REMOTE_ID.pattern}$",
        help_text=_("The Orq id of a conversation: conv_ and 26 characters."),
        error_messages={"invalid": _("This is not a conversation id (conv_ and 26 characters).")},
    )


class PageQuery(serializers.Serializer[Any]):
    """The query parameters of every list. Unknown ones are errors, because a list without its filter would mislead."""

    workspace = serializers.CharField(required=False, allow_blank=True, help_text=_("An alias."))
    format = serializers.CharField(required=False, allow_blank=True, help_text=_("csv exports the whole list."))
    cursor = serializers.CharField(required=False, allow_blank=True, help_text=_("The cursor from next or previous."))
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_PAGE_SIZE, help_text=_("Items per page, by default 25.")
    )

    def to_internal_value(self, data: Any) -> Any:
        text = _("There is no such parameter here. Parameters: %(known)s.")
        if unknown := [name for name in data if name not in self.fields]:
            known = ", ".join(sorted(self.fields))
            raise serializers.ValidationError({name: text % {"known": known} for name in unknown})
        return super().to_internal_value(data)


class ConversationQuery(PageQuery):
    """The query parameters of the list of conversations. ``…_after`` includes its time, ``…_before`` does not."""

    lookups = {"updated_after": "remote_updated_at__gte", "updated_before": "remote_updated_at__lt"}  # noqa: RUF012 # constant
    state = serializers.ChoiceField(
        [*ConversationState.choices, ("any", _("any"))], required=False, help_text=_("By default, all except deleted.")
    )
    created_after = TimeField(required=False, help_text=_("Created at this time or later."))
    created_before = TimeField(required=False, help_text=_("Created before this time."))
    updated_after = TimeField(required=False, help_text=_("Updated at this time or later."))
    updated_before = TimeField(required=False, help_text=_("Updated before this time."))
    search = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_TERM, help_text=_("Part of a name, or the start of an id.")
    )

    ordering = serializers.ChoiceField(
        ("created", "-created", "updated", "-updated"), required=False, help_text=_("By default -created.")
    )
    before = serializers.RegexField(
        f"^{REMOTE_ID.pattern}$", required=False, help_text=_("Only conversations that are older than this id.")
    )

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        by_update = self.lookups.keys() & values.keys()
        ordering = values.get("ordering", "-updated" if by_update and not values.get("search") else "-created")
        values["by_update"] = ordering.endswith("updated")
        values["ascending"] = not ordering.startswith("-")
        if "state" in values and (by_update or values["by_update"]):  # no index serves both
            raise serializers.ValidationError({"state": _("Not with times or the order of updates.")})
        if by_update and not (values["by_update"] or values.get("search")):
            raise serializers.ValidationError({"ordering": _("With updated_after or updated_before: by updated.")})
        return values


class ChangeQuery(PageQuery):
    """The query parameters of the lists of changes. They compare the times of recording."""

    lookups = {"origin": "origin", "kind": "kind", "actor": "actor_id"}  # noqa: RUF012 # constant
    lookups |= {"since": "recorded_at__gte", "until": "recorded_at__lt"}
    since = TimeField(required=False, help_text=_("Recorded at this time or later."))
    until = TimeField(required=False, help_text=_("Recorded before this time."))
    origin = serializers.ChoiceField(ConversationChange.Origin.choices, required=False)
    kind = serializers.ChoiceField(ConversationChange.Kind.choices, required=False)
    actor = serializers.CharField(required=False, max_length=255, help_text=_("The actor_id of who made the change."))


class ProgressSerializer(serializers.Serializer[Any]):
    """The progress of a run."""

    done = serializers.IntegerField(help_text=_("The number of conversations processed."))
    total = serializers.IntegerField(allow_null=True, help_text=_("The expected number; null while it is unknown."))
    text = serializers.CharField(help_text=_("The progress, in words."))

    def to_representation(self, run: SyncRun) -> dict[str, Any]:
        progress = how_far(run)
        return {"done": progress.done, "total": progress.total, "text": counts(run)}


class ApprovalSerializer(serializers.Serializer[Any]):
    """An approval of a run that was stopped for review."""

    reason = serializers.ChoiceField(choices=SyncRun.Approval.choices)
    by = serializers.CharField(help_text=_("The name of the user who approved the run."))
    at = TimeField(help_text=_("The time of the approval."))
    to_approve = serializers.IntegerField(help_text=_("How many conversations were missing when the run was stopped."))


class ChoiceOrNullField(serializers.ChoiceField):
    """A choice, or null for an empty value."""

    def __init__(self, *, choices: Any, help_text: Any) -> None:
        super().__init__(choices=choices, help_text=help_text, read_only=True, allow_null=True)

    def to_representation(self, value: Any) -> Any:
        return super().to_representation(value) or None


class SyncRunSerializer(MirrorSerializer):
    """A sync run in a list."""

    wait = ChoiceOrNullField(choices=SyncRun.Wait.choices, help_text=_("Why it is waiting."))
    needs_approval = ChoiceOrNullField(choices=SyncRun.Approval.choices, help_text=_("Why it was stopped for review."))
    approvals = ApprovalSerializer(many=True, read_only=True)

    class Meta:
        model = SyncRun
        fields: tuple[str, ...] = (
            *("id", "workspace", "mode", "state", "phase"),
            *("queued_at", "started_at", "checkpoint_at", "resume_at", "finished_at", "wait"),
            *("requests", "pages", "seen", "created", "updated", "unchanged"),
            *("restored", "skipped", "outdated", "rejected", "missing", "unlisted", "tombstoned", "to_approve"),
            *("needs_approval", "approvals", "is_complete", "error_code", "error_message"),
        )
        read_only_fields = fields


class SyncRunDetailSerializer(SyncRunSerializer):
    """A sync run with its progress, and with remarks: sentences about its problems."""

    progress = ProgressSerializer(source="*", read_only=True)
    remarks = serializers.SerializerMethodField()

    class Meta(SyncRunSerializer.Meta):
        fields = (*SyncRunSerializer.Meta.fields, "progress", "remarks")

    def get_remarks(self, run: SyncRun) -> list[str]:
        return remarks(run)


class StartSerializer(serializers.Serializer[Any]):
    mode = serializers.ChoiceField(
        choices=SyncRun.Mode.choices,
        default=SyncRun.Mode.INCREMENTAL.value,
        help_text=_("incremental fetches new conversations; full also finds renamed and deleted ones."),
        error_messages={"invalid_choice": _("Must be incremental or full.")},  # the value may not be encodable
    )


class ApproveSerializer(serializers.Serializer[Any]):
    reason = serializers.ChoiceField(
        choices=SyncRun.Approval.choices,
        help_text=_("The needs_approval that you read. If it has changed since then, nothing is done (409)."),
        error_messages={"invalid_choice": _("Must be mass_delete, no_canary or workspace_doubted.")},
    )


class SyncRunQuery(PageQuery):
    lookups = {"mode": "mode", "state": "state"}  # noqa: RUF012 # constant
    mode = serializers.ChoiceField(choices=SyncRun.Mode.choices, required=False)
    state = serializers.ChoiceField(choices=SyncRun.State.choices, required=False)


class FreshnessSerializer(serializers.Serializer[Freshness]):
    """How recent the mirrored data is.

    `last_incremental` is null until there is a complete run, `last_full` until there is a complete full run that
    needs no approval. Neither says anything about rejected items, or about conversations that Orq's list omits.
    """

    last_incremental = TimeField(allow_null=True, help_text=_("Conversations created before this time are mirrored."))
    last_full = TimeField(allow_null=True, help_text=_("Renames and deletions before this time are mirrored."))

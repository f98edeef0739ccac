"""What goes over the wire. Times are ISO 8601; one without an offset is in the server's time zone."""

from datetime import datetime
from typing import Any

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from ..models import Conversation, ConversationState, SyncRun
from ..models.searching import MAX_TERM
from ..payloads import MAX_NAME, REMOTE_ID
from ..sync.report import counts, how_far, remarks
from ..sync.runs import Freshness

__all__ = [
    "ApproveSerializer",
    "ConversationSerializer",
    "FetchSerializer",
    "RenameSerializer",
    "StartSerializer",
    "SyncRunDetailSerializer",
    "SyncRunSerializer",
]

MAX_PAGE_SIZE = 100


class NothingSerializer(serializers.Serializer[Any]):
    """What an action reads that wants no body."""


class NameField(serializers.CharField):
    """A name as it was typed: the mirror trims and checks it."""

    def __init__(self, **options: Any) -> None:
        help_text = format_lazy(_("1 to {most} characters."), most=MAX_NAME)
        super().__init__(trim_whitespace=False, allow_blank=True, help_text=help_text, **options)


class TimeField(serializers.DateTimeField):
    """A time without an offset is in the server's time zone, where one at an end of all time may be none."""

    def enforce_timezone(self, value: datetime) -> datetime:
        try:
            return super().enforce_timezone(value)
        except OverflowError:
            self.fail("overflow")


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A conversation as the mirror has it. ``display_name`` is what can be written: 1 to 100 characters."""

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


class RenameSerializer(serializers.Serializer[Any]):
    """What a rename reads."""

    display_name = NameField()
    expected_updated_at = TimeField(
        write_only=True,
        required=False,
        help_text=_("The remote_updated_at that you saw: somebody's newer rename is then not replaced (409)."),
    )


class CurrentConversationSerializer(serializers.Serializer[Any]):
    """What Orq has now."""

    remote_id = serializers.CharField()
    display_name = serializers.CharField()
    updated_at = serializers.DateTimeField(help_text=_("To be expected by a rename that shall replace it."))
    updated_by_id = serializers.CharField(allow_null=True)


class FetchSerializer(serializers.Serializer[Any]):
    remote_id = serializers.RegexField(
        f"^{REMOTE_ID.pattern}$",
        help_text=_("The Orq id, conv_…"),
        error_messages={"invalid": _("This is not a conversation id: conv_ and 26 characters.")},
    )


class PageQuery(serializers.Serializer[Any]):
    """What every list is asked for by."""

    cursor = serializers.CharField(required=False, allow_blank=True, help_text=_("As next and previous have it."))
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_PAGE_SIZE, help_text=_("How many are on a page; 25 by default.")
    )


class ConversationQuery(PageQuery):
    """By what the list of conversations is filtered; ``…_after`` includes its time, ``…_before`` does not."""

    state = serializers.ChoiceField(
        [*ConversationState.choices, ("any", _("any"))],
        required=False,
        help_text=_("By default all but deleted ones."),
    )
    created_after = TimeField(required=False, help_text=_("Created at this time or later."))
    created_before = TimeField(required=False, help_text=_("Created before this time."))
    updated_after = TimeField(required=False, help_text=_("Updated at this time or later."))
    updated_before = TimeField(required=False, help_text=_("Updated before this time."))
    search = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_TERM, help_text=_("Parts of a name, or how an Orq id begins.")
    )


class ProgressSerializer(serializers.Serializer[Any]):
    """How far a run is."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text=_("Null while nobody knows how long the list is."))
    text = serializers.CharField()

    def to_representation(self, run: SyncRun) -> dict[str, Any]:
        progress = how_far(run)
        return {"done": progress.done, "total": progress.total, "text": counts(run)}


class ApprovalSerializer(serializers.Serializer[Any]):
    """Who let a run go on that had stopped for its ``reason``."""

    reason = serializers.ChoiceField(choices=SyncRun.Approval.choices)
    by = serializers.CharField(help_text=_("The name of the user."))
    at = serializers.DateTimeField()
    to_approve = serializers.IntegerField(help_text=_("How many conversations waited for it."))


class ChoiceOrNullField(serializers.ChoiceField):
    """A choice that is shown as null where it was not made."""

    def __init__(self, *, choices: Any, help_text: Any) -> None:
        super().__init__(choices=choices, help_text=help_text, read_only=True, allow_null=True)

    def to_representation(self, value: Any) -> Any:
        return super().to_representation(value) or None


class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    """A sync run as a list shows it."""

    wait = ChoiceOrNullField(choices=SyncRun.Wait.choices, help_text=_("Why it waits."))
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
    """A sync run with how far it is, and what a person should know about it."""

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
        help_text=_("incremental: what is new; full: everything, deletions too."),
        error_messages={"invalid_choice": _("Say incremental or full.")},  # and don't quote what may be no text
    )


class ApproveSerializer(serializers.Serializer[Any]):
    reason = serializers.ChoiceField(
        choices=SyncRun.Approval.choices,
        help_text=_("The needs_approval that you saw: a run that stopped for another reason since is left alone."),
        error_messages={"invalid_choice": _("Say mass_delete, no_canary or workspace_doubted.")},
    )


class SyncRunQuery(PageQuery):
    mode = serializers.ChoiceField(choices=SyncRun.Mode.choices, required=False)
    state = serializers.ChoiceField(choices=SyncRun.State.choices, required=False)


class FreshnessSerializer(serializers.Serializer[Freshness]):
    """When the newest complete run of each kind began; null if there was none."""

    last_incremental = serializers.DateTimeField(allow_null=True, help_text=_("What existed then is mirrored."))
    last_full = serializers.DateTimeField(allow_null=True, help_text=_("Renames and deletions up to then are too."))

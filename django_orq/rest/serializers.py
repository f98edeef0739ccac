"""What goes over the wire. Times are ISO 8601; one without an offset is in the server's time zone."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from ..mirror import Renamed
from ..models import Conversation, ConversationState, SyncRun
from ..payloads import REMOTE_ID
from ..sync.report import counts, how_far, remarks
from ..sync.runs import Mode

__all__ = [
    "ConversationSerializer",
    "FetchSerializer",
    "RenameSerializer",
    "StartSerializer",
    "SyncRunDetailSerializer",
    "SyncRunSerializer",
]

if TYPE_CHECKING:
    from ..sync.runs import Freshness

    _Plain = serializers.Serializer[Any]
    _OfFreshness = serializers.Serializer[Freshness]
else:
    _Plain = _OfFreshness = serializers.Serializer


class NameField(serializers.CharField):
    """A name as it was typed: the mirror trims and checks it. Numbers are none."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **options})

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return data if data == "" else super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class NamedChoice(serializers.ChoiceField):
    """A choice that bears one name in every description of the views, whatever else the project describes.

    Shown as null where it was not made.
    """

    def __init__(self, *, choices: Any, schema_name: str, **options: Any) -> None:
        self.schema_name = schema_name
        super().__init__(choices=choices, **options)

    def to_representation(self, value: Any) -> Any:
        return super().to_representation(value) or None


class NothingSerializer(_Plain):
    """What an action reads that wants no body."""


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A conversation as the mirror has it. ``display_name`` is what can be written: 1 to 100 characters."""

    display_name = NameField()
    state = NamedChoice(choices=ConversationState.choices, schema_name="ConversationState", read_only=True)
    metadata = serializers.DictField(read_only=True, allow_null=True)
    extra = serializers.DictField(read_only=True)

    class Meta:
        model = Conversation
        fields: tuple[str, ...] = (
            "workspace",
            "remote_id",
            "display_name",
            "state",
            "remote_created_at",
            "remote_updated_at",
            "created_by_id",
            "updated_by_id",
            "metadata",
            "extra",
            "mirrored_at",
            "missing_since",
            "confirmed_at",
            "deleted_at",
        )
        read_only_fields = tuple(name for name in fields if name != "display_name")


class TimeField(serializers.DateTimeField):
    """A time without a zone is of the reader's, and one at an end of all time may have none there."""

    def enforce_timezone(self, value: datetime) -> datetime:
        try:
            return super().enforce_timezone(value)
        except OverflowError:
            self.fail("overflow")


class RenameSerializer(_Plain):
    """What a rename reads."""

    display_name = NameField()
    expected_updated_at = TimeField(
        write_only=True,
        required=False,
        help_text=_("The remote_updated_at that you saw: somebody's newer rename is then not replaced (409)."),
    )
    renamed: Renamed | None = None
    """What the rename did; set by who calls for it."""


class CameBetweenSerializer(_Plain):
    """What the answer to a rename says beside the conversation."""

    replaced = serializers.CharField(
        allow_null=True, help_text=_("The name that somebody gave it at the same moment, and that yours replaced.")
    )
    overtaken_by = serializers.CharField(allow_null=True, help_text=_("The name that has replaced yours already."))


class CurrentSerializer(_Plain):
    """What Orq has now."""

    remote_id = serializers.CharField()
    display_name = serializers.CharField()
    updated_at = serializers.DateTimeField(help_text=_("To be expected by a rename that shall replace it."))
    updated_by_id = serializers.CharField(allow_null=True)


class FetchSerializer(_Plain):
    remote_id = serializers.RegexField(
        f"^{REMOTE_ID.pattern}$",
        help_text=_("The Orq id, conv_…"),
        error_messages={
            "invalid": _("This is no Orq id: conv_ and 26 lower-case letters and digits, without i, l, o and u.")
        },
    )


class ConversationQuery(_Plain):
    """By what the list of conversations is filtered; ``…_after`` includes its time, ``…_before`` does not."""

    state = serializers.ChoiceField(
        choices=[*ConversationState.choices, ("any", _("any"))],
        required=False,
        help_text=_("Without it, all but deleted ones are listed."),
    )
    created_after = TimeField(required=False, help_text=_("Created at this time or later."))
    created_before = TimeField(required=False, help_text=_("Created before this time."))
    updated_after = TimeField(required=False, help_text=_("Updated at this time or later."))
    updated_before = TimeField(required=False, help_text=_("Updated before this time."))


class ExtentSerializer(_Plain):
    """How far a run is."""

    done = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True, help_text=_("Null while nobody knows how long the list is."))
    text = serializers.CharField()

    def to_representation(self, run: SyncRun) -> dict[str, Any]:
        extent = how_far(run)
        return super().to_representation({"done": extent.done, "total": extent.total, "text": counts(run)})


class SyncRunSerializer(serializers.ModelSerializer[SyncRun]):
    """A sync run as a list shows it."""

    mode = NamedChoice(choices=Mode.choices, schema_name="SyncRunMode", read_only=True)
    state = NamedChoice(choices=SyncRun.State.choices, schema_name="SyncRunState", read_only=True)
    phase = NamedChoice(choices=SyncRun.Phase.choices, schema_name="SyncRunPhase", read_only=True)
    wait = NamedChoice(
        choices=SyncRun.Wait.choices,
        schema_name="SyncRunWait",
        read_only=True,
        allow_null=True,
        help_text=_("Why it waits."),
    )
    needs_approval = NamedChoice(
        choices=SyncRun.Approval.choices,
        schema_name="SyncRunApproval",
        read_only=True,
        allow_null=True,
        help_text=_("Why it was stopped for review."),
    )

    class Meta:
        model = SyncRun
        fields: tuple[str, ...] = (
            "id",
            "workspace",
            "mode",
            "state",
            "phase",
            "queued_at",
            "started_at",
            "checkpoint_at",
            "resume_at",
            "finished_at",
            "wait",
            "requests",
            "pages",
            "seen",
            "created",
            "updated",
            "unchanged",
            "restored",
            "skipped",
            "outdated",
            "rejected",
            "missing",
            "unlisted",
            "tombstoned",
            "held",
            "needs_approval",
            "approvals",
            "is_complete",
            "error_code",
            "error_message",
        )
        read_only_fields = fields


class SyncRunDetailSerializer(SyncRunSerializer):
    """A sync run with how far it is, and what a person should know about it."""

    progress = ExtentSerializer(source="*", read_only=True)
    remarks = serializers.SerializerMethodField()

    class Meta(SyncRunSerializer.Meta):
        fields = (*SyncRunSerializer.Meta.fields, "progress", "remarks")
        read_only_fields = fields

    def get_remarks(self, run: SyncRun) -> list[str]:
        return remarks(run)


STARTABLE = [(mode.value, mode.label) for mode in (Mode.INCREMENTAL, Mode.FULL)]
"""Modes that can be started; a confirmation is what a held run goes on with."""


class StartSerializer(_Plain):
    mode = NamedChoice(
        choices=STARTABLE,
        schema_name="StartableMode",
        default=Mode.INCREMENTAL.value,
        help_text=_("incremental: what is new; full: everything, deletions too."),
    )


class SyncRunQuery(_Plain):
    mode = serializers.ChoiceField(choices=Mode.choices, required=False)
    state = serializers.ChoiceField(choices=SyncRun.State.choices, required=False)


class FreshnessSerializer(_OfFreshness):
    """When the newest complete run of each kind began; null if there was none."""

    new = serializers.DateTimeField(allow_null=True, help_text=_("What existed then is mirrored."))
    everything = serializers.DateTimeField(allow_null=True, help_text=_("Renames and deletions up to then are too."))

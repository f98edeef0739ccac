from rest_framework import serializers

from ..models import Conversation


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    """A conversation as the mirror has it. Times are ISO 8601; ``state`` is live, unlisted, missing or deleted."""

    state = serializers.CharField(read_only=True)

    class Meta:
        model = Conversation
        fields = (
            "workspace",
            "remote_id",
            "display_name",
            "state",
            "remote_created_at",
            "remote_updated_at",
            "created_by_id",
            "updated_by_id",
            "metadata",
            "mirrored_at",
            "deleted_at",
        )
        read_only_fields = fields

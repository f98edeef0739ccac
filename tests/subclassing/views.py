"""The REST door as a project changes it: rows left out in each of REST framework's ways, fields of its own."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import filters, permissions, serializers

from django_orq.rest.serializers import ConversationSerializer
from django_orq.rest.views import ConversationViewSet, SyncRunViewSet

HIDDEN, OTHERS, SECRET = "Hidden", "Others’", "Secret"


class NothingSecret(permissions.BasePermission):
    def has_object_permission(self, request: Any, view: Any, row: Any) -> bool:
        return bool(row.display_name != SECRET)


class OursAlone(filters.BaseFilterBackend):
    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        return queryset.exclude(display_name=OTHERS)


class Shouting(ConversationSerializer):
    shouted = serializers.SerializerMethodField()
    note = serializers.CharField(write_only=True, required=False)

    class Meta(ConversationSerializer.Meta):
        fields = ("remote_id", "display_name", "shouted", "note")

    def get_shouted(self, row: Any) -> str:
        return str(row.display_name).upper()


class Names(ConversationSerializer):
    class Meta(ConversationSerializer.Meta):
        fields = ("display_name",)


class OwnConversations(ConversationViewSet):
    serializer_class = Shouting
    serializer_classes = {"list": Names}  # noqa: RUF012 # as a project writes it
    permission_classes = (*ConversationViewSet.permission_classes, NothingSecret)
    filter_backends = (*ConversationViewSet.filter_backends, OursAlone)

    def get_queryset(self) -> Any:
        return super().get_queryset().exclude(display_name=HIDDEN)

    @extend_schema(summary="One of ours")
    def retrieve(self, *args: Any, **kwargs: Any) -> Any:
        return super().retrieve(*args, **kwargs)


class OneSerializer(ConversationViewSet):
    """Whatever the action."""

    def get_serializer_class(self) -> Any:
        return Shouting


class Ids(ConversationSerializer):
    class Meta(ConversationSerializer.Meta):
        fields = ("remote_id",)

    display_name = None  # type: ignore[assignment] # takes the field away


class Nameless(ConversationViewSet):
    serializer_class = Ids


class OwnRuns(SyncRunViewSet):
    pass

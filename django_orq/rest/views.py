from django.db.models import QuerySet
from rest_framework import viewsets
from rest_framework.exceptions import ValidationError

from ..conf import DEFAULT_ALIAS
from ..models import Conversation
from .pagination import ConversationPagination
from .permissions import ModelPermissions
from .serializers import ConversationSerializer


class ConversationViewSet(viewsets.ReadOnlyModelViewSet[Conversation]):
    """The conversations of one workspace (``?workspace=``, by default ``default``), read from the mirror.

    The list leaves deleted ones out; retrieve shows them, with their state.
    """

    queryset = Conversation.objects.all()
    serializer_class = ConversationSerializer
    permission_classes = (ModelPermissions,)
    pagination_class = ConversationPagination
    lookup_field = "remote_id"
    lookup_value_regex = "conv_[0-9a-z]{26}"

    def get_queryset(self) -> QuerySet[Conversation]:
        workspace = self.request.query_params.get("workspace", DEFAULT_ALIAS)
        if "\0" in workspace:  # no database text holds one; PostgreSQL would raise
            raise ValidationError({"workspace": "This is no workspace."})
        conversations = super().get_queryset().filter(workspace=workspace)
        return conversations.filter(deleted_at=None) if self.action == "list" else conversations

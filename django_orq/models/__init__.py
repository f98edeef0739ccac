"""The models: mirrored conversations, sync runs, operations, and the items of Orq's list that were rejected."""

from .conversations import Conversation, ConversationQuerySet as ConversationQuerySet, ConversationState
from .operations import Operation, OperationItem
from .rejected import RejectedPayload
from .runs import SyncRun
from .waits import WorkspaceWait as WorkspaceWait
from .work import Work as Work

__all__ = ["Conversation", "ConversationState", "Operation", "OperationItem", "RejectedPayload", "SyncRun"]

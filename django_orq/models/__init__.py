"""The models: mirrored conversations and their changes, sync runs, operations, and rejected items of Orq's list."""

from .changes import ConversationChange
from .conversations import Conversation, ConversationQuerySet as ConversationQuerySet, ConversationState
from .operations import Operation, OperationItem
from .rejected import RejectedPayload
from .runs import SyncRun
from .waits import WorkspaceWait as WorkspaceWait
from .work import Work as Work

__all__ = ["Conversation", "ConversationChange", "ConversationState", "Operation", "OperationItem", "RejectedPayload"]
__all__ += ["SyncRun"]

"""The mirror: ``Conversation`` rows, the runs that fill them, and the payloads that could not be mirrored."""

from .conversations import Conversation, ConversationState
from .conversations import ConversationQuerySet as ConversationQuerySet
from .operations import Operation, OperationItem
from .rejected import RejectedPayload
from .runs import SyncRun
from .waits import WorkspaceWait as WorkspaceWait
from .work import Work as Work

__all__ = ["Conversation", "ConversationState", "Operation", "OperationItem", "RejectedPayload", "SyncRun"]

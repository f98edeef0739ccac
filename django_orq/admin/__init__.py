"""The admin classes: to manage conversations in Orq, watch operations and sync runs, and view rejected items."""

from .changes import ConversationChangeAdmin
from .conversations import ConversationAdmin
from .operations import OperationAdmin
from .rejected import RejectedPayloadAdmin
from .runs import SyncRunAdmin

__all__ = ["ConversationAdmin", "ConversationChangeAdmin", "OperationAdmin", "RejectedPayloadAdmin", "SyncRunAdmin"]

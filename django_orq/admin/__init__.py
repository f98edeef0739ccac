"""The admin door: conversations managed in Orq, operations and sync runs watched, rejected payloads to look at."""

from .conversations import ConversationAdmin
from .operations import OperationAdmin
from .rejected import RejectedPayloadAdmin
from .runs import SyncRunAdmin

__all__ = ["ConversationAdmin", "OperationAdmin", "RejectedPayloadAdmin", "SyncRunAdmin"]

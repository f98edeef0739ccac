"""The admin door: conversations managed in Orq, runs and rejected payloads to look at."""

from .conversations import ConversationAdmin
from .runs import RejectedPayloadAdmin, SyncRunAdmin

__all__ = ["ConversationAdmin", "RejectedPayloadAdmin", "SyncRunAdmin"]

"""The admin door: conversations managed in Orq, sync runs started and watched, rejected payloads to look at."""

from .conversations import ConversationAdmin
from .rejects import RejectedPayloadAdmin
from .runs import SyncRunAdmin

__all__ = ["ConversationAdmin", "RejectedPayloadAdmin", "SyncRunAdmin"]

"""Sent after the commit, once for each real change; receivers that raise are logged and stop nobody.

The first four have the sender ``Conversation`` and give ``conversation`` and ``run`` (``None`` outside of a run);
``sync_run_finished`` has the sender ``SyncRun`` and gives ``run``.
"""

from django.dispatch import Signal

__all__ = [
    "conversation_created",
    "conversation_deleted",
    "conversation_restored",
    "conversation_updated",
    "sync_run_finished",
]

conversation_created = Signal()
conversation_updated = Signal()
conversation_deleted = Signal()
conversation_restored = Signal()
sync_run_finished = Signal()

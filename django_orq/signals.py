"""Signals, sent after the commit, once for each actual change. Exceptions in receivers are logged by Django.

The sender of the first four is ``Conversation``. Their arguments are ``conversation``, ``run`` (``None`` outside a
sync run) and ``change``, the ``ConversationChange`` (``None`` if none was recorded, as for a conversation that a sync
finds). The sender of ``sync_run_finished`` is ``SyncRun``; its argument is ``run``.
"""

from django.dispatch import Signal

__all__ = ["conversation_created", "conversation_deleted", "conversation_restored", "conversation_updated"]
__all__ += ["sync_run_finished"]

conversation_created = Signal()
conversation_updated = Signal()
conversation_deleted = Signal()
conversation_restored = Signal()
sync_run_finished = Signal()

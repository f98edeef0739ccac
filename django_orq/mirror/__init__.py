"""What people do to conversations: the verbs, and operations on several of them."""

from .verbs import (
    Renamed,
    create_conversation,
    delete_conversation,
    fetch_conversation,
    refresh_conversation,
    rename_conversation,
)

__all__ = [
    "Renamed",
    "create_conversation",
    "delete_conversation",
    "fetch_conversation",
    "refresh_conversation",
    "rename_conversation",
]

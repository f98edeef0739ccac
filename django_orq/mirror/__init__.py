"""Functions that change conversations in Orq and mirror the result, and operations on several conversations."""

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

"""The conversations of the sandbox's workspace, kept in memory and sorted by id."""

import heapq
import json
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import Any

from .ids import conversation_id, ulid, ulid_of
from .names import display_name

Conversation = dict[str, Any]
"""A conversation as in the API's JSON: camelCase keys, times in Unix milliseconds."""

_DAY = 24 * 60 * 60 * 1000
_SPREAD = 180 * _DAY
_PEOPLE_IDS = tuple(f"{n:08x}-5eed-4a11-8b0b-0000c0ffee{n:02x}" for n in range(1, 10))
_ENTITIES = ("agent_support", "agent_returns", "deployment_helpdesk")
_MODELS = ("openai/gpt-4o", "anthropic/claude-sonnet-4", "mistral/mistral-large")


class SeededConversations:
    """`count` conversations, each computed from its index (oldest first), so that they take no memory.

    The seed determines names, metadata and the intervals between times. The times cover the half
    year before `newest_at` (Unix milliseconds).
    """

    def __init__(self, *, count: int, seed: int, newest_at: int) -> None:
        self.count = count
        self._seed = seed
        self._newest_at = newest_at
        self._step = max(_SPREAD // max(count, 1), 1)

    def ulid_at(self, index: int) -> int:
        random_bits, spacing = divmod(self._random_bits(index, "id"), 1 << 32)
        return ulid(self._created_at(index, spacing), random_bits & (1 << 79) - 1)

    def id_at(self, index: int) -> str:
        return conversation_id(self.ulid_at(index))

    def index_of(self, remote_id: str) -> int | None:
        index = self.first_from(remote_id)
        return index if index < self.count and self.id_at(index) == remote_id else None

    def first_from(self, remote_id: str) -> int:
        """Return the index of the first conversation whose id is not less than this one."""
        value = ulid_of(remote_id)
        if value is None:
            return bisect_left(range(self.count), remote_id, key=self.id_at)
        return bisect_left(range(self.count), value, key=self.ulid_at)

    def conversation_at(self, index: int) -> Conversation:
        value = self.ulid_at(index)
        return realistic_conversation(value, self._random_bits(index, "fields"), latest_update=self._newest_at)

    def _created_at(self, index: int, spacing: int) -> int:
        steps_back = self.count - 1 - index
        # Each time lies within its own step, so that times increase with the index. The newest is recent.
        within = self._step if steps_back else min(self._step, 60_000)
        return self._newest_at - steps_back * self._step - spacing % within

    def _random_bits(self, index: int, purpose: str) -> int:
        digest = blake2b(f"{self._seed} {index} {purpose}".encode(), digest_size=16).digest()
        return int.from_bytes(digest)


def realistic_conversation(value: int, random_bits: int, *, latest_update: int) -> Conversation:
    """Return a conversation with this ULID; `random_bits` (128) determine all other fields."""
    pick = partial(next, iter([random_bits >> shift & 0xFFFFF for shift in range(0, 60, 20)]))
    name = display_name(pick(), random_bits >> 60)
    created_at = value >> 80
    changes, extras = pick(), pick()
    changed_at = created_at if changes % 3 else created_at + changes * 100
    return {
        "_id": conversation_id(value),
        "kind": "conversation",
        "displayName": name,
        "createdAt": created_at,
        "updatedAt": changed_at if changed_at <= latest_update else created_at,
        "createdById": _PEOPLE_IDS[changes % len(_PEOPLE_IDS)],
        "updatedById": _PEOPLE_IDS[extras % len(_PEOPLE_IDS)],
        "metadata": _metadata(extras),
    }


def _metadata(number: int) -> dict[str, Any]:
    if number % 8 == 0:
        return {"generatingTitle": False, "entityId": _ENTITIES[number // 8 % len(_ENTITIES)]}
    if number % 8 < 3:
        return {"entityId": None, "model": _MODELS[number // 8 % len(_MODELS)]}
    return {}


class ConversationStore:
    """The seeded conversations and all changes made since. Its methods are thread-safe."""

    def __init__(self, seeded: SeededConversations) -> None:
        self.lock = threading.RLock()
        self._seeded = seeded
        # Stored as JSON: compact, and callers cannot change the stored conversation.
        self._changed: dict[str, str] = {}
        self._added: list[str] = []
        self._removed: set[str] = set()

    def __len__(self) -> int:
        return self._seeded.count - len(self._removed) + len(self._added)

    def get(self, remote_id: str) -> Conversation | None:
        with self.lock:
            if remote_id in self._changed:
                return self._conversation(remote_id, -1)
            index = None if remote_id in self._removed else self._seeded.index_of(remote_id)
            return None if index is None else self._conversation(remote_id, index)

    def put(self, conversation: Conversation) -> Conversation:
        """Store a conversation, replacing the one with the same id if there is one."""
        remote_id = conversation["_id"]
        with self.lock:
            if self._seeded.index_of(remote_id) is not None:
                self._removed.discard(remote_id)
            elif remote_id not in self._changed:
                insort(self._added, remote_id)
            self._changed[remote_id] = json.dumps(conversation)
        return conversation

    def remove(self, remote_id: str) -> bool:
        with self.lock:
            if self.get(remote_id) is None:
                return False
            self._changed.pop(remote_id, None)
            if self._seeded.index_of(remote_id) is None:
                del self._added[bisect_left(self._added, remote_id)]
            else:
                self._removed.add(remote_id)
            return True

    def older_than(self, remote_id: str | None) -> Iterator[Conversation]:
        """Yield conversations older than `remote_id` (None: all), newest first. Hold `lock` while iterating."""
        first, position = self._seeded.count, len(self._added)
        if remote_id is not None:
            first, position = self._seeded.first_from(remote_id), bisect_left(self._added, remote_id)
        return self._merge(range(first)[::-1], range(position)[::-1], reverse=True)

    def newer_than(self, remote_id: str) -> Iterator[Conversation]:
        """Yield conversations newer than `remote_id`, oldest first. Hold `lock` while iterating."""
        above = remote_id + "\0"
        first, position = self._seeded.first_from(above), bisect_left(self._added, above)
        return self._merge(range(first, self._seeded.count), range(position, len(self._added)), reverse=False)

    def _merge(self, seeded: range, added: range, *, reverse: bool) -> Iterator[Conversation]:
        seeded_ids = ((self._seeded.id_at(index), index) for index in seeded)
        added_ids = ((self._added[position], -1) for position in added)
        for remote_id, index in heapq.merge(seeded_ids, added_ids, reverse=reverse):
            if remote_id not in self._removed:
                yield self._conversation(remote_id, index)

    def _conversation(self, remote_id: str, index: int) -> Conversation:
        """Return the stored conversation, or the seeded one at ``index`` if it was not changed."""
        stored = self._changed.get(remote_id)
        return self._seeded.conversation_at(index) if stored is None else json.loads(stored)

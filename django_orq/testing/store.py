"""The conversations of the sandbox's workspace, in memory, in the order of their ids."""

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
"""A conversation as it is on the wire: camelCase keys, times in Unix milliseconds."""

_DAY = 24 * 60 * 60 * 1000
_SPREAD = 180 * _DAY
_PEOPLE_IDS = tuple(f"{n:08x}-5eed-4a11-8b0b-0000c0ffee{n:02x}" for n in range(1, 10))
_ENTITIES = ("agent_support", "agent_returns", "deployment_helpdesk")
_MODELS = ("openai/gpt-4o", "anthropic/claude-sonnet-4", "mistral/mistral-large")


class SeededConversations:
    """`count` conversations worked out from their index, oldest first, so that none takes memory.

    The seed decides names, metadata and the spacing of the times; the times reach back from
    `newest_at` (Unix milliseconds) over half a year.
    """

    def __init__(self, *, count: int, seed: int, newest_at: int) -> None:
        self.count = count
        self._seed = seed
        self._newest_at = newest_at
        self._step = max(_SPREAD // max(count, 1), 1)

    def ulid_at(self, index: int) -> int:
        chance, spacing = divmod(self._chance(index, "id"), 1 << 32)
        return ulid(self._created_at(index, spacing), chance & (1 << 79) - 1)

    def id_at(self, index: int) -> str:
        return conversation_id(self.ulid_at(index))

    def index_of(self, remote_id: str) -> int | None:
        index = self.first_from(remote_id)
        return index if index < self.count and self.id_at(index) == remote_id else None

    def first_from(self, remote_id: str) -> int:
        """The index of the first conversation whose id is not below this one."""
        value = ulid_of(remote_id)
        if value is None:
            return bisect_left(range(self.count), remote_id, key=self.id_at)
        return bisect_left(range(self.count), value, key=self.ulid_at)

    def conversation_at(self, index: int) -> Conversation:
        value = self.ulid_at(index)
        return believable_conversation(value, self._chance(index, "fields"), latest_update=self._newest_at)

    def _created_at(self, index: int, spacing: int) -> int:
        steps_back = self.count - 1 - index
        # Each lies within a step of its own, so times rise with the index; the newest is recent.
        within = self._step if steps_back else min(self._step, 60_000)
        return self._newest_at - steps_back * self._step - spacing % within

    def _chance(self, index: int, purpose: str) -> int:
        digest = blake2b(f"{self._seed} {index} {purpose}".encode(), digest_size=16).digest()
        return int.from_bytes(digest)


def believable_conversation(value: int, chance: int, *, latest_update: int) -> Conversation:
    """A conversation with this ULID; `chance` (128 bits) decides all other fields."""
    pick = partial(next, iter([chance >> shift & 0xFFFFF for shift in range(0, 60, 20)]))
    name = display_name(pick(), chance >> 60)
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


def _metadata(chance: int) -> dict[str, Any]:
    if chance % 8 == 0:
        return {"generatingTitle": False, "entityId": _ENTITIES[chance // 8 % len(_ENTITIES)]}
    if chance % 8 < 3:
        return {"entityId": None, "model": _MODELS[chance // 8 % len(_MODELS)]}
    return {}


class ConversationStore:
    """Seeded conversations and what has become of them since. Every method is thread-safe."""

    def __init__(self, seeded: SeededConversations) -> None:
        self.lock = threading.RLock()
        self._seeded = seeded
        # As JSON text: compact, and whoever gets a conversation cannot change ours.
        self._kept: dict[str, str] = {}
        self._added: list[str] = []
        self._removed: set[str] = set()

    def __len__(self) -> int:
        return self._seeded.count - len(self._removed) + len(self._added)

    def get(self, remote_id: str) -> Conversation | None:
        with self.lock:
            if remote_id in self._kept:
                return self._conversation(remote_id, -1)
            index = None if remote_id in self._removed else self._seeded.index_of(remote_id)
            return None if index is None else self._conversation(remote_id, index)

    def put(self, conversation: Conversation) -> Conversation:
        """Keep this one, in place of the one with its id if there is one."""
        remote_id = conversation["_id"]
        with self.lock:
            if self._seeded.index_of(remote_id) is not None:
                self._removed.discard(remote_id)
            elif remote_id not in self._kept:
                insort(self._added, remote_id)
            self._kept[remote_id] = json.dumps(conversation)
        return conversation

    def remove(self, remote_id: str) -> bool:
        with self.lock:
            if self.get(remote_id) is None:
                return False
            self._kept.pop(remote_id, None)
            if self._seeded.index_of(remote_id) is None:
                del self._added[bisect_left(self._added, remote_id)]
            else:
                self._removed.add(remote_id)
            return True

    def older_than(self, remote_id: str | None) -> Iterator[Conversation]:
        """Newest first, from the newest of all without an id. Hold `lock` while it is read."""
        first, place = self._seeded.count, len(self._added)
        if remote_id is not None:
            first, place = self._seeded.first_from(remote_id), bisect_left(self._added, remote_id)
        return self._walk(range(first)[::-1], range(place)[::-1], reverse=True)

    def newer_than(self, remote_id: str) -> Iterator[Conversation]:
        """Oldest first, without the conversation itself. Hold `lock` while it is read."""
        above = remote_id + "\0"
        first, place = self._seeded.first_from(above), bisect_left(self._added, above)
        return self._walk(range(first, self._seeded.count), range(place, len(self._added)), reverse=False)

    def _walk(self, seeded: range, added: range, *, reverse: bool) -> Iterator[Conversation]:
        of_seed = ((self._seeded.id_at(index), index) for index in seeded)
        of_others = ((self._added[place], -1) for place in added)
        for remote_id, index in heapq.merge(of_seed, of_others, reverse=reverse):
            if remote_id not in self._removed:
                yield self._conversation(remote_id, index)

    def _conversation(self, remote_id: str, index: int) -> Conversation:
        """``index`` counts where nothing has been kept."""
        kept = self._kept.get(remote_id)
        return self._seeded.conversation_at(index) if kept is None else json.loads(kept)

"""The five operations of the remote API on a store: they turn a parsed request into a response."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal
from urllib.parse import unquote

from .ids import IdClock, conversation_id, milliseconds_of, ulid_text
from .store import Conversation, ConversationStore

Operation = Literal["list", "create", "retrieve", "update", "delete"]
OPERATIONS: tuple[Operation, ...] = ("list", "create", "retrieve", "update", "delete")
Style = Literal["snake", "camel"]

API_USER_ID = "0000a91c-5eed-4a11-8b0b-0000c0ffee00"

_LIST_PATHS = {"snake": "/v2/conversations", "camel": "/v2/conversations/"}
_ITEM_PATH = re.compile(r"/v2/conversations/([^/]+)")
_ITEM: dict[str, Operation] = {"GET": "retrieve", "PATCH": "update", "DELETE": "delete"}
_CURSOR_NAMES = {
    "snake": ("starting_after", "ending_before"),
    "camel": ("startingAfter", "endingBefore"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: Any
    """The parsed JSON; the bytes if they are not JSON; None without a body."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, status: int, value: object) -> "Answer":
        try:
            body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:  # a lone surrogate can only be sent escaped
            body = json.dumps(value).encode()
        return cls(status, body, {"Content-Type": "application/json"})


@dataclass(kw_only=True, eq=False)
class Behaviour:
    """How the sandbox behaves; the attributes are described in `django_orq.testing`."""

    api_key: str = field(default="sandbox-key", repr=False)
    latency: float = 0.0
    ignore_cursor: bool = False
    unknown_cursor: Literal["404", "400", "empty", "first_page"] = "404"
    hidden: set[str] = field(default_factory=set)
    transform_list: Callable[[dict[str, Any]], Any] | None = None
    locked_out: bool = False
    on_request: Callable[[Operation | None, Literal["before", "after"]], object] | None = None


class _ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer.of_json(status, {"message": message})


def route(style: Style, method: str, path: str) -> tuple[Operation | None, str]:
    """Return the operation of this method and path in this dialect (or None), and the conversation's id (or "")."""
    if match := _ITEM_PATH.fullmatch(path):
        return _ITEM.get(method), unquote(match[1])
    # In the "camel" dialect, as in the vendor's SDK 4.3.20, the path ends in a slash for list but not for create.
    if (method, path) == ("GET", _LIST_PATHS[style]):
        return "list", ""
    return ("create" if (method, path) == ("POST", "/v2/conversations") else None), ""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class RemoteApi:
    """Answers requests as Orq does."""

    store: ConversationStore
    clock: IdClock
    style: Style
    behaviour: Behaviour

    def answer(self, operation: Operation | None, remote_id: str, request: Request) -> Answer:
        try:
            return self._perform(operation, remote_id, request)
        except _ApiError as error:
            return error.answer

    def _perform(self, operation: Operation | None, remote_id: str, request: Request) -> Answer:
        if operation is None:
            raise _ApiError(404, f"Route {request.method} {request.path} not found")
        if request.headers.get("authorization") != f"Bearer {self.behaviour.api_key}":
            raise _ApiError(401, "Invalid or missing API key")
        if operation == "list":
            return self._list(request.query)
        if self.behaviour.locked_out:
            raise _ApiError(404, "Conversation not found")
        if operation == "create":
            return self._create(_json_object(request.body))
        if operation == "update":
            return self._update(remote_id, _json_object(request.body))
        return self._retrieve(remote_id) if operation == "retrieve" else self._delete(remote_id)

    def add(self, fields: Conversation) -> Conversation:
        """Create a conversation now and return it; `fields` replace or add keys."""
        with self.store.lock:
            value = self.clock.next(now_ms())
            created_at = milliseconds_of(value)
            conversation = {
                "_id": conversation_id(value),
                "kind": "conversation",
                "displayName": "Untitled",
                "createdAt": created_at,
                "updatedAt": fields.get("createdAt", created_at),
                "createdById": API_USER_ID,
                "updatedById": API_USER_ID,
                "metadata": {},
            }
            return self.store.put(conversation | fields)

    def _list(self, query: Mapping[str, str]) -> Answer:
        limit = _limit(query)
        after, before = (query.get(name) for name in _CURSOR_NAMES[self.style])
        if self.behaviour.ignore_cursor:
            after = before = None
        with self.store.lock:
            if (cursor := after or before) and (self.behaviour.locked_out or self.store.get(cursor) is None):
                if self.behaviour.unknown_cursor != "first_page":
                    return self._unknown_cursor()
                after = before = None
            found, order = self.store.older_than(after), 1
            if before and not after:
                found, order = self.store.newer_than(before), -1
            page = list(islice(self._visible(found, query), limit + 1))
            return self._list_answer(page[:limit][::order], has_more=len(page) > limit)

    def _unknown_cursor(self) -> Answer:
        if self.behaviour.unknown_cursor == "empty":
            return self._list_answer([], has_more=False)
        raise _ApiError(int(self.behaviour.unknown_cursor), "No conversation with this cursor")

    def _visible(self, conversations: Iterable[Conversation], query: Mapping[str, str]) -> Iterator[Conversation]:
        if self.behaviour.locked_out:
            return
        camel, wanted = self.style == "camel", query.get("entityId")
        for conversation in conversations:
            if conversation["_id"] in self.behaviour.hidden:
                continue
            if not camel or _entity_of(conversation) == wanted:
                yield conversation

    def _list_answer(self, page: list[Conversation], *, has_more: bool) -> Answer:
        answer = {"object": "list", "data": page, "has_more": has_more}
        transform = self.behaviour.transform_list
        return Answer.of_json(200, transform(answer) if transform else answer)

    def _create(self, body: dict[str, Any]) -> Answer:
        if self.style == "snake":
            return Answer.of_json(201, self.add({"displayName": _name(body.get("displayName"))}))
        if not isinstance(body.get("projectId"), str):
            raise _ApiError(400, "projectId is required")
        name, metadata = _name(body.get("displayName", "Untitled")), body.get("metadata") or {}
        return Answer.of_json(201, self.add({"displayName": name, "metadata": metadata}))

    def _retrieve(self, remote_id: str) -> Answer:
        conversation = self._get(remote_id)
        messages = {"messages": [_first_message(conversation)]} if self.style == "camel" else {}
        return Answer.of_json(200, conversation | messages)

    def _update(self, remote_id: str, body: dict[str, Any]) -> Answer:
        with self.store.lock:
            before = self._get(remote_id)
            after = dict(before)
            if "displayName" in body:
                after["displayName"] = _name(body["displayName"])
            if self.style == "camel" and body.get("metadata"):
                after["metadata"] = before["metadata"] | body["metadata"]
            if after != before:
                after["updatedById"] = API_USER_ID
            if "displayName" in body or after != before:
                after = touched(after)
            return Answer.of_json(200, self.store.put(after))

    def _delete(self, remote_id: str) -> Answer:
        if not self.store.remove(remote_id):
            raise _ApiError(404, "Conversation not found")
        return Answer(204)

    def _get(self, remote_id: str) -> Conversation:
        conversation = self.store.get(remote_id)
        if conversation is None:
            raise _ApiError(404, "Conversation not found")
        return conversation


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", "10")
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 100:
        return int(text)
    raise _ApiError(400, "limit must be a number from 1 to 100")


def _name(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= 100:
        return value
    raise _ApiError(400, "displayName must be a string of 1 to 100 characters")


def _json_object(body: object) -> dict[str, Any]:
    if isinstance(body, dict):
        return body
    raise _ApiError(400, "Malformed JSON in request body")


def touched(conversation: Conversation) -> Conversation:
    """Return the conversation with the current time as the time of its last change."""
    return conversation | {"updatedAt": max(now_ms(), conversation["updatedAt"] + 1)}


def _entity_of(conversation: Conversation) -> object:
    metadata = conversation.get("metadata")
    return metadata.get("entityId") if isinstance(metadata, dict) else None


def _first_message(conversation: Conversation) -> dict[str, Any]:
    return {
        "_id": "msg_" + ulid_text(conversation["createdAt"] << 80),
        "conversationId": conversation["_id"],
        "createdAt": conversation["createdAt"],
        "createdById": conversation["createdById"],
        "role": "user",
        "parts": [{"kind": "text", "text": conversation["displayName"]}],
    }

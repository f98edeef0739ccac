"""Orq's JSON, parsed once into frozen values. No other module handles raw payloads.

The payloads are described in ``docs/remote-api.md``. Their keys are in camelCase or snake_case, depending on the
dialect.
"""

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import UnionType
from typing import Any

from .exceptions import InvalidName
from .text import is_blank, marked as _

__all__ = ["Page", "RejectedItem", "RemoteConversation"]

PAYLOAD_VERSION = 1
"""Changes whenever a new version of this module reads more of a payload, so that each row is compared once more."""

REMOTE_ID = re.compile(r"conv_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
MAX_NAME = 100
MAX_DEPTH = 30
"""Levels of nesting in one conversation. MariaDB's JSON check rejects more than 32."""
MAX_EXCERPT = 2_000
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MILLISECOND = 253_402_128_000_000
"""9999-12-30T00:00Z. Later times overflow when they are converted to a time zone east of Greenwich."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_TOO_LARGE = 10**400
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_DOUBTFUL = ("\\u0000", "\\ud", "NaN", "Infinity")
"""Parts of canonical JSON that may be unstorable. Without them, long numbers or many brackets it can be stored."""
_LONG_NUMBER = re.compile("[0-9]{400}")


class Rejected(ValueError):
    """The payload can't be mirrored. The message, in English, says why."""


@dataclass(frozen=True, kw_only=True)
class RemoteConversation:
    """One conversation as returned by Orq."""

    remote_id: str
    """``conv_`` and 26 lower-case characters of Crockford's base 32; ids sort by creation time."""
    display_name: str
    created_at: datetime
    """Aware, UTC, to the millisecond."""
    updated_at: datetime
    """Aware, UTC, to the millisecond."""
    created_by_id: str | None
    updated_by_id: str | None
    metadata: dict[str, Any] | None
    """``None`` if the payload has none."""
    extra: dict[str, Any]
    """All other fields except ``kind``, unchanged."""


@dataclass(frozen=True, kw_only=True)
class RejectedItem:
    """One list item that can't be mirrored."""

    remote_id: str | None
    """Its id, if that is well formed."""
    digest: str
    """SHA-256 of the payload, in hexadecimal; identifies an item that has no id."""
    reason: str
    excerpt: str
    """The payload as ASCII JSON, truncated to 2,000 characters."""

    @property
    def key(self) -> str:
        """Identifies the item: its id, or its digest if it has none."""
        return self.remote_id or self.digest


@dataclass(frozen=True)
class ListItem:
    """One item of a list response, not parsed yet."""

    payload: Any = field(repr=False)

    @cached_property
    def remote_id(self) -> str | None:
        """The item's id, if it is well formed."""
        remote_id = self.payload.get("_id") if isinstance(self.payload, dict) else None
        return remote_id if is_remote_id(remote_id) else None

    @property
    def fingerprint(self) -> int | None:
        """A signed 64-bit hash of the whole item; ``None`` if it is nested too deeply to be hashed."""
        return self._examined[0]

    @cached_property
    def parsed(self) -> RemoteConversation | RejectedItem:
        try:
            return _parse(self.payload, search=self._examined[1])
        except Rejected as error:
            return self.rejected(str(error))

    def rejected(self, reason: str) -> RejectedItem:
        """Return this item as a rejected one; ``reason`` says, in English, why it can't be mirrored."""
        text = self._json() or "nested too deeply to show"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return RejectedItem(remote_id=self.remote_id, digest=digest, reason=reason, excerpt=text[:MAX_EXCERPT])

    @cached_property
    def _examined(self) -> tuple[int | None, bool]:
        """The fingerprint, and whether the item has to be searched for what can't be stored."""
        if (text := self._json()) is None:
            return None, True
        versioned = f"[{PAYLOAD_VERSION},{text}]".encode()
        fingerprint = int.from_bytes(hashlib.blake2b(versioned, digest_size=8).digest(), signed=True)
        is_doubtful = any(part in text for part in _DOUBTFUL) or text.count("{") + text.count("[") > MAX_DEPTH
        return fingerprint, is_doubtful or (len(text) >= 400 and bool(_LONG_NUMBER.search(text)))

    def _json(self) -> str | None:
        """The item as canonical ASCII JSON. Not kept: it may be as long as the whole response."""
        try:
            return _canonical(self.payload)
        except RecursionError:
            return None


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the list, in the server's order."""

    items: tuple[ListItem, ...]
    has_more: bool
    length: int = 0
    """Characters of the response that it was read from."""

    @property
    def conversations(self) -> list[RemoteConversation]:
        return [item.parsed for item in self.items if isinstance(item.parsed, RemoteConversation)]

    @property
    def rejected(self) -> list[RejectedItem]:
        return [item.parsed for item in self.items if isinstance(item.parsed, RejectedItem)]

    @cached_property
    def ids(self) -> list[str]:
        """The well-formed ids on the page, including those of rejected items."""
        return [item.remote_id for item in self.items if item.remote_id]

    @property
    def cursor(self) -> str | None:
        """The id after which the next page begins: the last well-formed one, or ``None``."""
        return self.ids[-1] if self.ids else None


def parse_page(body: Any) -> Page:
    """Parse a list response, or raise ``Rejected`` if it is not one. An invalid item does not invalidate its page."""
    if not isinstance(body, dict):
        raise Rejected("it is not a JSON object")
    items, has_more = body.get("data"), body.get("has_more")
    if not isinstance(items, list):
        raise Rejected("it has no list named “data”")
    if not isinstance(has_more, bool):
        raise Rejected("“has_more” must be true or false")
    return Page(items=tuple(map(ListItem, items)), has_more=has_more)


def parse_conversation(payload: Any) -> RemoteConversation:
    """Parse a conversation object of either dialect, or raise ``Rejected``, which says why it can't be mirrored."""
    return _parse(payload, search=True)


def clean_display_name(display_name: str) -> str:
    """Return the name as it will be sent, without surrounding white space.

    Raises ``InvalidName`` unless it has 1 to 100 characters, at least one of them visible, and no control characters.
    """
    if not isinstance(display_name, str):
        raise InvalidName(reason=_("A name must be a string."))
    name = display_name.strip()
    if is_blank(name):
        raise InvalidName(reason=_("A conversation needs a name."))
    if len(name) > MAX_NAME:
        raise InvalidName(reason=_("A name can have at most 100 characters."))
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidName(reason=_("A name can't contain control characters such as tabs or line breaks."))
    return name


def is_remote_id(text: object) -> bool:
    return isinstance(text, str) and REMOTE_ID.fullmatch(text) is not None


def created_at(remote_id: str) -> datetime:
    """Return the time in a well-formed id: the ULID begins with Unix milliseconds, in ten characters of five bits."""
    milliseconds = 0
    for character in remote_id[5:15]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(character)
    return _EPOCH + timedelta(milliseconds=min(milliseconds, _LAST_MILLISECOND))


def first_id(moment: datetime) -> str:
    """Return the smallest id that a conversation created at this time can have."""
    milliseconds = max(0, -((_EPOCH - moment) // timedelta(milliseconds=1)))  # rounded up
    time = "".join(_CROCKFORD[milliseconds >> shift & 31] for shift in range(45, -1, -5))
    return f"conv_{time}{'0' * 16}"


def _parse(payload: Any, *, search: bool) -> RemoteConversation:
    if not isinstance(payload, dict):
        raise Rejected("it is not a JSON object")
    if search:
        _check_storable(payload)
    rest = dict(payload)
    if rest.pop("kind", "conversation") != "conversation":
        raise Rejected("“kind” must be “conversation”")
    remote_id = rest.pop("_id", None)
    if not is_remote_id(remote_id):
        raise Rejected("“_id” is not a conversation id (conv_ and 26 characters)")
    return RemoteConversation(
        remote_id=remote_id,
        display_name=_take(rest, "displayName", "display_name", str, "a string"),
        created_at=_take_time(rest, "createdAt", "created_at"),
        updated_at=_take_time(rest, "updatedAt", "updated_at"),
        created_by_id=_take(rest, "createdById", "created_by_id", str | None, "a string"),
        updated_by_id=_take(rest, "updatedById", "updated_by_id", str | None, "a string"),
        metadata=_take(rest, "metadata", "metadata", dict | None, "an object"),
        extra={**rest},  # a smaller dict: one that was emptied keeps its size
    )


def _take(rest: dict[str, Any], camel: str, snake: str, kind: type | UnionType, expected: str) -> Any:
    """Remove the field from ``rest`` and return its value, or raise ``Rejected`` if it does not have this type."""
    value = rest.pop(camel if camel in rest else snake, None)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Rejected(f"“{camel}” must be {expected}")
    return value


def _take_time(rest: dict[str, Any], camel: str, snake: str) -> datetime:
    milliseconds = _take(rest, camel, snake, int | float, "a number of milliseconds")
    if not 0 <= milliseconds <= _LAST_MILLISECOND:
        raise Rejected(f"“{camel}” must be a time between the years 1970 and 9999")
    return _EPOCH + timedelta(milliseconds=round(milliseconds))


def _check_storable(value: Any, depth: int = 1) -> None:
    """Raise ``Rejected`` for values that some databases can't store, so that the result is the same on all of them."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise Rejected("it contains text with a NUL character or an unpaired surrogate")
    elif isinstance(value, (int, float)):
        if not abs(value) < _TOO_LARGE:  # “not <”, so that NaN is rejected too
            raise Rejected("it contains a number that is NaN, infinite or too large")
    elif isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise Rejected(f"it is nested more than {MAX_DEPTH} levels deep")
        for child in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_storable(child, depth + 1)

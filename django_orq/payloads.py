"""Orq's JSON, parsed once into frozen values. Nothing above this module sees a raw payload.

The shapes are those of ``docs/remote-api.md``. Keys come in camelCase or snake_case, by dialect.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .exceptions import InvalidName
from .text import is_blank
from .text import marked as _

__all__ = ["Page", "RefusedPayload", "RemoteConversation"]

REMOTE_ID = re.compile(r"conv_[0-9a-hjkmnp-tv-z]{26}", re.ASCII)
MAX_NAME = 100
MAX_DEPTH = 30
"""Levels of nesting in one conversation, as a refusal says too. MariaDB's JSON check refuses more than 32."""
MAX_EXCERPT = 2_000
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MILLISECOND = 253_402_128_000_000
"""9999-12-30T00:00Z: later times overflow once they are shown in a time zone east of Greenwich."""


_NO_TEXT = {
    "displayName": _("“displayName” is no text"),
    "createdById": _("“createdById” is no text"),
    "updatedById": _("“updatedById” is no text"),
}
_NO_NUMBER = {
    "createdAt": _("“createdAt” is not a number of milliseconds"),
    "updatedAt": _("“updatedAt” is not a number of milliseconds"),
}
_NO_TIME = {
    "createdAt": _("“createdAt” is no time between the years 1970 and 9999"),
    "updatedAt": _("“updatedAt” is no time between the years 1970 and 9999"),
}


class Refused(ValueError):
    """A payload that can't be mirrored; the text says why.

    It is stored in English and translated when it is shown, so it is one of a closed list, without values.
    """


@dataclass(frozen=True, kw_only=True)
class RemoteConversation:
    """One conversation as Orq gave it."""

    remote_id: str
    """``conv_`` and 26 lower-case Crockford characters; sorts by creation."""
    display_name: str
    created_at: datetime
    """Aware, UTC, to the millisecond."""
    updated_at: datetime
    """Aware, UTC, to the millisecond."""
    created_by_id: str | None
    updated_by_id: str | None
    metadata: dict[str, Any] | None
    """``None`` where the payload had none."""
    extra: dict[str, Any]
    """Every other field, untouched."""


@dataclass(frozen=True, kw_only=True)
class RefusedPayload:
    """One item of a list that can't be mirrored."""

    remote_id: str | None
    """Its id, if that much is well formed."""
    digest: str
    """SHA-256 of the payload, hexadecimal: names an item without an id."""
    reason: str
    excerpt: str
    """The payload as ASCII JSON, cut at 2,000 characters."""

    @property
    def key(self) -> str:
        """What it is known by: its id, or else its digest."""
        return self.remote_id or self.digest


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the list, in the server's order."""

    entries: tuple[RemoteConversation | RefusedPayload, ...]
    has_more: bool

    @property
    def conversations(self) -> list[RemoteConversation]:
        return [entry for entry in self.entries if isinstance(entry, RemoteConversation)]

    @property
    def refused(self) -> list[RefusedPayload]:
        return [entry for entry in self.entries if isinstance(entry, RefusedPayload)]

    @property
    def ids(self) -> list[str]:
        """The well-formed ids on the page, a refused item's included."""
        return [entry.remote_id for entry in self.entries if entry.remote_id]

    @property
    def cursor(self) -> str | None:
        """The id after which the next page begins: the last well-formed one."""
        return next(iter(reversed(self.ids)), None)


class Ambiguous(dict[str, Any]):
    """A JSON object that gives a key twice: nobody knows which of the values is meant."""


def decode(body: bytes) -> Any:
    """JSON, with numbers that no float or integer can hold read as infinity; ``ValueError`` for anything else.

    In UTF-8, as RFC 8259 has it: in another encoding an API key that was echoed would not have been found.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_int=_parse_int, object_pairs_hook=_parse_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_page(body: Any) -> Page:
    """A list answer; ``Refused`` if it is none. A bad item spoils itself, not its page."""
    if not isinstance(body, dict):
        raise Refused(_("it is not a JSON object"))
    if isinstance(body, Ambiguous):
        raise Refused(_("it gives a key twice"))
    if not isinstance(body.get("data"), list):
        raise Refused(_("it has no list “data”"))
    if not isinstance(body.get("has_more"), bool):
        raise Refused(_("“has_more” is neither true nor false"))
    return Page(entries=tuple(map(_parse_entry, body["data"])), has_more=body["has_more"])


def parse_conversation(payload: Any) -> RemoteConversation:
    """One conversation object of any dialect; ``Refused`` says why it is none."""
    if not isinstance(payload, dict):
        raise Refused(_("it is not a JSON object"))
    _check_storable(payload)
    rest = dict(payload)
    if rest.pop("kind", "conversation") != "conversation":
        raise Refused(_("its “kind” is not “conversation”"))
    return RemoteConversation(
        remote_id=_parse_id(rest.pop("_id", None)),
        display_name=_take_text(rest, "displayName", "display_name"),
        created_at=_take_time(rest, "createdAt", "created_at"),
        updated_at=_take_time(rest, "updatedAt", "updated_at"),
        created_by_id=_take_optional_text(rest, "createdById", "created_by_id"),
        updated_by_id=_take_optional_text(rest, "updatedById", "updated_by_id"),
        metadata=_take_metadata(rest),
        extra=rest,
    )


def clean_display_name(display_name: str) -> str:
    """The name as it will be sent, trimmed; ``InvalidName`` unless it has 1–100 characters and no control ones."""
    if not isinstance(display_name, str):
        raise InvalidName(reason=_("A name must be a string."))
    name = display_name.strip()
    if is_blank(name):
        raise InvalidName(reason=_("A conversation needs a name."))
    if len(name) > MAX_NAME:
        raise InvalidName(reason=_("A name has at most 100 characters."))
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidName(reason=_("A name can't hold control characters such as tabs or line breaks."))
    return name


def is_remote_id(text: object) -> bool:
    return isinstance(text, str) and REMOTE_ID.fullmatch(text) is not None


def created_at(remote_id: str) -> datetime:
    """The time in a well-formed id: a ULID begins with its milliseconds, in ten characters of five bits."""
    milliseconds = 0
    for character in remote_id[5:15]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(character)
    return _EPOCH + timedelta(milliseconds=min(milliseconds, _LAST_MILLISECOND))


def first_id(moment: datetime) -> str:
    """The smallest id of a conversation created at this time: ids from it on are of then or later."""
    milliseconds = -((_EPOCH - moment) // timedelta(milliseconds=1))  # rounded up
    time = "".join(_CROCKFORD[milliseconds >> shift & 31] for shift in range(45, -1, -5))
    return f"conv_{time}{'0' * 16}"


def _parse_entry(payload: Any) -> RemoteConversation | RefusedPayload:
    try:
        return parse_conversation(payload)
    except Refused as refusal:
        return _refuse(payload, str(refusal))


def _refuse(payload: Any, reason: str) -> RefusedPayload:
    try:
        text = json.dumps(payload, sort_keys=True)
    except RecursionError:
        text = "nested too deeply to be shown"
    remote_id = payload.get("_id") if isinstance(payload, dict) else None
    return RefusedPayload(
        remote_id=remote_id if is_remote_id(remote_id) else None,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        reason=reason,
        excerpt=text[:MAX_EXCERPT],
    )


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    return parsed if len(parsed) == len(pairs) else Ambiguous(parsed)


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 400 else math.inf


def _parse_id(remote_id: Any) -> str:
    if remote_id is None:
        raise Refused(_("it has no “_id”"))
    if not is_remote_id(remote_id):
        raise Refused(_("its “_id” is not “conv_” and 26 lower-case Crockford characters"))
    return str(remote_id)


def _take(rest: dict[str, Any], camel: str, snake: str) -> Any:
    return rest.pop(camel if camel in rest else snake, None)


def _take_text(rest: dict[str, Any], camel: str, snake: str) -> str:
    text = _take(rest, camel, snake)
    if not isinstance(text, str):
        raise Refused(_NO_TEXT[camel])
    return text


def _take_optional_text(rest: dict[str, Any], camel: str, snake: str) -> str | None:
    text = _take(rest, camel, snake)
    if text is not None and not isinstance(text, str):
        raise Refused(_NO_TEXT[camel])
    return text


def _take_time(rest: dict[str, Any], camel: str, snake: str) -> datetime:
    milliseconds = _take(rest, camel, snake)
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        raise Refused(_NO_NUMBER[camel])
    if not 0 <= milliseconds <= _LAST_MILLISECOND:
        raise Refused(_NO_TIME[camel])
    return _EPOCH + timedelta(milliseconds=round(milliseconds))


def _take_metadata(rest: dict[str, Any]) -> dict[str, Any] | None:
    metadata = rest.pop("metadata", None)
    if metadata is not None and not isinstance(metadata, dict):
        raise Refused(_("“metadata” is not an object"))
    return metadata


def _check_storable(payload: dict[str, Any]) -> None:
    """Refuse what some database can't hold, so that the verdict is the same on all of them."""
    for value in _leaves(payload, depth=1):
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise Refused(_("it holds a number that is infinite, too large or not a number"))


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Refused(_("it holds text with a NUL character"))
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Refused(_("it holds text with half a surrogate pair"))


def _leaves(value: Any, *, depth: int) -> Iterator[Any]:
    if not isinstance(value, (dict, list)):
        yield value
    elif depth > MAX_DEPTH:
        raise Refused(_("it is nested more than 30 levels deep"))
    elif isinstance(value, Ambiguous):
        raise Refused(_("it gives a key twice"))
    elif isinstance(value, dict):
        yield from value
        for child in value.values():
            yield from _leaves(child, depth=depth + 1)
    else:
        for child in value:
            yield from _leaves(child, depth=depth + 1)

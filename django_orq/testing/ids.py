"""Conversation ids: `conv_` and a ULID, 48 bits of Unix time in ms and 80 bits of chance."""

import re
import secrets
import threading

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TO_BASE_32 = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_WELL_FORMED = re.compile(r"conv_([0-7][0-9a-hjkmnp-tv-z]{25})")
_CHANCE_BITS = 80


def ulid(milliseconds: int, chance: int) -> int:
    return milliseconds << _CHANCE_BITS | chance


def ulid_text(value: int) -> str:
    return "".join([_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5)])


def conversation_id(value: int) -> str:
    return "conv_" + ulid_text(value)


def ulid_of(text: str) -> int | None:
    """The number inside a well-formed conversation id, None for anything else."""
    match = _WELL_FORMED.fullmatch(text)
    return match and int(match[1].translate(_TO_BASE_32), 32)


class IdClock:
    """Ids that strictly increase, within one millisecond too, and after all ids up to `last`."""

    def __init__(self, last: int = 0) -> None:
        self._last = last
        self._lock = threading.Lock()

    def next(self, milliseconds: int) -> int:
        with self._lock:
            fresh = ulid(milliseconds, secrets.randbits(_CHANCE_BITS - 1))
            self._last = fresh if milliseconds > self._last >> _CHANCE_BITS else self._last + 1
            return self._last


def milliseconds_of(value: int) -> int:
    return value >> _CHANCE_BITS

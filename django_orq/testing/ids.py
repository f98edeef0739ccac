"""Conversation ids: `conv_` and a ULID, which is 48 bits of Unix time in milliseconds and 80 random bits."""

import re
import secrets
import threading

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TO_BASE_32 = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_WELL_FORMED = re.compile(r"conv_([0-7][0-9a-hjkmnp-tv-z]{25})")
_RANDOM_BITS = 80


def ulid(milliseconds: int, random_bits: int) -> int:
    return milliseconds << _RANDOM_BITS | random_bits


def ulid_text(value: int) -> str:
    return "".join([_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5)])


def conversation_id(value: int) -> str:
    return "conv_" + ulid_text(value)


def ulid_of(text: str) -> int | None:
    """Return the ULID in a well-formed conversation id as a number; None for any other text."""
    match = _WELL_FORMED.fullmatch(text)
    return match and int(match[1].translate(_TO_BASE_32), 32)


class IdClock:
    """Generates ULIDs greater than `last` that strictly increase, even within one millisecond."""

    def __init__(self, last: int = 0) -> None:
        self._last = last
        self._lock = threading.Lock()

    def next(self, milliseconds: int) -> int:
        with self._lock:
            fresh = ulid(milliseconds, secrets.randbits(_RANDOM_BITS - 1))
            self._last = fresh if milliseconds > self._last >> _RANDOM_BITS else self._last + 1
            return self._last


def milliseconds_of(value: int) -> int:
    return value >> _RANDOM_BITS

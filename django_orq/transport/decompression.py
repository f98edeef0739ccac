"""Compressed bodies, a piece at a time, so that a small answer can't fill the memory.

urllib3 before 2.6, which requests admits, decompresses whatever has arrived in one go: three kilobytes that were
compressed twice become gigabytes before anybody can count them.
"""

import zlib
from collections.abc import Iterable, Iterator

ACCEPTED = "gzip"
MOST_LAYERS = 3
"""How often a body may have been compressed."""
PIECE = 65_536
"""Bytes that one piece has at most."""
_GZIP = 16 + zlib.MAX_WBITS


class NotAccepted(Exception):
    """The body is compressed in another way than the request asked for."""


def decompressed(pieces: Iterable[bytes], *, encoding: str) -> Iterator[bytes]:
    """The body whose ``pieces`` came with this ``Content-Encoding``. ``NotAccepted``, or ``zlib.error`` on the way."""
    layers = [layer.strip().lower() for layer in encoding.split(",")]
    compressed = [layer for layer in layers if layer not in ("", "identity")]
    if len(compressed) > MOST_LAYERS or not {"gzip", "x-gzip"}.issuperset(compressed):
        return _refused(pieces)
    for _layer in compressed:
        pieces = _gunzipped(pieces)
    return iter(pieces)


def _refused(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """However it is said to be compressed, an empty body is no trouble."""
    for _piece in pieces:
        raise NotAccepted
    yield b""


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """One layer taken off. A stream that ends too early gives what there is of it."""
    member = zlib.decompressobj(_GZIP)
    for piece in pieces:
        rest = piece
        while rest:
            if member.eof:  # gzip files may be one after another
                member = zlib.decompressobj(_GZIP)
            yield member.decompress(rest, PIECE)
            rest = member.unused_data if member.eof else member.unconsumed_tail
    yield member.flush()

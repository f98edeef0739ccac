"""Bodies are decompressed piece by piece, whatever they would become."""

import gzip
import random
import tracemalloc
import zlib
from itertools import chain, islice

import pytest

from django_orq.transport.decompression import PIECE, NotAccepted, decompressed


def in_pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


TEXT = bytes(random.Random(1).choices(b"abc {}", k=300_000))  # noqa: S311 # only to be compressed


@pytest.mark.parametrize("size", [1, 7, 1_000, 1_000_000])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_body_is_the_same_however_it_arrives(layers, size):
    body = TEXT
    for _ in range(layers):
        body = gzip.compress(body)

    assert b"".join(decompressed(in_pieces(body, size), encoding=", ".join(["gzip"] * layers))) == TEXT


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_files_one_after_another_are_one_body(size):
    body = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")

    assert b"".join(decompressed(in_pieces(body, size), encoding="gzip")) == b"one two"


def test_stream_that_breaks_off_gives_what_there_is():
    whole = gzip.compress(TEXT)

    found = b"".join(decompressed([whole[:-2_000]], encoding="gzip"))

    assert 0 < len(found) < len(TEXT)
    assert TEXT.startswith(found)


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(TEXT)[:-1] + b"x", gzip.compress(b"one") + b"no gzip"],
    ids=["none", "wrong length", "something behind it"],
)
def test_broken_compression_is_an_error(body):
    with pytest.raises(zlib.error):
        list(decompressed([body], encoding="gzip"))


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, br", "gzip,gzip,gzip,gzip", "gzip;q=1"])
def test_other_compression_is_refused_unless_there_is_nothing_compressed(encoding):
    with pytest.raises(NotAccepted):
        list(decompressed([b"x"], encoding=encoding))
    assert b"".join(decompressed([], encoding=encoding)) == b""


def test_only_what_is_asked_for_is_decompressed():
    """200 megabytes in two layers: the first of them take no more than some pieces."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    inner = [compressor.compress(b" " * 10_000_000) for _ in range(20)]
    bomb = gzip.compress(b"".join([*inner, compressor.flush()]))
    tracemalloc.start()
    try:
        pieces = list(map(len, islice(decompressed([bomb], encoding="gzip, gzip"), 100)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert max(pieces) == PIECE
    assert sum(pieces) > 3_000_000
    assert peak < 20 * PIECE


def test_nothing_is_nothing():
    assert b"".join(chain(decompressed([], encoding="gzip"), decompressed([], encoding=""))) == b""

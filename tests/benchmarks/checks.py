"""What does not depend on the machine: requests, rows, statements, and how memory grows."""

from collections.abc import Iterable, Iterator

from .measurements import CHANGED, FIRST, OURS, READERS, UNCHANGED, Measurement

MAX_GROWTH_MB = 12.0
"""When there are ten times as many conversations."""


def problems(measurements: Iterable[Measurement]) -> Iterator[str]:
    for one in measurements:
        name = f"{one.contestant}, {one.sync}, {one.size.conversations:,}"
        for what, found, expected in _expected(one):
            if found != expected:
                yield f"{name}: {found:,} {what} instead of {expected:,}"
        if not one.is_correct:
            yield f"{name}: ids or names are not those of the sandbox"
        # A page at a cut has ids of two intervals, which takes a second SELECT; with latency, each batch is saved.
        most = 3 if one.sync == FIRST or one.size.latency else 2
        if one.sync != CHANGED and one.counters.get("statements", 0) > most:
            yield f"{name}: {one.counters['statements']} statements for one batch instead of at most {most}"


def _expected(one: Measurement) -> Iterator[tuple[str, int, int]]:
    conversations = one.size.conversations
    hundredth = -(-conversations // 100)
    rewrites = one.contestant in ("by hand", "bare")
    written = conversations if rewrites or one.sync == FIRST else hundredth if one.sync == CHANGED else 0
    most = hundredth + (max(READERS) if one.contestant == OURS and one.sync != FIRST else 0)  # a page more at each cut
    yield "list requests", hundredth if hundredth <= one.requests <= most else one.requests, hundredth
    yield "rows", one.rows, conversations
    yield "rows written", one.written, written
    if one.contestant == OURS:
        yield "rows counted as created or updated", one.counters["counted"], written
        yield "rows counted as unchanged", one.counters["unchanged"], conversations - written


def growth_problems(few: Iterable[Measurement], many: Iterable[Measurement]) -> Iterator[str]:
    """Compare the memory of our syncs of a mirror with that of one ten times as large."""
    usual = (FIRST, UNCHANGED, CHANGED)  # not those with many readers
    small, large = (
        max(one.peak_mb for one in some if one.contestant == OURS and one.sync in usual) for some in (few, many)
    )
    if large - small > MAX_GROWTH_MB:
        yield f"memory grows from {small:.1f} MB to {large:.1f} MB when there are ten times as many conversations"

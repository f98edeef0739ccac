"""The measurements as tables in Markdown."""

from collections.abc import Iterable, Sequence
from statistics import median

from .measurements import CONTESTANTS, OURS, Measurement

COMPARED = ("by hand", "bare, skipping")


def tables(measurements: Iterable[Measurement]) -> str:
    """Medians of the time, with the ratio of ours to others, and of CPU time and peak memory of the process."""
    rows: dict[tuple[str, ...], dict[str, list[Measurement]]] = {}
    for one in measurements:
        key = (f"{one.size.conversations:,}", f"{one.size.latency} ms", one.sync)
        rows.setdefault(key, {name: [] for name in CONTESTANTS})[one.contestant].append(one)
    head = ("conversations", "latency", "sync", *CONTESTANTS)
    times = [
        (*key, *map(_seconds, row.values()), *(_ratio(row, name) for name in COMPARED)) for key, row in rows.items()
    ]
    costs = [(*key, *map(_cost, row.values())) for key, row in rows.items()]
    return (
        f"Seconds:\n\n{_table((*head, *(f'{OURS} / {name}' for name in COMPARED)), times)}\n\n"
        f"CPU seconds and peak memory of the process:\n\n{_table(head, costs)}"
    )


def _seconds(repeated: list[Measurement]) -> str:
    return f"{median(one.seconds for one in repeated):.2f}" if repeated else ""


def _cost(repeated: list[Measurement]) -> str:
    if not repeated:
        return ""
    return f"{median(one.cpu_seconds for one in repeated):.2f} s, {median(one.peak_mb for one in repeated):.0f} MB"


def _ratio(row: dict[str, list[Measurement]], other: str) -> str:
    ours, theirs = ([one.seconds for one in row[name]] for name in (OURS, other))
    return f"{median(ours) / median(theirs):.2f}" if theirs else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)

"""Compares the lists of a large mirror with those of a small one, on PostgreSQL."""

from collections.abc import Iterator, Mapping

from .measured_list import WITH_INDEX
from .processes import run, say

MAX_RATIO = 5.0
"""Pages have the same size, but only up to 10,000 conversations are counted."""
MAX_EXPORT_MB = 30.0
CHECKED = (
    *("the list", "filter: updated", "sorted by update", WITH_INDEX),
    *("REST: first page", "REST: middle page", "REST: missing", "REST: by update"),
)


def problems(environment: Mapping[str, str], *, large: int) -> Iterator[str]:
    if not environment["DATABASE_URL"].startswith("postgres"):
        say("\nThe lists are not measured: that needs the DATABASE_URL of a PostgreSQL server")
        return
    taken = run("measured_list", str(large), **environment)
    say(f"\nThe lists of 1,000 and of {large:,} conversations")
    for name, few in taken["small"].items():
        many = taken["large"][name]
        say(f"{name:<22} {few * 1000:>6.1f} ms  {many * 1000:>6.1f} ms  {many / few:>5.1f} times as long")
    exported = taken["export"]
    say(f"\nA CSV of {exported['rows']:,} took {exported['seconds']:.0f} s and {exported['mb']:.1f} MB of memory")
    if exported["mb"] > MAX_EXPORT_MB:
        yield f"the export took {exported['mb']:.1f} MB of memory instead of at most {MAX_EXPORT_MB}"
    for name in CHECKED:
        ratio = taken["large"][name] / taken["small"][name]
        if ratio > MAX_RATIO:
            yield f"{name}: with {large:,} conversations it takes {ratio:.1f} times as long as with 1,000"

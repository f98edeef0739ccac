"""Compares the lists of a large mirror with those of a small one, on PostgreSQL."""

from collections.abc import Iterator, Mapping

from .processes import run, say

MAX_RATIO = 5.0
"""Pages have the same size, but only up to 10,000 conversations are counted."""


def problems(environment: Mapping[str, str]) -> Iterator[str]:
    if not environment["DATABASE_URL"].startswith("postgres"):
        say("\nThe lists are not measured: that needs the DATABASE_URL of a PostgreSQL server")
        return
    taken = run("measured_list", **environment)
    say("\nThe lists of 1,000 and of 1,000,000 conversations")
    for name, few in taken["small"].items():
        many = taken["large"][name]
        say(f"{name:<20} {few * 1000:>6.1f} ms  {many * 1000:>6.1f} ms  {many / few:>5.1f} times as long")
    for name in ("the list", "REST: first page", "REST: middle page", "REST: missing"):
        ratio = taken["large"][name] / taken["small"][name]
        if ratio > MAX_RATIO:
            yield f"{name}: with 1,000,000 conversations it takes {ratio:.1f} times as long as with 1,000"

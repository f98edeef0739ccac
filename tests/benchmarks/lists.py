"""Compares the lists of a large mirror with those of a small one, on PostgreSQL."""

from collections.abc import Iterator, Mapping

from .measured_list import SEARCH
from .processes import run, say

MAX_RATIO = 1.5
"""Pages have the same size; of a large mirror, up to 10,000 conversations are counted."""


def problems(environment: Mapping[str, str]) -> Iterator[str]:
    if not environment["DATABASE_URL"].startswith("postgres"):
        say("\nThe lists are not measured: that needs the DATABASE_URL of a PostgreSQL server")
        return
    taken = run("measured_list", **environment)
    say("\nThe lists of 1,000 and of 1,000,000 conversations")
    for name, few in taken["small"].items():
        many = taken["large"][name]
        say(f"{name:<22} {few * 1000:>6.1f} ms  {many * 1000:>6.1f} ms  {many / few:>5.1f} times as long")
    for name, few in taken["small"].items():
        ratio = taken["large"][name] / few
        if ratio > MAX_RATIO and name != SEARCH:
            yield f"{name}: with 1,000,000 conversations it takes {ratio:.1f} times as long as with 1,000"

"""Measures the speed and memory of full syncs and of the admin and REST lists: `make benchmark`.

Mirrors 1,000 and 100,000 conversations of a sandbox into SQLite files, each twice, each time in a
new process. Exits with 1 unless every page was requested exactly once, all conversations were
mirrored, and the peak memory of the large sync is within 30 MB of the small one's.

If `DATABASE_URL` names a PostgreSQL database, the lists of 1,000,000 conversations are compared with those of
1,000, and must take less than five times as long.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django_orq.testing import OrqSandbox

SMALL, LARGE = 1_000, 100_000
PAGE_SIZE = 100
ALLOWANCE_MB = 30.0
MOST_TIMES = 5.0
"""Pages have the same size, but only up to 10,000 conversations are counted."""
ROOT = Path(__file__).parents[2]
COLUMNS = "{:>13}  {:<9}  {:>8}  {:>7}  {:>10}  {:>11}"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    conversations: int
    run: str
    list_requests: int
    """Counted by the sandbox."""
    rows: int
    written: int
    seconds: float
    peak_mb: float

    def __str__(self) -> str:
        return COLUMNS.format(
            f"{self.conversations:,}",
            self.run,
            f"{self.list_requests:,}",
            f"{self.seconds:.1f}",
            f"{self.conversations / self.seconds:,.0f}",
            f"{self.peak_mb:.1f} MB",
        )

    def problems(self) -> Iterator[str]:
        expected_writes = self.conversations if self.run == "first" else 0
        for what, got, wanted in (
            ("list requests", self.list_requests, self.conversations // PAGE_SIZE),
            ("rows", self.rows, self.conversations),
            ("rows written", self.written, expected_writes),
        ):
            if got != wanted:
                yield f"{self.run} sync of {self.conversations:,}: {got:,} {what} instead of {wanted:,}"


def main() -> int:
    say(COLUMNS.format("conversations", "sync", "requests", "seconds", "per second", "peak memory"))
    with tempfile.TemporaryDirectory() as folder:
        small = list(measure_twice(SMALL, Path(folder) / "small"))
        large = list(measure_twice(LARGE, Path(folder) / "large"))
    say(f"\nNothing changed: {large[1].seconds / large[0].seconds:.2f} of the first sync's time")
    difference = max(many.peak_mb - few.peak_mb for few, many in zip(small, large, strict=True))
    say(f"Peak memory: {difference:.1f} MB more for {LARGE:,} than for {SMALL:,} (at most {ALLOWANCE_MB:.0f})")
    problems = [problem for measurement in (*small, *large) for problem in measurement.problems()]
    if difference > ALLOWANCE_MB:
        problems.append("memory grows with the number of conversations")
    problems += doubts([*small, *large])
    problems += compare_lists()
    for problem in problems:
        say(f"FAILED: {problem}")
    return bool(problems)


def measure_twice(conversations: int, folder: Path) -> Iterator[Measurement]:
    folder.mkdir()
    with OrqSandbox(conversations=conversations) as sandbox:
        for run in ("first", "unchanged"):
            sandbox.clear_requests()
            taken = sync(sandbox, folder)
            measurement = Measurement(
                conversations=conversations,
                run=run,
                list_requests=sandbox.count("list"),
                rows=taken["rows"],
                written=taken["seen"] - taken["unchanged"],
                seconds=taken["seconds"],
                peak_mb=megabytes(taken["peak_rss"]),
            )
            say(str(measurement))
            yield measurement


def sync(sandbox: OrqSandbox, folder: Path) -> dict:
    """Sync in a fresh process; `measured_sync` says what it returns."""
    return run(
        "tests.benchmarks.measured_sync",
        DATABASE_URL=f"sqlite:///{folder}/db.sqlite3",
        DEMO_DIR=str(folder),
        DJANGO_SETTINGS_MODULE="example_project.settings",
        ORQ_API_KEY=sandbox.api_key,
        ORQ_BASE_URL=sandbox.base_url,
    )


def run(module: str, **environment: str) -> dict:
    """Run one of our modules in a new process; return its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "ORQ_"))}
    done = subprocess.run(  # noqa: S603 # our own module
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=kept | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def compare_lists() -> Iterator[str]:
    database = os.environ.get("DATABASE_URL", "")
    if not database.startswith("postgres"):
        say("\nThe list is not measured: that needs the DATABASE_URL of a PostgreSQL server")
        return
    taken = run("tests.benchmarks.measured_list", DATABASE_URL=database, DJANGO_SETTINGS_MODULE="tests.settings")
    say("\nThe lists of 1,000 and of 1,000,000 conversations")
    for name, few in taken["small"].items():
        many = taken["large"][name]
        say(f"{name:<18} {few * 1000:>6.1f} ms  {many * 1000:>6.1f} ms  {many / few:>5.1f} times as long")
    for name in ("the list", "REST: first page", "REST: middle page", "REST: missing"):
        ratio = taken["large"][name] / taken["small"][name]
        if ratio > MOST_TIMES:
            yield f"{name}: with 1,000,000 conversations it takes {ratio:.1f} times as long as with 1,000"


def doubts(measurements: list[Measurement]) -> Iterator[str]:
    """On Linux a process starts with its parent's peak memory, which must not hide its own."""
    ours = megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if ours >= min(one.peak_mb for one in measurements):
        yield f"memory could not be measured: the sandbox itself used {ours:.1f} MB"


def megabytes(kibibytes: float) -> float:
    return kibibytes * 1024 / 1_000_000


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Which syncs are measured, in which order, and what was measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .processes import run, say
from .remote import remote

OURS = "django_orq"
CONTESTANTS = {
    OURS: "ours:sync",
    "by hand": "by_hand:sync",
    "bare": "bare:sync",
    "bare, skipping": "bare:sync_skipping",
}
FIRST, UNCHANGED, CHANGED = "first", "nothing changed", "1 % changed"
READERS = (1, 4, 8, 16)
"""Our sync is also measured with so many readers, with latency and without changes."""


@dataclass(frozen=True, kw_only=True)
class Size:
    conversations: int
    latency: int
    """Of the sandbox, in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What `measured_sync` prints, and what the sandbox says about it."""

    size: Size
    sync: str
    contestant: str
    requests: int
    """List requests, as the sandbox counts them."""
    is_correct: bool
    """Whether ids and names are those of the sandbox."""
    seconds: float
    cpu_seconds: float
    peak_mb: float
    counters: Mapping[str, int]
    rows: int
    written: int


def measure(
    size: Size, environment: Mapping[str, str], *, contestants: Sequence[str] = tuple(CONTESTANTS), repeat: int = 1
) -> Iterator[Measurement]:
    """Measure each contestant's syncs in new processes, beginning with an empty database."""
    with remote(conversations=size.conversations, latency=size.latency / 1000) as sandbox:
        access = {f"ORQ_{name}": value for name, value in sandbox.settings()["default"].items()}
        expected = sandbox.rename_some()  # so that the list is the same for the first contestant as for the others
        for contestant in [*contestants] * repeat:
            run("database", "empty", **environment)
            for sync, readers in _syncs(contestant, size):
                if sync == CHANGED:
                    expected = sandbox.rename_some()
                sandbox.clear_requests()
                taken = run("measured_sync", CONTESTANTS[contestant], **environment, **access, **readers)
                say(f"{size.conversations:,}, {size.latency} ms, {sync}, {contestant}: {taken['seconds']:.2f} s")
                yield Measurement(
                    size=size,
                    sync=sync,
                    contestant=contestant,
                    requests=sandbox.count("list"),
                    is_correct=taken.pop("digest") == expected,
                    **taken,
                )


def _syncs(contestant: str, size: Size) -> Iterator[tuple[str, dict[str, str]]]:
    yield FIRST, {}
    yield UNCHANGED, {}
    if contestant == OURS and size.latency:
        for readers in READERS:
            yield f"{UNCHANGED}, {readers} readers", {"ORQ_READERS": str(readers)}
    yield CHANGED, {}

"""Measures one sync in this process: `python -m tests.benchmarks.measured_sync by_hand:sync` prints a line of JSON.

    {"seconds": …, "cpu_seconds": …, "peak_mb": …, "counters": {…}, "rows": …, "written": …, "digest": …}

The time for imports does not count; `peak_mb` is the memory of the whole process. `counters` are what the contestant
returns; `rows`, `written` (in this sync) and `digest` (of ids and names) are read from its table afterwards.
"""

import json
import os
import re
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from pkgutil import resolve_name

import django


def measure(contestant: str) -> dict[str, object]:
    if not contestant.startswith("bare"):
        django.setup()
    sync = resolve_name(f"tests.benchmarks.{contestant}")
    started_at, started, cpu_started = datetime.now(UTC), time.perf_counter(), time.process_time()
    counters = sync(os.environ["ORQ_BASE_URL"], os.environ["ORQ_API_KEY"])
    taken = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}
    taken["peak_mb"] = peak_mb()
    django.setup()
    return {"counters": counters, **taken, **examine(contestant, started_at)}


def peak_mb() -> float:
    """Read from /proc where possible: on Linux `ru_maxrss` begins with the memory of the parent process."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    kibibytes = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes * 1024 / 1_000_000


def examine(contestant: str, started_at: datetime) -> dict[str, object]:
    from django.db import connection  # noqa: PLC0415 # late: not part of the memory of the bare loops

    from django_orq.models import Conversation  # noqa: PLC0415 # as above

    from .models import Copy  # noqa: PLC0415 # as above
    from .remote import digest  # noqa: PLC0415 # as above

    model = Conversation if contestant.startswith("ours") else Copy
    rows = model.objects.filter(deleted_at=None).order_by("remote_id")
    if connection.vendor == "postgresql":  # or else autovacuum might do it while the next sync is measured
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM ANALYZE {model._meta.db_table}")
    return {
        "rows": rows.count(),
        "written": rows.filter(mirrored_at__gte=started_at).count(),
        "digest": digest(rows.values_list("remote_id", "display_name").iterator()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1])) + "\n")

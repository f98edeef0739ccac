"""Runs one full sync in its own process and prints the measurements as one line of JSON.

    {"seen": …, "unchanged": …, "rows": …, "seconds": …, "peak_rss": …}

`seen` and `unchanged` are the run's counters, `rows` are counted afterwards; `peak_rss` is in KiB.
"""

import io
import json
import logging
import resource
import sys
import time

import django
from django.core.management import call_command


def measure() -> dict[str, float]:
    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    call_command("orq_sync", full=True, stdout=io.StringIO())
    seconds = time.perf_counter() - started
    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return counters() | {"seconds": seconds, "peak_rss": peak_rss}


def counters() -> dict[str, float]:
    from django_orq.models import Conversation, SyncRun  # noqa: PLC0415 # Django must be set up first

    return SyncRun.objects.values("seen", "unchanged").latest("pk") | {"rows": Conversation.objects.count()}


if __name__ == "__main__":
    django.setup()
    logging.disable(logging.INFO)
    sys.stdout.write(json.dumps(measure()) + "\n")

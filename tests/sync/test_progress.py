from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from django_orq import mirror as verbs
from django_orq.exceptions import ConversationNotFound
from django_orq.models import Conversation, SyncRun
from django_orq.payloads import first_id
from django_orq.sync import report
from django_orq.sync.intervals import Interval, saved
from django_orq.sync.report import Progress, counts, how_far, how_far_each

from ..walking import full_run

ENDED = {"seen": 30, "reached_end": True, "state": "succeeded", "finished_at": datetime(2026, 3, 1, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"mode": "full", "seen": 10, "mirrored_before": 40}, Progress(done=10, total=40)),
        ({"mode": "full", "seen": 50, "mirrored_before": 40}, Progress(done=50, total=51)),
        ({"mode": "full", "seen": 10, "mirrored_before": 0}, Progress(done=10, total=None)),
        ({"mode": "full", "seen": 30, "mirrored_before": 40, "reached_end": True}, Progress(done=30, total=30)),
        ({"mode": "incremental", "seen": 10, "mirrored_before": 40}, Progress(done=10, total=None)),
        ({"mode": "full", "phase": "confirm", "looked_up": 2, **ENDED}, Progress(done=30, total=30)),
        (
            {"mode": "full", "phase": "confirm", "mirrored_before": 40, **ENDED, "state": "failed"},
            Progress(done=30, total=40),
        ),
    ],
)
def test_bar_is_full_only_at_the_end(columns, expected):
    assert how_far(SyncRun(**columns)) == expected


@pytest.mark.parametrize(("found", "left", "total"), [(3, 7, 10), (0, 0, None)])
def test_bar_of_a_confirmation_is_about_what_is_missing(monkeypatch, found, left, total):
    monkeypatch.setattr(report, "left_to_confirm", lambda run: left)
    run = SyncRun(mode="full", phase="confirm", state="running", looked_up=found)

    assert how_far(run) == Progress(done=found, total=total)


@pytest.mark.django_db
def test_finished_run_does_not_count_what_is_missing_today(remote):
    remote.add("Kept")
    gone = remote.add("Gone")["_id"]
    run = full_run()
    remote.remove(gone)
    with suppress(ConversationNotFound):
        verbs.refresh_conversation(Conversation.objects.get(remote_id=gone))

    assert (how_far(run), counts(run)) == (Progress(done=2, total=2), "2 conversations, 1 page")


def cut_run(*cuts: datetime, **columns) -> SyncRun:
    """A run of a mirror of 40 rows that is cut at conversations of these times, the newest first."""
    bounds = [None, *map(first_id, cuts), None]
    parts = saved([Interval(below=below, down_to=down_to) for below, down_to in pairwise(bounds)])
    return SyncRun(mode="full", state="running", mirrored_before=40, intervals=parts, **columns)


@pytest.mark.parametrize(
    ("cuts", "labels"),
    [
        (
            [datetime(2026, 10, 3, tzinfo=UTC), datetime(2025, 8, 12, 9, 30, tzinfo=UTC)],
            [
                "Created from Oct. 3, 2026 to now",
                "Created from Aug. 12, 2025 to Oct. 3, 2026",
                "Created from the beginning to Aug. 12, 2025",
            ],
        ),
        (
            [datetime(2026, 10, 3, 14, 5, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC)],
            [
                "Created from Oct. 3, 2026, 2:05 p.m. to now",
                "Created from Oct. 3, 2026, midnight to Oct. 3, 2026, 2:05 p.m.",
                "Created from the beginning to Oct. 3, 2026, midnight",
            ],
        ),
    ],
    ids=["on different days", "on one day"],
)
def test_interval_is_named_by_when_its_conversations_were_created(cuts, labels):
    assert [each.label for each in how_far_each(cut_run(*cuts))] == labels


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"entries": 0}, (0, 20)),
        ({"entries": 5}, (5, 20)),
        ({"entries": 20}, (20, 21)),
        ({"entries": 30}, (30, 31)),
        ({"entries": 5, "done": True}, (20, 20)),
        ({"entries": 0, "done": True}, (20, 20)),
        ({"entries": 30, "done": True}, (31, 31)),
    ],
)
def test_bar_of_an_interval_is_full_only_at_its_end(columns, expected):
    run = cut_run(datetime(2026, 10, 3, tzinfo=UTC))
    run.intervals[0] |= columns

    assert [(each.done, each.total) for each in how_far_each(run)] == [expected, (0, 20)]


@pytest.mark.django_db
def test_nothing_is_counted_for_the_bars(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert len(how_far_each(cut_run(datetime(2026, 10, 3, tzinfo=UTC)))) == 2
        assert how_far_each(cut_run(datetime(2026, 10, 3, tzinfo=UTC), phase="confirm")) == []
        assert how_far_each(cut_run()) == []

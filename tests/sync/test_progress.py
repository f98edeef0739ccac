from contextlib import suppress
from datetime import UTC, datetime

import pytest

from django_orq.exceptions import ConversationNotFound
from django_orq.mirror import verbs
from django_orq.models import Conversation, SyncRun
from django_orq.sync import report
from django_orq.sync.report import Progress, counts, how_far

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
        ({"mode": "full", "phase": "confirm", "tombstoned": 2, **ENDED}, Progress(done=30, total=30)),
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
    run = SyncRun(mode="full", phase="confirm", state="running", tombstoned=found)

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

"""A dry run says what the full run after it then does, and writes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps

from django_orq.exceptions import WorkspaceDoubted
from django_orq.models import Conversation, SyncRun
from django_orq.sync import intervals
from django_orq.sync.preview import MAX_NAMES, Preview
from django_orq.testing import OrqSandbox

from ..values import set_columns
from ..walking import configure, fill, full_run, mirror_equals

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[1, 4], ids=["one interval", "four intervals"])
def mirror(request: pytest.FixtureRequest, remote: OrqSandbox, settings: Any, monkeypatch: Any) -> list[str]:
    """The ids of 200 mirrored conversations, newest first."""
    monkeypatch.setattr(intervals, "MIN_ROWS", 10)
    monkeypatch.setattr(intervals, "NEARBY", 3)
    configure(settings, PAGE_SIZE=10, READERS=request.param)
    ids = fill(remote, 200)
    full_run()
    return ids


def preview(on_progress: Callable[[SyncRun], object] = lambda _run: None) -> dict[str, Any]:
    claim = Preview("default")
    assert claim.read(on_progress=on_progress) is None
    return claim.found


def contents() -> dict[str, list[Any]]:
    return {
        model.__name__: list(model.objects.order_by("pk").values())
        for model in apps.get_app_config("django_orq").get_models()
    }


def test_counts_and_names_are_those_of_the_run_that_follows(remote, mirror):
    before = dict(Conversation.objects.values_list("remote_id", "display_name"))
    fill(remote, 7)
    for remote_id in mirror[20:45]:
        remote.rename(remote_id, "Renamed")
    for remote_id in mirror[60:63]:
        remote.remove(remote_id)
    remote.hidden.update(mirror[100:104])
    set_columns(Conversation.objects.get(remote_id=mirror[150]), missing_since="2026-01-01T00:00Z")
    gone = Conversation.objects.get(remote_id=mirror[160])
    set_columns(gone, deleted_at=gone.mirrored_at)
    remote.transform_list = lambda answer: (
        answer
        | {"data": [item | ({"displayName": 5} if item["_id"] == mirror[170] else {}) for item in answer["data"]]}
    )
    stored = contents()

    found = preview()

    assert contents() == stored
    counted = {kind: one.count for kind, one in found.items()}
    assert counted == {
        "created": 7,
        "renamed": 25,
        "changed": 1,
        "restored": 1,
        "missing": 7,
        "looked_up": 7,
        "rejected": 1,
    }
    assert len(found["renamed"].names) == MAX_NAMES
    assert set(found["renamed"].names) <= {f"{before[remote_id]} → Renamed" for remote_id in mirror[20:45]}
    assert sorted(found["missing"].names) == sorted(before[id_] for id_ in [*mirror[60:63], *mirror[100:104]])
    assert found["rejected"].names == [mirror[170]]
    run = full_run()
    assert (run.created, run.updated, run.restored, run.missing, run.rejected) == (7, 26, 1, 7, 1)
    assert (run.tombstoned, run.unlisted) == (3, 4)


def test_nothing_to_do_is_found_after_a_full_run(mirror):
    assert not any(found.count for found in preview().values())


def test_empty_mirror_is_compared_with_the_whole_list(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 60)

    found = preview()

    assert (found["created"].count, len(found["created"].names)) == (60, MAX_NAMES)
    assert not Conversation.objects.exists()


def test_conversation_on_two_pages_is_counted_once(remote, settings):
    configure(settings, PAGE_SIZE=10)
    fill(remote, 30)
    shown: list[Any] = []

    def repeat_the_last(answer: Any) -> Any:
        shown.append(answer["data"])
        return answer | {"data": [*(page[-1] for page in shown[-2:-1]), *answer["data"]]}

    remote.transform_list = repeat_the_last
    assert preview()["created"].count == 30


def test_error_that_may_pass_leaves_the_rest_to_the_next_call(remote, mirror):
    fill(remote, 1)
    remote.rename(mirror[-1], "Renamed")
    remote.fail("list", after=3, status=429, headers={"Retry-After": "0"})
    claim = Preview("default")
    errors = [claim.read(on_progress=lambda _run: None) for _time in range(2)]

    assert [error and error.code for error in errors] == ["rate_limited", None]
    assert (claim.found["created"].count, claim.found["renamed"].count) == (1, 1)
    assert claim.run.seen == 201


def test_missing_rows_that_are_still_missing_are_looked_up(remote, mirror):
    remote.hidden.update(mirror[50:55])
    full_run()
    assert preview()["looked_up"].count == 0  # found by their ids just now

    for row in Conversation.objects.filter(remote_id__in=mirror[50:55]):
        set_columns(row, confirmed_at="2026-01-01T00:00Z")
    found = preview()
    assert (found["looked_up"].count, found["missing"].count) == (5, 0)


def test_range_with_more_rows_than_are_looked_up_at_once(remote, mirror, monkeypatch):
    monkeypatch.setattr("django_orq.sync.batches.CHUNK", 7)
    remote.hidden.update(mirror[30:90])

    found = preview()

    assert (found["missing"].count, found["looked_up"].count) == (60, 60)
    run = full_run()
    assert run.missing == 60


def test_another_workspace_is_noticed(remote, mirror):
    for remote_id in mirror:
        remote.remove(remote_id)
    fill(remote, 30)

    assert isinstance(Preview("default").read(on_progress=lambda _run: None), WorkspaceDoubted)
    assert not mirror_equals(remote)

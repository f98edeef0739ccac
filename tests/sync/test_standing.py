"""The judgement above the list of conversations, each case provoked for real."""

import pytest
from django.utils import timezone

from django_orq.models import Operation, SyncRun
from django_orq.sync import runs
from django_orq.sync.health import Level, standing
from django_orq.sync.slices import run_slice

from ..values import at
from ..walking import configure, fill, full_run, incremental_run

pytestmark = pytest.mark.django_db


def judged(*, is_operator: bool = False) -> tuple[Level, str, str]:
    one = standing("default", is_operator=is_operator)
    return one.level, one.text, one.action


def age(run: SyncRun, **hours: float) -> None:
    began = timezone.now() - timezone.timedelta(**hours)
    SyncRun.objects.filter(pk=run.pk).update(started_at=began, finished_at=began)


@pytest.fixture
def synced(remote):
    fill(remote, 30)
    return full_run()


def test_healthy(synced):
    assert judged() == (Level.OK, "The sync is healthy.", "")


def test_new_mirror_and_old_ones_offer_a_sync(remote, synced):
    age(synced, hours=27)
    assert judged() == (Level.LOOK, "New conversations may be missing here.", "fetch")
    run = runs.open_run("default", "incremental")
    run_slice(run.pk)
    assert judged()[::2] == (Level.LOOK, "full")
    SyncRun.objects.all().delete()
    assert judged()[::2] == (Level.LOOK, "fetch")


def test_refused_key_is_the_administrators_business(remote, synced):
    remote.fail("list", status=401)
    run = runs.open_run("default", "incremental")
    with pytest.raises(Exception, match="API key"):
        run_slice(run.pk)

    assert judged() == (Level.FAIL, "Orq rejects this site's API key. Ask the site's administrator.", "")
    assert "orq_doctor" in judged(is_operator=True)[1]


def test_failed_run_can_be_started_again(remote, synced):
    remote.fail("list", status=418)
    run = runs.open_run("default", "full")
    with pytest.raises(Exception, match="418"):
        run_slice(run.pk)

    run_slice(runs.open_run("default", "incremental").pk)  # which does not hide it

    level, text, action = judged()
    assert (level, action, standing("default", is_operator=False).run.mode) == (Level.FAIL, "start", "full")
    assert "418" in text


def test_missing_worker_is_noticed_after_a_minute(synced):
    run = runs.open_run("default", "incremental")
    assert judged()[0] == Level.OK
    SyncRun.objects.filter(pk=run.pk).update(queued_at=at(0), enqueued_at=at(0), ticket="x")

    level, text, _action = judged()
    assert (level, "queue" in text) == (Level.FAIL, False)
    assert "“celery”" in judged(is_operator=True)[1]


def test_operation_that_no_worker_takes_is_noticed(synced):
    operation = Operation.objects.create(verb="rename", total=1)
    operation.items.create(workspace="default", name="Refund", new_name="Paid")
    Operation.objects.update(requested_at=at(0))

    assert judged()[0] == Level.FAIL


def test_run_that_was_stopped_is_to_be_reviewed(remote, settings, synced):
    configure(settings, MASS_DELETE_MIN=0, MASS_DELETE_SHARE=0.0)
    for conversation in remote.conversations[:5]:
        remote.remove(conversation["_id"])
    stopped = full_run()
    run_slice(runs.open_run("default", "incremental").pk)

    assert stopped.needs_approval
    assert judged()[::2] == (Level.LOOK, "review")

    age(synced, hours=27)  # another full sync would be stopped, too
    assert judged()[::2] == (Level.LOOK, "review")


def test_wait_says_until_when(remote, synced):
    remote.fail("list", status=429, headers={"Retry-After": "600"})
    run_slice(runs.open_run("default", "incremental").pk)

    level, text, action = judged()
    assert (level, action) == (Level.LOOK, "review")
    assert "The run can resume after" in text


def test_refused_key_is_forgotten_once_a_later_run_completed(remote, synced):
    remote.fail("list", status=401)
    assert full_run().state == "failed"
    assert judged()[0] == Level.FAIL

    incremental_run()

    assert judged() == (Level.OK, "The sync is healthy.", "")
    remote.fail("list", status=418)
    assert full_run().state == "failed"
    incremental_run()
    assert judged()[::2] == (Level.FAIL, "start")


def test_run_whose_worker_died_is_told(remote, synced):
    run = runs.open_run("default", "full")
    dead = timezone.now() - timezone.timedelta(minutes=8)
    SyncRun.objects.filter(pk=run.pk).update(state="running", token="x", started_at=dead, lease_until=dead)

    assert judged() == (Level.LOOK, "Processing was interrupted. The next scheduled sync resumes it.", "review")


def test_list_shows_it(admin_client, synced):
    age(synced, hours=1)
    text = admin_client.get("/admin/django_orq/conversation/").content.decode()
    assert "orq-health orq-look" in text
    assert "New conversations may be missing here." in text

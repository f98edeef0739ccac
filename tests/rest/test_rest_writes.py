"""Conversations and runs changed over REST, through real sockets."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections

from django_orq.mirror import fetch_conversation
from django_orq.models import Conversation, SyncRun
from django_orq.sync import runs

from ..brokering import messages
from ..resting import LIST, RUNS, Program, page_of
from ..threads import disconnect
from ..walking import full_run, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)
WALK = "django_orq.walk_conversations"


@pytest.fixture(autouse=True, params=[False, True], ids=["plain", "ATOMIC_REQUESTS"])
def atomic_requests(request, monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)


@pytest.fixture
def row(remote, program) -> Conversation:
    return fetch_conversation(remote_id=remote.add("Refund")["_id"])


class TestConversations:
    def test_create_creates_in_orq_first(self, program, remote):
        more = {"remote_id": "conv_1", "metadata": {"a": 1}, "state": "deleted"}
        response = program.post(LIST, json={"display_name": "  New ticket ", **more})

        assert response.status_code == 201
        (created,) = remote.conversations
        assert created["displayName"] == response.json()["display_name"] == "New ticket"
        assert remote.requests[0].body == {"displayName": "New ticket"}
        assert response.json()["state"] == "live"
        assert program.get(f"{LIST}{created['_id']}/").json() == response.json()

    def test_rename_renames_in_orq_first(self, program, remote, row):
        response = program.patch(page_of(row), json={"display_name": "Paid"})

        assert response.status_code == 200
        answer = response.json()
        assert (answer["display_name"], answer["replaced"], answer["overtaken_by"]) == ("Paid", None, None)
        assert remote.get(row.remote_id)["displayName"] == "Paid"
        assert mirror_equals(remote)

    def test_rename_says_whom_it_replaced(self, program, remote, row):
        """Another user renames, and a sync mirrors it, between our read and our rename."""

        def rename_and_sync(operation, phase):
            if (operation, phase) == ("update", "before"):
                remote.on_request = None
                remote.rename(row.remote_id, "Theirs")
                full_run()
                disconnect()

        remote.on_request = rename_and_sync
        answer = program.patch(page_of(row), json={"display_name": "Ours"}).json()

        assert (answer["display_name"], answer["replaced"]) == ("Ours", "Theirs")

    def test_delete_deletes_in_orq_and_leaves_a_tombstone(self, program, remote, row):
        response = program.delete(page_of(row))

        assert (response.status_code, response.content) == (204, b"")
        assert remote.conversations == []
        assert program.get(page_of(row)).json()["state"] == "deleted"
        assert program.get(LIST).json()["results"] == []
        assert program.delete(page_of(row)).status_code == 204

    def test_refresh_mirrors_what_orq_has_now(self, program, remote, row):
        remote.rename(row.remote_id, "Paid")

        response = program.post(f"{page_of(row)}refresh/")

        assert (response.status_code, response.json()["display_name"]) == (200, "Paid")
        assert mirror_equals(remote)

    def test_fetch_mirrors_one_that_is_not_here_yet(self, program, remote):
        remote_id = remote.add("Refund")["_id"]

        response = program.post(f"{LIST}fetch/", json={"remote_id": remote_id})

        assert (response.status_code, response.json()["display_name"]) == (200, "Refund")
        assert mirror_equals(remote)


class TestRuns:
    def test_start_queues_a_run_and_tells_a_worker(self, program, queue):
        response = program.post(RUNS, json={"mode": "full"})

        assert response.status_code == 202
        run = SyncRun.objects.get()
        assert response.json() == program.get(f"{RUNS}{run.pk}/").json()
        assert (response.json()["mode"], response.json()["state"]) == ("full", "queued")
        assert messages(queue) == [(WALK, [run.pk])]

    def test_second_start_is_refused_with_the_run_of_the_first(self, program, queue):
        first = program.post(RUNS, json={"mode": "full"})
        second = program.post(RUNS, json={"mode": "full"})
        other = program.post(RUNS)

        assert [response.status_code for response in (first, second, other)] == [202, 409, 202]
        assert second.json()["run"]["id"] == first.json()["id"]
        assert other.json()["mode"] == "incremental"
        assert queue.qsize() == 2

    @pytest.mark.parametrize(
        ("verb", "state", "wait"),
        [
            ("start", "paused", ""),
            ("start", "waiting", "budget"),
            ("start", "queued", ""),  # and no worker knows
            ("resume", "paused", ""),
            ("resume", "waiting", "budget"),
        ],
    )
    def test_run_that_rests_goes_on(self, program, queue, verb, state, wait):
        run = SyncRun.objects.create(workspace="default", mode="full", slot="default:full", state=state, wait=wait)

        response = program.post(RUNS if verb == "start" else f"{RUNS}{run.pk}/resume/", json={"mode": "full"})

        assert response.status_code == 202
        assert response.json() == program.get(f"{RUNS}{run.pk}/").json()
        assert response.json()["state"] == "queued"
        assert messages(queue) == [(WALK, [run.pk])]

    @pytest.mark.parametrize("reason", ["mass_delete", "no_canary", "workspace_doubted"])
    def test_run_that_was_stopped_for_review_goes_on_once_it_is_approved(self, program, queue, reason):
        stopped = datetime.now(UTC)
        run = SyncRun.objects.create(
            workspace="default",
            mode="full",
            state="failed" if reason == "workspace_doubted" else "partial",
            needs_approval=reason,
            to_approve=7,
            started_at=stopped - timedelta(minutes=1),
            finished_at=stopped,
        )
        seen = program.get(RUNS).json()["results"][0]

        response = program.post(f"{RUNS}{run.pk}/approve/", json={"reason": seen["needs_approval"]})

        assert response.status_code == 202
        approved = response.json()
        assert approved == program.get(f"{RUNS}{run.pk}/").json()
        assert (approved["state"], approved["needs_approval"], approved["finished_at"]) == ("queued", None, None)
        (approval,) = approved["approvals"]
        assert (approval["by"], approval["reason"], approval["to_approve"]) == ("agent", reason, 7)
        assert datetime.fromisoformat(approval["at"])
        assert messages(queue) == [(WALK, [run.pk])]
        assert program.post(f"{RUNS}{run.pk}/approve/", json={"reason": reason}).status_code == 409

    def test_run_shows_how_far_it_is(self, program, remote):
        remote.add("Refund")
        full_run()
        SyncRun.objects.create(
            workspace="default",
            mode="full",
            slot="default:full",
            state="running",
            mirrored_before=10,
            seen=4,
            pages=1,
            lease_until=datetime.now(UTC) + timedelta(minutes=1),
        )

        newest, oldest = program.get(RUNS).json()["results"]
        running = program.get(f"{RUNS}{newest['id']}/").json()
        done = program.get(f"{RUNS}{oldest['id']}/").json()

        assert running["progress"] == {"done": 4, "total": 10, "text": "4 conversations, 1 page"}
        assert (done["state"], done["remarks"]) == ("succeeded", [])
        assert done["progress"]["text"].startswith("1 conversation, 1 page")

    def test_list_of_runs_is_filtered_and_pages(self, program):
        for state in ("failed", "succeeded", "failed"):
            SyncRun.objects.create(workspace="default", mode="full", state=state, finished_at=datetime.now(UTC))

        first = program.get(RUNS, params={"state": "failed", "page_size": 1}).json()
        second = program.get(first["next"]).json()

        ids = [item["id"] for page in (first, second) for item in page["results"]]
        assert ids == sorted(SyncRun.objects.filter(state="failed").values_list("pk", flat=True), reverse=True)
        assert second["next"] is None
        assert first["freshness"] == {"last_incremental": None, "last_full": None}
        assert program.get(RUNS, params={"mode": "incremental"}).json()["results"] == []

    @pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("cancel", "cancelled")])
    def test_run_is_stopped(self, program, verb, state):
        run = runs.open_run("default", "full")

        response = program.post(f"{RUNS}{run.pk}/{verb}/")

        assert (response.status_code, response.json()["state"]) == (200, state)
        run.refresh_from_db()
        assert run.is_finished is (verb == "cancel")

    def test_run_that_another_has_just_resumed_is_not_resumed_again(self, program, monkeypatch, queue):
        run = runs.open_run("default", "full")
        runs.pause(run)

        def resumed_meanwhile(seen: SyncRun) -> bool:
            assert runs.resume(SyncRun.objects.get()) is not None
            return seen.state == "paused"

        monkeypatch.setattr(runs, "can_be_resumed", resumed_meanwhile)

        response = program.post(f"{RUNS}{run.pk}/resume/")

        told = response.json()
        assert (response.status_code, told["code"], told["run"]["state"]) == (409, "sync_run_not_paused", "queued")
        assert messages(queue) == []

    def test_runs_of_other_workspaces_are_not_seen(self, program):
        run = SyncRun.objects.create(workspace="sales", mode="full", slot="sales:full")

        assert program.get(RUNS).json()["results"] == []
        for verb in ("pause", "resume", "approve", "cancel"):
            assert program.post(f"{RUNS}{run.pk}/{verb}/").status_code == 404

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="in memory, all threads share one connection")
    def test_runs_started_at_once_come_to_one(self, program, queue):
        """Neither finds a run; one of them opens it and notifies a worker."""
        barrier = threading.Barrier(4)

        def start(_number: int) -> int:
            with Program(program.address) as other:
                other.auth = program.auth
                barrier.wait()
                return other.post(RUNS, json={"mode": "full"}).status_code

        with ThreadPoolExecutor(4) as pool:
            codes = sorted(pool.map(start, range(4)))

        assert SyncRun.objects.count() == 1
        assert codes[0] == 202
        assert set(codes) <= {202, 409}

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from django_orq.mirror import delete_conversation, operations
from django_orq.mirror.operations import ItemRequest, Requester
from django_orq.models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun
from django_orq.sync import runs, slices
from django_orq.sync.health import MAX_OPERATIONS, standing
from django_orq.sync.report import remarks

from ..walking import approve, configure, full_run, incremental_run, let_the_wait_pass, work_on

pytestmark = pytest.mark.django_db


def orq_health(*arguments: str) -> tuple[int, str]:
    """Return the exit code and the output."""
    stdout = io.StringIO()
    try:
        call_command("orq_health", *arguments, stdout=stdout, no_color=True)
    except SystemExit as exit_:
        return int(str(exit_.code)), stdout.getvalue()
    return 0, stdout.getvalue()


def findings(*arguments: str) -> list[dict[str, Any]]:
    return json.loads(orq_health("--json", *arguments)[1])["findings"]


def finding(code: str) -> dict[str, Any]:
    (found,) = [each for each in findings() if each["code"] == code]
    return found


def age(run: SyncRun, **columns: timedelta) -> None:
    """Move these times of a run into the past."""
    SyncRun.objects.filter(pk=run.pk).update(**{name: F(name) - span for name, span in columns.items()})


@pytest.fixture
def synced(remote) -> SyncRun:
    remote.add("Ticket")
    run = full_run()
    remote.clear_requests()
    return run


class TestFreshness:
    def test_synced_a_moment_ago_is_healthy_and_orq_is_not_asked(self, remote, synced):
        code, output = orq_health()

        assert code == 0
        assert output.splitlines() == [
            "OK    default: New conversations: as of 0 seconds ago.",
            "OK    default: Renames and deletions: as of 0 seconds ago.",
            f"OK    default: Sync run {synced.pk} (full): completed 0 seconds ago.",
            "No problems found.",
        ]
        assert remote.count() == 0

    def test_never_synced_is_unhealthy_and_says_what_to_run(self, remote):
        code, output = orq_health()

        assert code == 1
        assert "FAIL  default: The list has not been read to its end yet. Run “manage.py orq_sync --full”" in output
        assert "No problems" not in output

    def test_advice_names_a_workspace_that_is_not_the_default_one(self, remote, settings):
        settings.ORQ_WORKSPACES = {"the shop": settings.ORQ_WORKSPACES["default"]}

        assert "Run “manage.py orq_sync --workspace 'the shop' --full”" in finding("last_incremental")["text"]

    @pytest.mark.parametrize(("seconds", "level"), [(30, "ok"), (90, "look")])
    def test_run_that_began_in_the_future_is_to_be_looked_at(self, synced, seconds, level):
        age(synced, started_at=timedelta(seconds=-seconds))

        assert (finding("last_incremental")["level"], finding("last_full")["level"]) == (level, level)

    def test_settings_that_can_not_be_used_are_unhealthy(self, synced, settings):
        configure(settings, LEASE_SECONDS="soon")

        assert orq_health()[0] == 1
        assert "LEASE_SECONDS" in finding("settings")["text"]

    def test_workspace_without_a_full_run_is_unhealthy(self, remote):
        incremental_run()

        assert orq_health()[0] == 1
        assert (finding("last_incremental")["level"], finding("last_full")["level"]) == ("ok", "fail")

    @pytest.mark.parametrize(("seconds", "code"), [(890, 0), (910, 1)])
    def test_newest_complete_run_of_any_mode_may_be_so_old(self, synced, seconds, code):
        age(synced, started_at=timedelta(seconds=seconds))

        assert orq_health()[0] == code
        assert orq_health("--max-age", "1000")[0] == 0

    @pytest.mark.parametrize(("hours", "code"), [(25, 0), (27, 1)])
    def test_full_run_may_be_so_old_if_an_incremental_one_is_new(self, remote, synced, hours, code):
        age(synced, started_at=timedelta(hours=hours))
        incremental_run()

        assert orq_health()[0] == code
        assert 0 <= finding("last_full")["age_seconds"] - hours * 3600 < 60
        assert orq_health("--max-full-age", "100000")[0] == 0
        assert ("limit: 1 day, 2 hours" in orq_health()[1]) == bool(code)


class TestEndedRuns:
    def test_failed_run_is_unhealthy_and_says_why(self, remote, synced):
        remote.fail("list", status=401)
        failed = incremental_run()

        code, output = orq_health()

        assert code == 1
        assert f"FAIL  default: Sync run {failed.pk} (incremental): failed 0 seconds ago. Orq rejects" in output

    def test_failed_run_that_a_full_one_has_made_up_for_is_not_told(self, remote, synced):
        remote.fail("list", status=401)
        incremental_run()
        full_run()

        assert orq_health()[0] == 0

    def test_failed_full_run_is_not_hidden_by_incremental_ones(self, remote, synced):
        remote.fail("list", status=401)
        failed = full_run()
        incremental_run()

        assert orq_health()[0] == 1
        assert [each["run"] for each in findings() if each["level"] == "fail"] == [failed.pk]

    def test_partial_run_is_for_a_person_and_says_why(self, remote, synced):
        remote.transform_list = lambda answer: answer | {"data": [*answer["data"], "junk"]}
        full_run()

        assert orq_health()[0] == 3
        assert "1 item from Orq was rejected" in finding("last_run")["text"]

    def test_cancelled_run_is_what_a_person_wanted(self, synced):
        runs.cancel(runs.open_run("default", "full"))

        assert orq_health()[0] == 0

    def test_cancelled_run_does_not_hide_one_that_failed(self, remote, synced):
        remote.fail("list", status=401)
        full_run()
        runs.cancel(runs.open_run("default", "full"))

        assert orq_health()[0] == 1
        assert "failed" in finding("last_run")["text"]


class TestRunsThatNeedApproval:
    @pytest.fixture
    def held(self, remote, settings, synced) -> SyncRun:
        configure(settings, MASS_DELETE_MIN=0, MASS_DELETE_SHARE=0)
        remote.add("Another")
        incremental_run()
        remote.remove(Conversation.objects.order_by("remote_id").first().remote_id)
        return full_run()

    def test_run_that_needs_approval_says_how_to_give_it(self, held):
        code, output = orq_health()

        assert code == 3
        assert f"orq_sync --approve {held.pk}" in output

    def test_run_that_needs_approval_is_told_though_a_later_one_failed(self, remote, held):
        remote.fail("list", status=401)
        full_run()

        assert finding("needs_approval")["run"] == held.pk

    def test_run_that_was_approved_is_told_no_more(self, remote, held):
        work_on(approve(held))
        remote.fail("list", status=401)
        full_run()

        assert [each for each in findings() if each["code"] == "needs_approval"] == []

    @pytest.mark.parametrize("by", ["approval", "deletion"])
    def test_run_is_told_no_more_once_its_conversations_are_no_longer_missing(self, held, by):
        later = full_run()
        assert finding("last_run")["run"] == later.pk
        work_on(approve(held)) if by == "approval" else delete_conversation(Conversation.objects.missing().get())

        assert [each for each in findings() if each["code"] == "needs_approval"] == []
        assert "None of them was" not in orq_health()[1]
        assert standing("default", is_operator=True).text == "The sync is healthy."
        assert remarks(later, for_terminal=True) == [
            "The conversations that needed review are no longer missing, so you need not approve the run."
        ]

    def test_approved_it_is_well(self, held):
        work_on(approve(held))

        code, output = orq_health()

        assert code == 0
        assert "Approved by somebody" in output

    def test_complete_full_run_after_it_settles_it(self, settings, held):
        configure(settings, MASS_DELETE_MIN=50)
        full_run()

        assert orq_health()[0] == 0

    def test_doubted_workspace_is_forgotten_once_the_list_is_known_again(self, remote, synced):
        hidden = {remote.conversations[0]["_id"]}
        remote.hidden, remote.locked_out = hidden, True
        doubted = incremental_run()
        remote.hidden, remote.locked_out = set(), False
        assert doubted.error_code == "workspace_doubted"
        assert f"orq_sync --approve {doubted.pk}" in orq_health()[1]

        incremental_run()

        assert orq_health()[0] == 0


class TestUnfinishedRuns:
    @pytest.fixture
    def queued(self, remote, synced) -> SyncRun:
        return runs.open_run("default", "full")

    def test_queued_a_moment_ago_is_well(self, queued):
        assert orq_health()[0] == 0
        assert (finding("unfinished_run")["run"], finding("unfinished_run")["state"]) == (queued.pk, "queued")

    @pytest.mark.parametrize(
        ("state", "seconds", "text"),
        [
            ("queued", {"queued_at": -120}, "No worker was notified"),
            ("queued", {"queued_at": -180, "enqueued_at": -180}, "consuming the queue “celery”"),
        ],
        ids=str,
    )
    def test_run_that_nobody_takes_is_for_a_person(self, queued, state, seconds, text):
        times = {name: datetime.now(UTC) + timedelta(seconds=number) for name, number in seconds.items()}
        SyncRun.objects.filter(pk=queued.pk).update(state=state, **times)

        code, output = orq_health()

        assert code == 3
        assert "WARN  default: " in output
        assert text in finding("unfinished_run")["text"]

    def test_live_lease_names_who_works_on_it(self, queued):
        soon = datetime.now(UTC) + timedelta(seconds=60)
        SyncRun.objects.filter(pk=queued.pk).update(state="running", lease_until=soon, worker="process 4711 on host")

        assert orq_health()[0] == 0
        assert "Worker: process 4711 on host." in finding("unfinished_run")["text"]
        assert 50 < finding("unfinished_run")["lease_seconds"] <= 60

    @pytest.mark.parametrize(("seconds", "code"), [(30, 0), (90, 3)])
    def test_lease_that_ran_out_is_for_a_person_unless_the_schedule_takes_it_over(self, queued, seconds, code):
        past = datetime.now(UTC) - timedelta(seconds=seconds)
        SyncRun.objects.filter(pk=queued.pk).update(state="running", lease_until=past, worker="process 4711 on host")

        assert orq_health()[0] == code
        assert "appears to have died" in finding("unfinished_run")["text"]
        assert "Worker:" not in finding("unfinished_run")["text"]

    def test_paused_run_is_for_a_person_and_says_how_to_resume_it(self, queued):
        runs.pause(queued)

        assert orq_health()[0] == 3
        assert f"orq_sync --resume {queued.pk}" in finding("unfinished_run")["text"]

    def test_run_that_waits_says_until_when(self, remote, queued):
        remote.fail("list", status=429, headers={"Retry-After": "600"})
        work_on(queued)

        assert orq_health()[0] == 0
        assert "The run can resume after" in finding("unfinished_run")["text"]
        assert 590 < finding("unfinished_run")["wait_seconds"] <= 600

    def test_wait_that_is_over_and_nobody_goes_on_is_for_a_person(self, remote, queued):
        remote.fail("list", status=503)
        work_on(queued)
        let_the_wait_pass()
        age(queued, resume_at=timedelta(minutes=2))

        assert orq_health()[0] == 3

    def test_spent_budget_is_well(self, remote, settings, synced):
        configure(settings, PAGE_SIZE=1)
        remote.add("Another")
        slices.run_slice(runs.open_run("default", "full", max_seconds=0.000_001).pk)

        assert orq_health()[0] == 0
        assert "budget" in finding("unfinished_run")["text"]


class TestOperationsAndPayloads:
    @pytest.fixture
    def ordered(self, synced) -> Operation:
        return self.order()

    def order(self) -> Operation:
        operation, _is_new = operations.create_operation(
            "refresh", [ItemRequest(conversation=row) for row in Conversation.objects.all()], by=Requester()
        )
        return operation

    def test_operation_that_nobody_takes_is_for_a_person_after_a_while(self, ordered):
        assert orq_health()[0] == 0
        Operation.objects.update(requested_at=ordered.requested_at - timedelta(minutes=2))

        code, output = orq_health()

        assert code == 3
        assert "conversation. No worker was notified." in output
        assert finding("operation")["operation"] == ordered.pk

    @pytest.mark.parametrize(("seconds", "is_told"), [(50, False), (65, True)])
    def test_operation_whose_worker_was_notified_is_told_after_a_minute(self, ordered, settings, seconds, is_told):
        configure(settings, LEASE_SECONDS=600)
        Operation.objects.update(enqueued_at=datetime.now(UTC) - timedelta(seconds=seconds))

        assert orq_health()[0] == (3 if is_told else 0)
        assert (standing("default", is_operator=True).level == "fail") == is_told

    def test_operations_whose_wait_has_just_ended_hide_none_that_nobody_takes(self, ordered):
        for _operation in range(MAX_OPERATIONS):
            self.order()
        now = datetime.now(UTC)
        Operation.objects.update(requested_at=now - timedelta(hours=1), resume_at=now - timedelta(seconds=30))
        not_taken = self.order()
        Operation.objects.filter(pk=not_taken.pk).update(enqueued_at=now - timedelta(minutes=10))

        assert finding("operation")["operation"] == not_taken.pk
        assert standing("default", is_operator=True).level == "fail"

    def test_operation_about_another_workspace_is_not_told(self, ordered):
        Operation.objects.update(requested_at=ordered.requested_at - timedelta(minutes=2))
        OperationItem.objects.update(workspace="another")

        assert orq_health("--workspace", "default")[0] == 0
        assert orq_health()[0] == 3

    def test_rejected_payload_is_for_a_person_until_it_is_resolved(self, synced):
        seen = datetime.now(UTC)
        row = RejectedPayload.objects.create(
            workspace="default", key="x", reason="no text", excerpt="secret", first_seen_at=seen, last_seen_at=seen
        )

        code, output = orq_health()

        assert code == 3
        assert "1 item from Orq was rejected. See “Rejected items”" in output
        assert "secret" not in output
        RejectedPayload.objects.filter(pk=row.pk).update(resolved_at=seen)
        assert orq_health()[0] == 0


class TestUsage:
    def test_all_workspaces_are_looked_at_unless_one_is_named(self, synced, settings):
        settings.ORQ_WORKSPACES |= {"research": settings.ORQ_WORKSPACES["default"]}

        code, output = orq_health()

        assert code == 1
        assert "FAIL  research: The list has not been read to its end yet." in output
        assert orq_health("--workspace", "default")[0] == 0

    def test_json_is_one_object(self, synced):
        code, output = orq_health("--json")

        document = json.loads(output)
        assert (code, document["healthy"], document["exit_code"]) == (0, True, 0)
        assert [each["code"] for each in document["findings"]] == ["last_incremental", "last_full", "last_run"]
        for each in document["findings"]:
            assert each.keys() >= {"code", "level", "workspace", "text"}

    def test_json_of_an_unhealthy_mirror_is_told_by_the_exit_code_too(self, remote):
        code, output = orq_health("--json")

        assert (code, json.loads(output)["exit_code"], json.loads(output)["healthy"]) == (1, 1, False)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--workspace", "other"], "no Orq workspace 'other'"),
            (["--max-age", "0"], "above 0"),
            (["--max-age", "inf"], "at most a hundred years"),
            (["--max-age", "nan"], "above 0"),
            (["--max-full-age", "-1"], "above 0"),
        ],
    )
    def test_wrong_usage_exits_with_2(self, remote, arguments, message):
        with pytest.raises(CommandError, match=message) as refusal:
            orq_health(*arguments)

        assert refusal.value.returncode == 2

    def test_project_without_a_workspace_is_wrong_usage(self, settings):
        settings.ORQ_WORKSPACES = {}

        with pytest.raises(CommandError, match="no Orq workspace 'default'") as refusal:
            orq_health()

        assert refusal.value.returncode == 2

    def test_number_of_statements_does_not_grow(self, remote, synced, settings, statements):
        with statements() as few:
            orq_health()
        for _time in range(5):
            remote.fail("list", status=401)
            full_run()
            full_run()
        Operation.objects.bulk_create([Operation(verb="refresh", total=1) for _time in range(50)])
        with statements() as many:
            orq_health()

        assert len(few) <= 12
        assert len(many) <= len(few) + MAX_OPERATIONS
        assert [sql for sql in many if not sql.startswith("SELECT")] == []

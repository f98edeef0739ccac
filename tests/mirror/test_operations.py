"""Operations, created and run without the admin."""

import logging
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection
from django.utils import timezone

from django_orq import mirror as verbs, tasks
from django_orq.mirror import operations
from django_orq.mirror.operations import Execution, ItemRequest, Requester
from django_orq.models import Conversation, ConversationChange, Operation, OperationItem
from django_orq.store import creations, leases
from django_orq.store.database import all_operations

from ..celery import app
from ..ordering import NOBODY, let_the_wait_pass, lose_the_worker, meanwhile, place, raising, rename_all, states
from ..threads import in_thread
from ..values import set_columns
from ..walking import configure, incremental_run, mirror_equals

pytestmark = pytest.mark.django_db(transaction=True)


class TestWork:
    def test_every_conversation_is_renamed_and_the_operation_finished(self, remote, rows):
        operation = operations.work_slice(rename_all(rows).pk)

        assert operation.is_finished
        assert states(operation) == ["done"] * 3
        assert [item["displayName"] for item in remote.conversations] == ["Three anew", "Two anew", "One anew"]
        assert mirror_equals(remote)

    def test_deletion_and_refresh(self, remote, rows):
        remote.rename(rows[0].remote_id, "Renamed elsewhere")
        refresh = place("refresh", rows)
        delete = place("delete", rows[1:])

        operations.work_slice(refresh.pk)
        operations.work_slice(delete.pk)

        assert states(refresh) + states(delete) == ["done"] * 5
        assert Conversation.objects.live().get().display_name == "Renamed elsewhere"

    def test_creation_of_several_makes_new_conversations_of_the_same_names(self, remote, rows):
        for row in rows:
            verbs.delete_conversation(row)

        operation = place("create", rows)
        operations.work_slice(operation.pk)

        assert {row.display_name for row in Conversation.objects.live()} == {"One", "Two", "Three"}
        assert {item.conversation for item in operation.items.all()} == set(Conversation.objects.live())
        assert mirror_equals(remote)

    def test_slice_ends_in_time_and_the_next_goes_on(self, remote, rows):
        operation = rename_all(rows)

        assert not operations.work_slice(operation.pk, seconds=0).is_finished
        assert states(operation) == ["done", "pending", "pending"]
        while not operation.is_finished:
            operation = operations.work_slice(operation.pk, seconds=0)
        assert remote.count("update") == 3

    def test_only_one_works_on_it(self, remote, rows):
        operation = rename_all(rows)
        outcomes = []

        def work_too():
            in_thread(lambda: outcomes.append(operations.work_slice(operation.pk))).join()

        meanwhile(remote, "update", "before", work_too)
        operations.work_slice(operation.pk)

        assert outcomes == [None]
        assert remote.count("update") == 3

    def test_nothing_and_too_much_are_refused(self, rows):
        with pytest.raises(ValueError, match="1 to 1,000"):
            operations.create_operation("refresh", [], by=NOBODY)
        with pytest.raises(ValueError, match="not 1,001"):
            operations.create_operation("refresh", [ItemRequest(conversation=rows[0])] * 1_001, by=NOBODY)

    def test_form_that_is_sent_twice_orders_once(self, rows):
        assert rename_all(rows, form_token="f" * 32) == rename_all(rows, form_token="f" * 32)
        assert OperationItem.objects.count() == 3

    def test_row_that_is_gone_for_good_is_no_form_sent_before(self, remote, rows):
        gone = Conversation(pk=1_000_000_000, workspace="default", display_name="Gone")

        with pytest.raises(IntegrityError):
            place("refresh", [gone], form_token="f" * 32)

    def test_adopted_by_the_next_call_of_the_schedule(self, remote, rows):
        operation = rename_all(rows)
        assert list(leases.idle_operations()) == [operation]

        app.conf.task_always_eager = True
        try:
            tasks.sync_conversations.delay()
        finally:
            app.conf.task_always_eager = False

        assert states(operation) == ["done"] * 3
        assert list(leases.idle_operations()) == []


class TestFailures:
    def test_one_that_fails_stops_no_other_and_says_why(self, remote, rows):
        remote.remove(rows[1].remote_id)
        operation = operations.work_slice(rename_all(rows).pk)

        failed = operation.items.get(state="failed")
        assert states(operation) == ["done", "failed", "done"]
        assert failed.error_code == "conversation_not_found"
        rows[1].refresh_from_db()
        assert (rows[1].display_name, rows[1].state) == ("Two", "missing")

    def test_what_all_would_meet_is_not_tried_again_and_again(self, remote, rows):
        remote.fail(status=401, times=None)
        operation = operations.work_slice(rename_all(rows).pk)

        assert states(operation) == ["failed"] * 3
        assert [item.note.get("skipped", False) for item in operation.items.order_by("pk")] == [False, True, True]
        assert remote.count() == 1

    def test_conversation_that_somebody_renamed_is_left_alone_until_it_is_ordered_again(self, remote, rows):
        operation = rename_all(rows)
        remote.rename(rows[0].remote_id, "Theirs")
        operations.work_slice(operation.pk)
        assert states(operation) == ["failed", "done", "done"]
        assert operation.items.get(state="failed").error_params["display_name"] == "Theirs"
        operation.refresh_from_db()

        assert operations.retry(operation, by=NOBODY)
        operations.work_slice(operation.pk)

        assert states(operation) == ["done"] * 3
        assert remote.conversations[0]["displayName"] == "Three anew"

    def test_yet_another_rename_is_not_replaced_unseen_by_the_second_order(self, remote, rows):
        operation = rename_all(rows[:1])
        remote.rename(rows[0].remote_id, "Theirs")
        operation = operations.work_slice(operation.pk)
        remote.rename(rows[0].remote_id, "Theirs once more")

        operations.retry(operation, by=NOBODY)
        operations.work_slice(operation.pk)

        assert states(operation) == ["failed"]
        assert remote.conversations[0]["displayName"] == "Theirs once more"

    def test_nothing_to_do_again(self, remote, rows):
        operation = rename_all(rows)
        assert not operations.retry(operation, by=NOBODY)  # it is not finished

        operation = operations.work_slice(operation.pk)
        assert not operations.retry(operation, by=NOBODY)
        operation.refresh_from_db()
        assert operation.is_finished

    def test_creation_of_unknown_outcome_is_never_done_again(self, remote, rows):
        remote.fail("create", drop="after")
        operation = place("create", rows)
        operation = operations.work_slice(operation.pk)
        assert states(operation) == ["unknown", "done", "done"]

        assert not operations.retry(operation, by=NOBODY)
        incremental_run()

        assert remote.count("create") == 3
        assert Conversation.objects.filter(display_name="Three").count() == 2

    def test_deletion_whose_answer_got_lost_is_unknown_and_may_be_ordered_again(self, remote, rows):
        remote.fail("delete", drop="after", times=None)
        operation = place("delete", rows[:1])
        operation = operations.work_slice(operation.pk)
        assert states(operation) == ["unknown"]
        remote.clear_faults()

        assert operations.retry(operation, by=NOBODY)
        operations.work_slice(operation.pk)

        assert states(operation) == ["done"]
        assert not Conversation.objects.live().filter(pk=rows[0].pk).exists()

    def test_orq_that_asks_to_wait_is_left_alone_and_nothing_is_lost(self, remote, rows):
        remote.fail("update", status=429, headers={"Retry-After": "40"}, after=1)
        operation = operations.work_slice(rename_all(rows).pk)

        assert states(operation) == ["done", "pending", "pending"]
        assert (operation.error_code, operation.resume_at is None) == ("rate_limited", False)
        assert operations.work_slice(operation.pk) is None

        let_the_wait_pass(operation)
        assert states(operations.work_slice(operation.pk)) == ["done"] * 3

    def test_wait_of_more_than_a_day_ends(self, remote, rows):
        remote.fail(status=429, times=None)
        operation = operations.work_slice(rename_all(rows).pk)
        yesterday = operation.requested_at - timedelta(hours=25)
        all_operations().filter(pk=operation.pk).update(trouble_since=yesterday)
        let_the_wait_pass(operation)

        operation = operations.work_slice(operation.pk)

        assert operation.is_finished
        assert states(operation) == ["failed"] * 3

    def test_day_begins_anew_with_each_item_that_is_done(self, remote, rows):
        remote.fail("update", status=429)
        operation = operations.work_slice(rename_all(rows).pk)
        yesterday = operation.requested_at - timedelta(hours=25)
        all_operations().filter(pk=operation.pk).update(trouble_since=yesterday)
        let_the_wait_pass(operation)
        remote.fail("update", status=429, after=1)

        operation = operations.work_slice(operation.pk)

        assert states(operation) == ["done", "pending", "pending"]
        assert operation.trouble_since > yesterday + timedelta(hours=24)

    def test_pace_is_kept(self, remote, rows, settings, monkeypatch):
        configure(settings, REQUESTS_PER_MINUTE=12)
        monkeypatch.setattr(operations.rate_limits, "MAX_SLEEP", 1.0)

        operation = operations.work_slice(rename_all(rows).pk)

        assert states(operation) == ["done", "pending", "pending"]
        assert operation.error_code == "pace_kept"

    def test_settings_that_are_wrong_are_told(self, rows, settings):
        settings.ORQ_WORKSPACES = {}
        operation = operations.work_slice(rename_all(rows).pk)

        assert states(operation) == ["failed"] * 3
        assert "no Orq workspace" in operation.items.first().error_params["problem"]

    def test_row_that_the_project_deleted_is_told(self, remote, rows):
        operation = rename_all(rows)
        OperationItem.objects.filter(conversation=rows[0]).update(conversation=None)

        operations.work_slice(operation.pk)

        assert states(operation) == ["failed", "done", "done"]
        assert operation.items.first().error_code == "row_deleted"

    def test_failing_database_makes_it_rest_and_the_next_slice_goes_on(self, remote, rows, monkeypatch, caplog):
        operation = rename_all(rows)
        with monkeypatch.context() as patch:
            patch.setattr(operations, "rename_conversation", raising(OperationalError("gone away")))
            with caplog.at_level(logging.ERROR, "django_orq"):
                operation = operations.work_slice(operation.pk)
        assert (operation.error_code, states(operation)) == ("database_trouble", ["sent", "pending", "pending"])

        let_the_wait_pass(operation)
        assert states(operations.work_slice(operation.pk)) == ["done"] * 3

    def test_defect_of_ours_is_raised_and_leaves_nothing_locked(self, remote, rows, monkeypatch):
        operation = rename_all(rows)
        with monkeypatch.context() as patch:
            patch.setattr(operations, "rename_conversation", raising(ZeroDivisionError))
            with pytest.raises(ZeroDivisionError):
                operations.work_slice(operation.pk)

        assert states(operations.work_slice(operation.pk)) == ["done"] * 3

    def test_workspace_in_trouble_fails_no_other(self, remote, rows, settings):
        options = settings.ORQ_WORKSPACES["default"]
        settings.ORQ_WORKSPACES = {"default": options, "locked": {**options, "API_KEY": "wrong"}}
        set_columns(rows[0], workspace="locked")
        set_columns(rows[1], workspace="locked")

        operation = operations.work_slice(place("refresh", rows).pk)

        assert states(operation) == ["failed", "failed", "done"]

    def test_wait_after_another_attempt_is_counted_anew(self, remote, rows):
        remote.fail("update", status=500, times=3)
        operation = operations.work_slice(rename_all(rows).pk)
        all_operations().filter(pk=operation.pk).update(trouble_since=operation.requested_at - timedelta(days=2))
        operations.retry(operation, by=NOBODY)
        remote.fail("retrieve", status=429, headers={"Retry-After": "1"})

        operation = operations.work_slice(operation.pk)

        assert (operation.is_finished, states(operation)) == (False, ["pending"] * 3)


@pytest.mark.parametrize("ending", ["finish", "slice"])
def test_operation_that_was_taken_over_at_the_last_moment_is_not_called_finished(
    remote, rows, monkeypatch, caplog, ending
):
    operation = rename_all(rows[:1])
    taken_over = lambda *_args, **_options: all_operations().update(token="another") and {}  # noqa: E731
    monkeypatch.setattr(operations, "change_conversation", taken_over)

    with caplog.at_level(logging.INFO, logger="django_orq"):
        assert operations.work_slice(operation.pk, seconds=20.0 if ending == "finish" else 0.0) is None

    operation.refresh_from_db()
    assert (operation.is_finished, operation.token) == (False, "another")
    assert [record.event for record in caplog.records][-1] == "operation.lease_lost"


class TestCreateOnce:
    def create(self, name="Refund"):
        template = Conversation(workspace="default", display_name=name)
        return operations.create_once(ItemRequest(conversation=template), by=NOBODY, form_token="f" * 32)[0]

    def test_same_form_sent_again_has_the_same_outcome(self, remote):
        item, again = self.create(), self.create()

        assert (item, item.state) == (again, "done")
        assert item.conversation == Conversation.objects.get()
        assert item.operation.is_finished
        assert remote.count("create") == 1

    def test_same_form_sent_at_the_same_time_is_under_way(self, remote):
        if connection.vendor == "sqlite":
            pytest.skip("two connections can't use SQLite's memory at the same time; other databases can")
        second = []

        meanwhile(remote, "create", "before", lambda: in_thread(lambda: second.append(self.create())).join())
        first = self.create()

        assert (first.state, second[0].pk, second[0].state) == ("done", first.pk, "sent")
        assert remote.count("create") == 1

    def test_operation_is_recorded_before_the_request_is_sent(self, remote):
        recorded = []
        meanwhile(remote, "create", "before", lambda: in_thread(lambda: recorded.extend(states(None))).join())

        self.create()

        assert recorded == ["sent"]

    @pytest.mark.parametrize(
        ("fault", "state", "code"),
        [
            ({"drop": "after"}, "unknown", "outcome_unknown"),
            ({"status": 401}, "failed", "authentication_failed"),
            ({"status": 429, "headers": {"Retry-After": "7"}}, "failed", "rate_limited"),
        ],
        ids=str,
    )
    def test_what_failed_or_may_have_is_not_sent_again_by_the_same_form(self, remote, fault, state, code):
        remote.fail("create", **fault)

        item, again = self.create(), self.create()

        assert (item, item.state, item.error_code) == (again, state, code)
        assert item.operation.is_finished
        assert remote.count("create") == 1

    def test_process_that_slept_beyond_its_time_reports_what_was_settled(self, remote):
        def take_over():
            operation = Operation.objects.get()
            lose_the_worker(operation)
            operations.work_slice(operation.pk)

        meanwhile(remote, "create", "after", lambda: in_thread(take_over).join())

        item = self.create()

        assert (item.state, item.error_code) == ("unknown", "outcome_unknown")

    def test_form_whose_process_was_killed_has_an_unknown_outcome_in_the_end(self, remote, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(operations, "create_conversation", raising(SystemExit))
            with pytest.raises(SystemExit):
                self.create()
        item = self.create()
        assert item.state == "sent"

        lose_the_worker(item.operation)
        operations.work_slice(item.operation_id)

        assert self.create().state == "unknown"
        assert remote.count("create") == 0

    @pytest.mark.parametrize("ends", ["killed", "database"])
    def test_creation_on_record_is_done_although_its_outcome_could_not_be_recorded(self, remote, monkeypatch, ends):
        error = SystemExit if ends == "killed" else OperationalError
        with monkeypatch.context() as patch:
            patch.setattr(Execution, "_end", raising(error))
            with pytest.raises(error):
                self.create()
        item = OperationItem.objects.get()
        assert (item.state, item.conversation) == ("sent", None)

        lose_the_worker(item.operation)
        operations.work_slice(item.operation_id)

        item = self.create()
        assert (item.state, item.conversation, item.error_code) == ("done", Conversation.objects.get(), "")
        assert remote.count("create") == ConversationChange.objects.count() == 1

    def test_process_that_is_suspended_until_its_item_is_unknown_is_done_in_the_end(self, remote):
        def take_over():
            lose_the_worker(Operation.objects.get())
            operations.work_slice(Operation.objects.get().pk)

        meanwhile(remote, "create", "after", lambda: in_thread(take_over).join())
        assert self.create().state == "unknown"
        OperationItem.objects.update(sent_at=timezone.now() - timedelta(minutes=5))
        incremental_run()

        item = OperationItem.objects.get()
        assert (item.state, item.conversation, item.note) == ("done", Conversation.objects.get(), {})
        assert ConversationChange.objects.count() == 1

    def test_creation_on_record_with_another_name_is_that_of_another_item(self, remote):
        self.create()
        item = OperationItem.objects.get()
        other = OperationItem.objects.create(operation=item.operation, name="B", workspace="default", state="sent")
        OperationItem.objects.filter(pk=item.pk).update(conversation=None)

        assert creations.recorded(other) is None


class TestDeadProcesses:
    """The next process resolves the items that a killed one left as sent."""

    @pytest.fixture
    def killed(self, remote, rows):
        """An operation whose process was killed after Orq had performed its first request."""

        def kill(verb):
            operation = place(verb, rows)
            request = {"rename": "update", "delete": "delete", "create": "create", "refresh": "retrieve"}[verb]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(*(verbs, "_mirror") if verb == "create" else (Execution, "_end"), raising(SystemExit))
                patch.setattr(Execution, "release", lambda self: None)
                with pytest.raises(SystemExit):
                    operations.work_slice(operation.pk)
            assert remote.count(request) == 1
            assert states(operation) == ["sent", "pending", "pending"]
            lose_the_worker(operation)
            return operation

        return kill

    def test_rename_that_had_arrived_is_not_done_twice(self, remote, killed):
        operation = operations.work_slice(killed("rename").pk)

        assert states(operation) == ["done"] * 3
        assert remote.count("update") == 3

    def test_rename_that_somebody_replaced_in_between_ends_unknown(self, remote, rows, killed):
        operation = killed("rename")
        remote.rename(rows[0].remote_id, "Theirs")

        operation = operations.work_slice(operation.pk)

        assert states(operation) == ["unknown", "done", "done"]
        assert remote.get(rows[0].remote_id)["displayName"] == "Theirs"

    def test_delete_that_had_arrived_counts_as_done(self, remote, killed):
        operation = operations.work_slice(killed("delete").pk)

        assert states(operation) == ["done"] * 3
        assert remote.conversations == []
        assert not Conversation.objects.live().exists()

    def test_creation_ends_unknown_and_is_not_repeated(self, remote, killed):
        operation = operations.work_slice(killed("create").pk)

        assert states(operation) == ["unknown", "done", "done"]
        assert remote.count("create") == 3

    @pytest.mark.parametrize("is_renamed", [False, True])
    def test_rename_stops_only_if_the_name_has_changed(self, remote, rows, is_renamed):
        operation = rename_all(rows)
        row = rows[0]
        remote.rename(row.remote_id, "Theirs" if is_renamed else row.display_name)  # with a newer time
        incremental_run()

        assert states(operations.work_slice(operation.pk)) == ["failed" if is_renamed else "done", "done", "done"]
        assert remote.count("update") == (2 if is_renamed else 3)

    def test_retried_rename_stops_only_if_that_name_has_changed(self, remote, rows):
        operation = rename_all(rows)
        remote.rename(rows[0].remote_id, "Theirs")
        assert states(operations.work_slice(operation.pk)) == ["failed", "done", "done"]
        operations.retry(operation, by=NOBODY)
        remote.rename(rows[0].remote_id, "Theirs")  # with a newer time
        incremental_run()

        assert states(operations.work_slice(operation.pk)) == ["done"] * 3

    def test_item_at_which_process_after_process_dies_is_given_up(self, remote, killed):
        operation = killed("refresh")
        OperationItem.objects.filter(state="sent").update(attempts=operations.MAX_ATTEMPTS)

        operation = operations.work_slice(operation.pk)

        assert states(operation) == ["unknown", "done", "done"]

    def test_process_that_slept_beyond_its_time_records_nothing(self, remote, rows):
        operation = rename_all(rows)
        meanwhile(remote, "update", "after", lambda: in_thread(lambda: lose_the_worker(operation)).join())

        assert operations.work_slice(operation.pk) is None
        assert states(operation) == ["sent", "pending", "pending"]
        assert states(operations.work_slice(operation.pk)) == ["done"] * 3
        assert remote.count("update") == 3


class TestHistory:
    def test_what_was_done_is_recorded_for_who_ordered_it(self, remote, rows):
        user = User.objects.create_user("ada")
        by = Requester(pk=str(user.pk), name="ada")
        remote.remove(rows[2].remote_id)

        for verb in ("rename", "refresh"):
            operations.work_slice(place(verb, rows, by=by).pk)
        operations.work_slice(place("delete", rows[:1], by=by).pk)

        recorded = ConversationChange.objects.order_by("pk").values_list(
            "conversation", "kind", "actor_id", "actor_name"
        )
        assert list(recorded) == [
            (rows[0].pk, "renamed", by.pk, "ada"),
            (rows[1].pk, "renamed", by.pk, "ada"),
            (rows[0].pk, "deleted", by.pk, "ada"),
        ]

    @pytest.mark.parametrize("pk", ["", "1000000000", "not-a-number"])
    def test_user_who_is_gone_stops_nothing(self, remote, rows, pk):
        operation = place("rename", rows[:1], by=Requester(pk=pk, name="gone"))

        operations.work_slice(operation.pk)

        assert states(operation) == ["done"]
        assert ConversationChange.objects.get().actor_name == "gone"

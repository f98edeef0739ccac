"""What a form orders, done at once and once."""

import pytest
from django.db import IntegrityError, connection

from django_orq.mirror import once, operations, orders, verbs
from django_orq.mirror.execution import Execution
from django_orq.mirror.once import do_once
from django_orq.mirror.orders import Order
from django_orq.models import Conversation, Operation, OperationItem, WorkspaceWait
from django_orq.store.database import all_operations

from ..ordering import NOBODY, lose_the_worker, meanwhile, raising, rename_all, states
from ..threads import in_thread
from ..values import set_columns

pytestmark = pytest.mark.django_db(transaction=True)


class TestCreateOnce:
    def create(self):
        template = Conversation(workspace="default", display_name="Refund")
        return do_once("create", Order(conversation=template), by=NOBODY, form_token="f" * 32)

    def test_same_form_sent_again_has_the_same_outcome(self, remote):
        item, is_first = self.create()
        again, is_first_again = self.create()

        assert (is_first, is_first_again) == (True, False)
        assert item.conversation == again.conversation == Conversation.objects.get()
        assert remote.count("create") == 1

    def test_same_form_sent_at_the_same_time_waits_for_the_outcome(self, remote):
        if connection.vendor == "sqlite":
            pytest.skip("two connections can't use SQLite's memory at the same time; other databases can")
        outcomes, threads = [], []

        def second():
            threads.append(in_thread(lambda: outcomes.append(self.create())))

        meanwhile(remote, "create", "before", second)
        first, _ = self.create()
        threads[0].join()

        ((second_item, is_first),) = outcomes
        assert (second_item.conversation, is_first) == (first.conversation, False)
        assert remote.count("create") == 1

    def test_unknown_outcome_is_the_same_when_the_form_is_sent_again(self, remote):
        remote.fail("create", drop="after")

        item, _ = self.create()
        again, is_first = self.create()

        assert (item.state, again.state, again.error_code) == ("unknown", "unknown", "outcome_unknown")
        assert (is_first, remote.count("create")) == (False, 1)

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            ({"status": 401}, "authentication_failed"),
            ({"status": 429, "headers": {"Retry-After": "7"}}, "rate_limited"),
        ],
        ids=str,
    )
    def test_form_that_failed_is_tried_again_when_it_is_sent_again(self, remote, fault, code):
        remote.fail("create", **fault)
        item, _ = self.create()
        assert (item.state, item.error_code) == ("failed", code)
        WorkspaceWait.objects.all().delete()

        again, is_first = self.create()

        assert (again.state, is_first) == ("done", True)
        assert len(remote) == 1

    def test_process_that_slept_beyond_its_time_reports_what_was_settled(self, remote):
        def take_over():
            operation = Operation.objects.get()
            lose_the_worker(operation)
            operations.work_slice(operation.pk)

        meanwhile(remote, "create", "after", lambda: in_thread(take_over).join())

        item, _ = self.create()

        assert (item.state, item.error_code) == ("unknown", "outcome_unknown")

    @pytest.mark.parametrize("fault", [{}, {"status": 429}], ids=["created", "refused"])
    def test_process_that_slept_while_another_one_holds_it_has_an_unknown_outcome(self, remote, fault):
        """It must not look as if the form could be sent anew without harm."""

        def hold():
            operation = Operation.objects.get()
            all_operations().filter(pk=operation.pk).update(token="another's")

        meanwhile(remote, "create", "before", lambda: in_thread(hold).join())
        if fault:
            remote.fail("create", **fault)

        item, is_first = self.create()

        assert (item.state, item.error_code, is_first) == ("unknown", "outcome_unknown", True)
        assert OperationItem.objects.get().state == "sent"

    def test_form_whose_process_was_killed_has_an_unknown_outcome(self, remote, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Execution, "carry_out", raising(SystemExit))
            with pytest.raises(SystemExit):
                self.create()
        monkeypatch.setattr(once, "PATIENCE", 0.1)
        item, _ = self.create()
        assert (item.state, item.error_code) == ("unknown", "outcome_unknown")

        lose_the_worker(item.operation)
        operations.work_slice(item.operation.pk)

        assert states(item.operation) == ["unknown"]
        assert remote.count("create") == 0


REQUESTS = {"rename": "update", "delete": "delete", "refresh": "retrieve"}
each_verb = pytest.mark.parametrize("verb", REQUESTS)


class TestDoOnce:
    def do(self, verb, row, *, wanted="Anew"):
        order = Order(conversation=Conversation.objects.get(pk=row.pk), wanted=wanted if verb == "rename" else "")
        return do_once(verb, order, by=NOBODY, form_token="f" * 32)

    @each_verb
    def test_same_form_sent_again_has_the_same_outcome(self, remote, rows, verb):
        item, is_first = self.do(verb, rows[0])
        again, is_first_again = self.do(verb, rows[0])

        assert (item, item.state, is_first, is_first_again) == (again, "done", True, False)
        assert remote.count(REQUESTS[verb]) == 1

    @each_verb
    def test_same_form_sent_at_the_same_time_waits_for_the_outcome(self, remote, rows, verb):
        if connection.vendor == "sqlite":
            pytest.skip("two connections can't use SQLite's memory at the same time; other databases can")
        outcomes, threads = [], []

        def second():
            threads.append(in_thread(lambda: outcomes.append(self.do(verb, rows[0]))))

        meanwhile(remote, REQUESTS[verb], "before", second)
        first, _ = self.do(verb, rows[0])
        threads[0].join()

        assert outcomes == [(first, False)]
        assert remote.count(REQUESTS[verb]) == 1

    def test_form_sent_with_another_name_renames_once_more_and_that_once_too(self, remote, rows):
        self.do("rename", rows[0], wanted="First")

        outcomes = [self.do("rename", rows[0], wanted="Second") for _ in range(2)]

        assert [is_first for _, is_first in outcomes] == [True, False]
        assert remote.get(rows[0].remote_id)["displayName"] == "Second"
        assert remote.count("update") == 2

    def test_rename_that_somebody_replaced_since_is_no_longer_taken_for_done(self, remote, rows):
        self.do("rename", rows[0])
        verbs.rename_conversation(Conversation.objects.get(pk=rows[0].pk), display_name="Theirs")

        _item, is_first = self.do("rename", rows[0])

        assert is_first

    def test_deletion_that_was_undone_since_is_no_longer_taken_for_done(self, remote, rows):
        self.do("delete", rows[0])
        set_columns(rows[0], deleted_at=None)

        _item, is_first = self.do("delete", rows[0])

        assert is_first

    @each_verb
    def test_form_that_failed_is_tried_again_when_it_is_sent_again(self, remote, rows, verb):
        remote.fail(status=401, times=2)
        failed = [self.do(verb, rows[0]) for _ in range(2)]

        item, is_first = self.do(verb, rows[0])

        assert [(one.state, first) for one, first in failed] == [("failed", True)] * 2
        assert (item.state, is_first) == ("done", True)

    @each_verb
    def test_what_a_killed_process_left_is_settled_by_the_next_worker(self, remote, rows, verb, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Execution, "end", raising(SystemExit))
            with pytest.raises(SystemExit):
                self.do(verb, rows[0])
        operation = Operation.objects.get()
        lose_the_worker(operation)

        operations.work_slice(operation.pk)

        assert states(operation) == ["done"]
        assert self.do(verb, rows[0])[1] is False

    def test_row_that_is_gone_for_good_is_no_form_sent_before(self, remote, rows):
        order = Order(conversation=Conversation(pk=1_000_000_000, workspace="default", display_name="Gone"))

        with pytest.raises(IntegrityError):
            do_once("refresh", order, by=NOBODY, form_token="f" * 32)

    def test_operations_on_one_conversation_displace_none_on_several(self, remote, rows, monkeypatch):
        monkeypatch.setattr(orders, "KEPT", 2)
        several = rename_all(rows)
        operations.work_slice(several.pk)

        for number in range(4):
            self.do("rename", rows[0], wanted=f"Number {number}")

        assert Operation.objects.filter(total=1).count() == 2
        assert Operation.objects.get(total=3) == several

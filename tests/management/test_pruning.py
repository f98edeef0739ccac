"""What is pruned and what is kept, kind by kind."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model, QuerySet

from django_orq.management import pruning, tombstones
from django_orq.management.pruning import Ages, Kind
from django_orq.mirror import operations, orders
from django_orq.mirror.once import do_once
from django_orq.mirror.orders import Order, Orderer
from django_orq.models import Conversation, Operation, OperationItem, RejectedPayload, SyncRun
from django_orq.sync import runs

from ..ordering import states
from ..references.models import Dependent, Report, Ticket
from ..values import set_columns, tombstone
from ..walking import full_run, incremental_run

pytestmark = pytest.mark.django_db(transaction=True)

EVERYTHING = Ages(runs=1, operations=1, rejected=1, tombstones=1, scrub=1)


def now() -> datetime:
    return datetime.now(UTC)


def prune(*, apply: bool = True, workspace: str | None = None, **ages: int) -> dict[Kind, tuple[int, int]]:
    """How many of each kind were pruned, and kept."""
    tallies = pruning.prune(Ages(**ages), apply=apply, workspace=workspace)
    return {tally.kind: (tally.count, tally.kept) for tally in tallies}


def all_rows() -> dict[str, list[dict[str, Any]]]:
    models: list[type[Model]] = [Conversation, SyncRun, Operation, OperationItem, RejectedPayload, LogEntry]
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


def age(rows: Any, *, days: float) -> None:
    """As if these had ended or been resolved so many days ago."""
    column = "resolved_at" if rows.model is RejectedPayload else "finished_at"
    rows.update(**{column: now() - timedelta(days=days)})


def rejected(key: str, *, workspace: str = "default", days: float | None = None) -> RejectedPayload:
    """Resolved so many days ago, or not."""
    resolved_at = None if days is None else now() - timedelta(days=days)
    times = {"first_seen_at": now(), "last_seen_at": now(), "resolved_at": resolved_at}
    return RejectedPayload.objects.create(workspace=workspace, key=key, reason="x", excerpt="Secret", **times)


def operation(*rows: Conversation, days: float | None = 10, wanted: str = "Wanted") -> Operation:
    """An order to rename these, finished so many days ago, or not."""
    placed, _is_new = orders.place("rename", [Order(conversation=row, wanted=wanted) for row in rows], by=Orderer())
    if days is not None:
        placed.items.update(state="done", note={"replaced": "Secret"})
        age(Operation.objects.filter(pk=placed.pk), days=days)
    return placed


def entry(row: Conversation, *, days: float = 10) -> LogEntry:
    """Of the admin's history, with the name that the row has."""
    user, _created = User.objects.get_or_create(username="agent")
    made = LogEntry.objects.log_actions(user.pk, [row], CHANGE, "", single_object=True)
    LogEntry.objects.filter(pk=made.pk).update(action_time=now() - timedelta(days=days))
    return made


class TestRuns:
    @pytest.fixture
    def ended(self, remote) -> list[SyncRun]:
        """Two full runs and two incremental ones, in turn, of long ago."""
        remote.add("Ticket")
        ended = [walk() for _time in range(2) for walk in (full_run, incremental_run)]
        age(SyncRun.objects, days=10)
        return ended

    def test_old_ones_go_but_for_the_newest_complete_of_each_mode(self, ended):
        assert prune(runs=9) == {Kind.RUNS: (2, 2)}
        assert list(SyncRun.objects.order_by("pk")) == ended[2:]

    def test_younger_ones_stay(self, ended):
        age(SyncRun.objects.filter(pk=ended[0].pk), days=8)

        assert prune(runs=9) == {Kind.RUNS: (1, 2)}
        assert SyncRun.objects.filter(pk=ended[0].pk).exists()

    def test_those_that_await_approval_and_unfinished_ones_stay(self, ended):
        awaiting = {"state": "partial", "started_at": now()}
        SyncRun.objects.filter(pk=ended[0].pk).update(**awaiting, needs_approval="mass_delete")
        SyncRun.objects.filter(pk=ended[1].pk).update(**awaiting, needs_approval="workspace_doubted")
        unfinished = runs.open_run("default", "full")
        SyncRun.objects.filter(pk=unfinished.pk).update(queued_at=now() - timedelta(days=10))

        assert prune(runs=1) == {Kind.RUNS: (0, 4)}
        assert SyncRun.objects.count() == 5

    def test_held_one_that_a_later_full_run_has_settled_goes(self, ended):
        SyncRun.objects.filter(pk=ended[0].pk).update(state="partial", needs_approval="mass_delete")

        assert prune(runs=1) == {Kind.RUNS: (2, 2)}
        assert not SyncRun.objects.filter(pk=ended[0].pk).exists()

    def test_one_that_the_project_protects_stays(self, ended):
        Report.objects.create(run=ended[0])

        assert prune(runs=9) == {Kind.RUNS: (1, 3)}
        assert SyncRun.objects.filter(pk=ended[0].pk).exists()

    def test_of_one_workspace(self, ended):
        SyncRun.objects.update(workspace="research")

        assert prune(runs=1, workspace="default") == {Kind.RUNS: (0, 0)}
        assert prune(runs=1, workspace="research") == {Kind.RUNS: (2, 2)}

    def test_workspace_that_is_configured_no_more_is_pruned_with_all(self, ended, settings):
        settings.ORQ_WORKSPACES = {}

        assert prune(runs=1) == {Kind.RUNS: (2, 2)}


class TestOperations:
    def test_old_finished_ones_go_with_their_items(self):
        row = tombstone()
        old, young, unfinished = operation(row), operation(row, days=5), operation(row, days=None)

        assert prune(operations=9) == {Kind.OPERATIONS: (1, 0)}
        assert set(Operation.objects.all()) == {young, unfinished}
        assert not OperationItem.objects.filter(operation_id=old.pk).exists()

    def test_of_one_workspace_are_those_about_no_other(self):
        ours, theirs = tombstone(1), tombstone(2, workspace="research")
        kept = {operation(theirs), operation(ours, theirs)}
        operation(ours)

        assert prune(operations=1, workspace="default") == {Kind.OPERATIONS: (1, 0)}
        assert set(Operation.objects.all()) == kept


class TestRejected:
    def test_old_resolved_ones_go(self):
        rejected("old", days=10)
        kept = {rejected("young", days=5), rejected("unresolved")}

        assert prune(rejected=9) == {Kind.REJECTED: (1, 0)}
        assert set(RejectedPayload.objects.all()) == kept

    def test_of_one_workspace(self):
        rejected("x", days=10)
        theirs = rejected("x", days=10, workspace="research")

        assert prune(rejected=9, workspace="default") == {Kind.REJECTED: (1, 0)}
        assert RejectedPayload.objects.get() == theirs


class TestTombstones:
    def test_old_ones_go_and_referred_ones_are_counted_as_kept(self):
        kept = tombstone(1)
        Dependent.objects.create(conversation=kept)
        tombstone(2)
        young = tombstone(3, days=5)

        assert prune(tombstones=9, apply=False) == {Kind.TOMBSTONES: (1, 1)}
        assert prune(tombstones=9) == {Kind.TOMBSTONES: (1, 1)}
        assert set(Conversation.objects.all()) == {kept, young}

    def test_of_one_workspace(self):
        tombstone(1)
        theirs = tombstone(1, workspace="research")

        assert prune(tombstones=9, workspace="default") == {Kind.TOMBSTONES: (1, 0)}
        assert Conversation.objects.get() == theirs

    def test_what_another_process_removes_meanwhile_is_not_counted_as_kept(self, monkeypatch):
        tombstone(1)
        tombstone(2)

        def meanwhile(rows, **_options):
            QuerySet(Conversation).filter(pk=rows[0].pk)._raw_delete("default")
            return 0

        monkeypatch.setattr(tombstones, "remove", meanwhile)

        assert prune(tombstones=9) == {Kind.TOMBSTONES: (0, 1)}

    def test_more_than_a_batch(self, monkeypatch):
        monkeypatch.setattr(tombstones, "BATCH", 3)
        rows = [tombstone(number) for number in range(1, 11)]
        for row in rows[::3]:
            Dependent.objects.create(conversation=row)

        assert prune(tombstones=9) == {Kind.TOMBSTONES: (6, 4)}
        assert list(Conversation.objects.order_by("pk")) == rows[::3]


class TestScrub:
    def counts(self, **counted: int) -> dict[Kind, tuple[int, int]]:
        kinds = (Kind.SCRUBBED, Kind.ITEMS, Kind.PAYLOADS, Kind.HISTORY)
        return {kind: (counted.get(kind.name.lower(), 0), 0) for kind in kinds}

    def test_name_is_nowhere_any_more(self):
        row = set_columns(tombstone(), display_name="Secret", previous_name="Secret")
        operation(row, wanted="Secret")
        rejected(row.remote_id)
        entry(row)
        assert repr(all_rows()).count("Secret") == 7

        assert prune(scrub=9) == self.counts(scrubbed=1, items=1, payloads=1, history=1)

        assert "Secret" not in repr(all_rows())
        assert OperationItem.objects.get().name == LogEntry.objects.get().object_repr == row.remote_id

    def test_what_is_younger_or_alive_keeps_its_name(self):
        young, alive = tombstone(1, days=5), set_columns(tombstone(2), deleted_at=None)
        for row in (young, alive):
            operation(row)
            rejected(row.remote_id)
            entry(row)
        before = all_rows()

        assert prune(scrub=9) == self.counts()
        assert all_rows() == before

    def test_payload_without_an_id_and_of_another_workspace_is_kept(self):
        row = tombstone()
        rejected("a digest")
        rejected(row.remote_id, workspace="research")

        assert prune(scrub=9)[Kind.PAYLOADS] == (0, 0)

    def test_copy_that_comes_after_the_row_was_scrubbed_is_found_the_next_time(self):
        row = tombstone()
        prune(scrub=9)
        rejected(row.remote_id)

        assert prune(scrub=9) == self.counts(payloads=1)

    def test_operation_that_is_not_finished_is_scrubbed_when_it_is(self):
        row = tombstone()
        unfinished = operation(row, days=None)

        assert prune(scrub=9)[Kind.ITEMS] == (0, 0)
        age(Operation.objects.filter(pk=unfinished.pk), days=0)
        assert prune(scrub=9)[Kind.ITEMS] == (1, 0)

    def test_conversation_that_came_back_meanwhile_keeps_its_name_in_operations(self, monkeypatch):
        """After the old tombstones were read."""
        row, gone = tombstone(1), tombstone(2)
        operation(row, gone)
        monkeypatch.setattr(pruning, "_tombstones", lambda _scope: iter([[row, gone]]))
        set_columns(row, deleted_at=None)

        assert prune(scrub=9)[Kind.ITEMS] == (1, 0)
        assert set(OperationItem.objects.values_list("name", "wanted")) == {
            ("Ticket 1", "Wanted"),
            (gone.remote_id, ""),
        }

    def test_conversation_that_came_back_meanwhile_keeps_its_unreadable_entry(self, monkeypatch):
        """After the old tombstones were read."""
        row, gone = tombstone(1), tombstone(2)
        kept, scrubbed = rejected(row.remote_id), rejected(gone.remote_id)
        monkeypatch.setattr(pruning, "_tombstones", lambda _scope: iter([[row, gone]]))
        set_columns(row, deleted_at=None)

        assert prune(scrub=9)[Kind.PAYLOADS] == (1, 0)
        assert set(RejectedPayload.objects.values_list("pk", "excerpt")) == {(kept.pk, "Secret"), (scrubbed.pk, "")}

    def test_conversation_that_comes_back_at_the_last_moment_keeps_its_name_in_operations(self, monkeypatch):
        """After its items were read."""
        row = tombstone()
        operation(row)
        scrub = pruning.copies._scrub

        def meanwhile(*args):
            set_columns(row, deleted_at=None)
            scrub(*args)

        monkeypatch.setattr(pruning.copies, "_scrub", meanwhile)

        assert prune(scrub=9)[Kind.ITEMS] == (0, 0)
        assert OperationItem.objects.get().name == "Ticket 1"

    def test_history_of_a_row_that_was_removed_keeps_no_name(self):
        row = tombstone()
        tombstone(2, days=0.5)
        made, young = entry(row), entry(row, days=5)
        prune(tombstones=9)

        assert prune(scrub=9, workspace="default")[Kind.HISTORY] == (0, 0)
        assert prune(scrub=9)[Kind.HISTORY] == (1, 0)
        made.refresh_from_db()
        young.refresh_from_db()
        assert (made.object_repr, young.object_repr) == (f"conversation {row.pk}", "Ticket 1")

    def test_history_of_other_models_is_none_of_ours(self):
        row = tombstone()
        user, _created = User.objects.get_or_create(username="agent")
        LogEntry.objects.log_actions(user.pk, [User(pk=row.pk, username="Secret")], CHANGE, "", single_object=True)

        assert prune(scrub=1)[Kind.HISTORY] == (0, 0)

    def test_history_of_a_proxy_keeps_no_name(self):
        row = tombstone()
        made = entry(Ticket.objects.get(pk=row.pk))
        assert made.content_type.model == "ticket"

        assert prune(scrub=9)[Kind.HISTORY] == (1, 0)
        made.refresh_from_db()
        assert made.object_repr == row.remote_id

    @pytest.mark.parametrize("key", ["", None, "several", "1.5", "9" * 30, "-1"])
    def test_history_of_what_is_no_row_of_ours_is_left_alone(self, key):
        """Others may have written it."""
        row = tombstone()
        made, strange = entry(row), entry(row)
        LogEntry.objects.filter(pk=strange.pk).update(object_id=key)

        assert prune(scrub=9)[Kind.HISTORY] == (1, 0)
        made.refresh_from_db()
        strange.refresh_from_db()
        assert (made.object_repr, strange.object_repr) == (row.remote_id, "Ticket 1")

    def test_more_than_a_chunk(self, monkeypatch):
        for module in (tombstones, pruning.copies, pruning.history):
            monkeypatch.setattr(module, "BATCH" if module is tombstones else "CHUNK", 3)
        rows = [tombstone(number) for number in range(1, 9)]
        operation(*rows)
        for row in rows:
            entry(row)

        assert prune(scrub=9) == self.counts(scrubbed=8, items=8, history=8)
        assert prune(scrub=9) == self.counts()

    def test_without_the_admin_there_is_no_history(self, settings):
        entry(tombstone())
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.admin"]

        assert prune(scrub=9) == self.counts(scrubbed=1)

    def test_failed_item_still_says_why(self, remote, admin_client):
        """Its error had the name among its parameters."""
        row = tombstone()
        failed = operation(row)
        error = {"error_code": "conversation_changed", "error_params": {"display_name": "Secret", "updated_at": "x"}}
        failed.items.update(state="failed", **error)
        prune(scrub=9)

        page = admin_client.get(f"/admin/django_orq/operation/{failed.pk}/change/").content.decode()

        assert "Secret" not in page
        assert f"it is now called “{row.remote_id}”" in page


_REFUSED = {"operation": "create", "status": 500}


class TestItemsOfNoRow:
    """Items of operations that belong to no row: creations that failed, and what was done to rows that are gone."""

    def creation(
        self, name: str = "Secret", *, state: str = "failed", days: float = 10, **options: Any
    ) -> OperationItem:
        anew = Conversation(display_name=name, workspace=options.pop("workspace", "default"))
        placed, _is_new = orders.place("create", [Order(conversation=anew)], by=Orderer(), **options)
        placed.items.update(state=state, error_code="server_error", error_params=_REFUSED | {"server_message": name})
        age(Operation.objects.filter(pk=placed.pk), days=days)
        return placed.items.get()

    @pytest.mark.parametrize("state", ["failed", "unknown"])
    def test_creation_keeps_no_name(self, state):
        item = self.creation(state=state)

        assert [prune(scrub=9, apply=apply)[Kind.ITEMS] for apply in (False, True, True)] == [(1, 0), (1, 0), (0, 0)]
        item.refresh_from_db()
        assert (item.name, item.error_params, item.state) == ("", _REFUSED | {"server_message": None}, state)

    def test_item_whose_row_a_project_deleted_keeps_no_name(self):
        row = tombstone()
        operation(row, wanted="Secret")
        OperationItem.objects.update(conversation=None)

        assert prune(scrub=9)[Kind.ITEMS] == (1, 0)
        item = OperationItem.objects.get()
        assert (item.name, item.wanted, item.note) == ("", "", {})

    def test_orq_id_in_place_of_the_name_stays(self):
        row = tombstone()
        operation(row)
        prune(tombstones=9)
        assert OperationItem.objects.get().conversation is None

        assert prune(scrub=9)[Kind.ITEMS] == (0, 0)
        assert OperationItem.objects.get().name == row.remote_id

    def test_new_name_beside_an_orq_id_goes(self):
        """Of a conversation that was called like that."""
        row = tombstone()
        operation(row, wanted="Secret")
        OperationItem.objects.update(conversation=None, name=row.remote_id)

        assert prune(scrub=9)[Kind.ITEMS] == (1, 0)
        assert OperationItem.objects.values_list("name", "wanted").get() == (row.remote_id, "")

    def test_what_is_younger_or_unfinished_or_of_another_workspace_stays(self):
        self.creation(days=5)
        self.creation(workspace="research")
        Operation.objects.filter(pk=self.creation().operation_id).update(finished_at=None)
        before = all_rows()

        assert prune(scrub=9, workspace="default")[Kind.ITEMS] == (0, 0)
        assert all_rows() == before
        assert prune(scrub=9, workspace="research")[Kind.ITEMS] == (1, 0)

    def test_more_than_a_chunk(self, monkeypatch):
        monkeypatch.setattr(pruning.copies, "CHUNK", 3)
        for number in range(8):
            self.creation(f"Secret {number}")

        assert prune(scrub=9)[Kind.ITEMS] == (8, 0)

    def test_what_is_tried_again_at_the_last_moment_keeps_its_name(self, monkeypatch):
        item = self.creation()
        scrub = pruning.copies._scrub

        def meanwhile(*args):
            orders.retry(item.operation, by=Orderer())
            scrub(*args)

        monkeypatch.setattr(pruning.copies, "_scrub", meanwhile)

        assert prune(scrub=9)[Kind.ITEMS] == (0, 0)
        item.refresh_from_db()
        assert (item.name, item.state) == ("Secret", "pending")

    def test_it_is_not_tried_again(self, remote, admin_client):
        item = self.creation()
        url = f"/admin/django_orq/operation/{item.operation_id}"
        assert "Try again what failed" in admin_client.get(f"{url}/change/").content.decode()
        prune(scrub=9)

        page = admin_client.get(f"{url}/change/").content.decode()

        assert "Try again what failed" not in page
        assert "name no longer kept" in page
        assert "“”" not in admin_client.get("/admin/django_orq/operation/").content.decode()
        assert not orders.retry(item.operation, by=Orderer())
        assert remote.requests == []

    def test_renaming_without_its_name_is_not_tried_again(self):
        row = tombstone()
        placed = operation(row)
        placed.items.update(state="failed")
        prune(scrub=9)

        assert not orders.retry(placed, by=Orderer())

    def test_form_that_is_sent_again_creates_nothing_that_may_exist(self, remote):
        self.creation(state="unknown", form_token="token")
        prune(scrub=9)

        assert self.sent_again() == ("unknown", False)
        assert remote.requests == []

    def test_form_that_is_sent_again_creates_nothing_that_existed(self, remote):
        item = self.creation(state="done", form_token="token")
        OperationItem.objects.filter(pk=item.pk).update(conversation=tombstone())
        prune(scrub=9)

        assert self.sent_again() == ("done", False)
        assert remote.requests == []

    def sent_again(self) -> tuple[str, bool]:
        anew = Conversation(display_name="Secret", workspace="default")
        item, is_new = do_once("create", Order(conversation=anew), by=Orderer(), form_token="token")
        return item.state, is_new


class TestAll:
    @pytest.fixture
    def filled(self, remote) -> None:
        """Something of each kind to be pruned, and something of each to be kept."""
        remote.add("Ticket")
        for _time in range(3):
            full_run()
        age(SyncRun.objects, days=10)
        gone, kept = tombstone(1), tombstone(2)
        Dependent.objects.create(conversation=kept)
        for row in (gone, kept):
            operation(row)
            rejected(row.remote_id, days=10)
            entry(row)
        operation(kept, days=0.5)
        rejected("unresolved")

    def test_nothing_is_written_unless_it_is_applied(self, filled, statements):
        before = all_rows()
        with statements() as executed:
            dry = [(tally.kind, tally.count, tally.kept) for tally in pruning.prune(EVERYTHING)]

        assert all_rows() == before
        assert [sql for sql in executed if sql.startswith(("INSERT", "UPDATE", "DELETE"))] == []
        assert [(tally.kind, tally.count, tally.kept) for tally in pruning.prune(EVERYTHING, apply=True)] == dry
        assert all(count for _kind, count, _kept in dry)

    def test_twice_is_once(self, filled):
        list(pruning.prune(EVERYTHING, apply=True))
        after = all_rows()

        assert sum(tally.count for tally in pruning.prune(EVERYTHING, apply=True)) == 0
        assert all_rows() == after

    def test_broken_off_anywhere_it_goes_on_the_next_time(self, filled, monkeypatch):
        monkeypatch.setattr(tombstones, "BATCH", 1)
        for step in range(1, 100):
            if not self.breaks_off_after(step):
                break
        broken_off = all_rows()

        list(pruning.prune(EVERYTHING, apply=True))

        assert step > 5
        assert all_rows() == broken_off

    def breaks_off_after(self, steps: int) -> bool:
        """Whether it did before its end."""
        left = iter(range(steps))

        def interrupt(_tally: object) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        try:
            list(pruning.prune(EVERYTHING, apply=True, on_progress=interrupt))
        except KeyboardInterrupt:
            return True
        return False

    def test_events_say_what_was_done(self, filled, caplog):
        caplog.set_level(logging.INFO, "django_orq")
        tallies = list(pruning.prune(EVERYTHING, apply=True))

        said = [record for record in caplog.records if record.__dict__.get("event") == "pruning.done"]
        assert [(record.kind, record.count, record.kept) for record in said] == [
            (tally.kind.value, tally.count, tally.kept) for tally in tallies
        ]

    def test_what_was_done_before_it_broke_off_is_said_too(self, filled, caplog):
        caplog.set_level(logging.INFO, "django_orq")

        assert self.breaks_off_after(0)

        said = [record for record in caplog.records if record.__dict__.get("event") == "pruning.done"]
        assert [(record.kind, record.count > 0) for record in said] == [(Kind.SCRUBBED.value, True)]

    def test_mirror_works_on_as_before(self, remote, filled):
        list(pruning.prune(EVERYTHING, apply=True))

        assert full_run().state == "succeeded"
        assert incremental_run().state == "succeeded"
        assert Conversation.objects.live().get().display_name == "Ticket"


@pytest.mark.parametrize("days", [0, -1, 36_501])
@pytest.mark.parametrize("kind", ["runs", "operations", "rejected", "tombstones", "scrub"])
def test_age_is_a_day_at_least(kind, days):
    with pytest.raises(ValueError, match="from 1 to 36,500"):
        Ages(**{kind: days})


def test_nothing_to_be_pruned_is_a_mistake():
    with pytest.raises(ValueError, match="what is to be pruned"):
        Ages()


def test_unknown_workspace_is_a_mistake(settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": "x"}}
    with pytest.raises(ImproperlyConfigured, match="no Orq workspace 'other'"):
        list(pruning.prune(EVERYTHING, workspace="other"))


class TestScrubbedConversation:
    def test_it_is_not_ordered_to_be_created_again(self):
        row = tombstone()
        prune(scrub=9)
        row.refresh_from_db()

        with pytest.raises(ValueError, match="can't be created again"):
            orders.place("create", [Order(conversation=row)], by=Orderer())
        assert not Operation.objects.exists()

    def test_order_from_before_keeps_the_name_until_it_is_carried_out(self, remote):
        row = tombstone()
        placed, _is_new = orders.place("create", [Order(conversation=row)] * 2, by=Orderer())
        prune(scrub=9)

        operations.work_slice(placed.pk)

        assert states(placed) == ["done", "done"]
        assert [each["displayName"] for each in remote.conversations] == ["Ticket 1", "Ticket 1"]

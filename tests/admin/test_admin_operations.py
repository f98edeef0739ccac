"""The actions of the list on one and on several conversations, and the pages of operations, over a running sandbox."""

import re
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import constants
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from kombu.exceptions import OperationalError

from django_orq import tasks
from django_orq.admin import ConversationAdmin
from django_orq.mirror import operations, orders, verbs
from django_orq.models import Conversation, Operation, OperationItem, WorkspaceWait
from django_orq.store.database import all_operations

from ..threads import in_thread
from ..values import scrub, set_columns
from .test_admin import (
    ADD,
    AWKWARD,
    LIST,
    choose,
    confirm,
    confirm_by_force,
    fields_of,
    hidden_fields,
    mirrored,
    resubmit,
    said,
    text_of,
    user_with,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broken_broker(monkeypatch):
    """Publishing fails, as it does for a broker that is out of reach."""

    def refuse(*_args, **_options):
        raise OperationalError("connection refused")

    monkeypatch.setattr(tasks.work_off_operation, "apply_async", refuse)


@pytest.fixture
def rows(remote):
    """Three conversations, the newest first."""
    found = [mirrored(remote, name) for name in ("One", "Two", "Three")]
    remote.clear_requests()
    return found[::-1]


def page_of(operation: Operation, name: str = "change") -> str:
    return reverse(f"admin:django_orq_operation_{name}", args=[operation.pk])


def ordered(response) -> Operation:
    """The operation whose page a request led to."""
    operation = Operation.objects.latest("pk")
    assert response.url == page_of(operation)
    return operation


def work_off(operation: Operation) -> None:
    while not operation.is_finished:
        operation = operations.work_slice(operation.pk)


def rename_page(client: Client, rows):
    return choose(client, "rename_selected", rows)


def new_names(rows) -> dict[str, str]:
    return {f"name-{row.pk}": f"{row} anew" for row in rows}


def names_in_orq(remote) -> list[str]:
    return [conversation["displayName"] for conversation in remote.conversations]


class TestRename:
    def test_page_shows_each_old_name_beside_its_field_and_asks_nothing_of_orq(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)

        fields = hidden_fields(shown)
        assert [fields[f"name-{row.pk}"] for row in rows] == ["Three", "Two", "One"]
        for row in rows:
            assert re.search(rf'<label for="id_name-{row.pk}">\s*<bdi>{row}</bdi>', text_of(shown))
        assert remote.count() == 0

    def test_several_are_recorded_and_done_by_a_worker(self, remote, rows, admin_client, admin_user, queue):
        response = confirm(admin_client, rename_page(admin_client, rows), **new_names(rows))

        operation = ordered(response)
        assert remote.count() == 0
        assert (operation.ordered_by, operation.total, queue.qsize()) == ("admin", 3, 1)
        work_off(operation)
        assert names_in_orq(remote) == ["Three anew", "Two anew", "One anew"]
        entries = LogEntry.objects.filter(user=admin_user, action_flag=CHANGE)
        assert sorted(entries.values_list("object_repr", flat=True)) == ["One anew", "Three anew", "Two anew"]

    def test_those_whose_name_was_left_are_left_alone(self, remote, rows, admin_client):
        response = confirm(admin_client, rename_page(admin_client, rows), **new_names(rows[:2]))

        assert ordered(response).total == 2

    def test_only_one_new_name_is_done_at_once(self, remote, rows, admin_client, queue):
        response = confirm(admin_client, rename_page(admin_client, rows), **new_names(rows[:1]))

        assert response.url == f"{LIST}?state=any"
        assert said(response, constants.SUCCESS) == ["The conversation is now called “Three anew”."]
        assert names_in_orq(remote) == ["Three anew", "Two", "One"]
        assert LogEntry.objects.get().get_change_message() == "Changed Name."
        assert Operation.objects.get().is_finished
        assert queue.qsize() == 0

    def test_no_new_name_does_nothing(self, remote, rows, admin_client):
        response = confirm(admin_client, rename_page(admin_client, rows))

        assert said(response) == ["No name was changed, so nothing was done."]
        assert remote.count() == 0

    def test_name_left_alone_is_no_order_although_a_sync_has_brought_another_since(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)
        verbs.rename_conversation(rows[0], display_name="By somebody else")

        confirm(admin_client, shown, **new_names(rows[1:]))

        assert {item.wanted for item in OperationItem.objects.all()} == {"Two anew", "One anew"}

    def test_bad_names_are_refused_beside_their_fields_and_the_others_kept(self, remote, rows, admin_client):
        typed = new_names(rows) | {f"name-{rows[1].pk}": "x" * 101}
        response = confirm(admin_client, rename_page(admin_client, rows), **typed)

        assert "100 characters" in text_of(response)
        assert hidden_fields(response)[f"name-{rows[0].pk}"] == "Three anew"
        assert not Operation.objects.exists()

    def test_conflict_of_one_is_shown_and_the_same_form_replaces_it(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)
        remote.rename(rows[0].remote_id, "Theirs")

        conflict = confirm(admin_client, shown, **new_names(rows[:1]))
        assert "It is now called “Theirs” (changed 0" in text_of(conflict)
        assert names_in_orq(remote)[0] == "Theirs"
        assert not LogEntry.objects.exists()

        confirm(admin_client, conflict)
        assert names_in_orq(remote)[0] == "Three anew"

    @pytest.mark.parametrize("fault", [{"status": 401}, {"status": 500}, {"drop": "after"}], ids=str)
    def test_failure_of_one_keeps_the_typed_name(self, remote, rows, admin_client, fault):
        remote.fail("update", times=None, **fault)
        shown = rename_page(admin_client, rows)
        remote.fail("retrieve", after=1, status=500, times=None)

        response = confirm(admin_client, shown, **new_names(rows[:1]))

        assert hidden_fields(response)[f"name-{rows[0].pk}"] == "Three anew"
        assert said(response, constants.SUCCESS) == []
        assert len(said(response, constants.ERROR)) == 1
        rows[0].refresh_from_db()
        assert rows[0].display_name == "Three"
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("name", ["line one\nline two", " ", "tab\tbed", "x" * 120])
    def test_name_that_we_would_not_send_is_left_alone_and_stops_no_other(self, remote, rows, admin_client, name):
        set_columns(rows[0], display_name=name)
        shown = rename_page(admin_client, rows)
        untouched = {f"name-{rows[0].pk}": name.replace("\n", "")}

        response = confirm(admin_client, shown, **untouched, **new_names(rows[1:]))

        assert ordered(response).total == 2

    @pytest.mark.parametrize(
        "seen",
        ["", "{}", "[]", "null", '{"1": 1}', "\0", "nonsense", "[" * 100_000, "9" * 5_000]
        + [f'{{"PK": ["{time}", "x"]}}' for time in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")],
        ids=range(11),
    )
    def test_page_without_what_was_seen_is_refused(self, remote, rows, admin_client, seen):
        shown = rename_page(admin_client, rows)
        seen = ", ".join(seen.replace("PK", str(row.pk)).strip("{}") for row in rows) if "PK" in seen else seen
        seen = f"{{{seen}}}" if "0" in seen and "-" in seen else seen
        response = confirm(admin_client, shown, **new_names(rows), seen=seen)

        assert response.status_code == 200
        assert remote.count() == 0
        assert not Operation.objects.exists()

    def test_number_of_fields_is_bounded_by_what_django_takes(self, remote, rows, admin_client, settings):
        settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 22

        response = rename_page(admin_client, rows)

        assert said(response) == ["At most 2 conversations can be chosen at once. Nothing was done."]


class TestDelete:
    def test_page_lists_what_goes_and_asks_nothing_of_orq(self, remote, rows, admin_client):
        shown = text_of(choose(admin_client, "delete_selected", rows))

        assert "these 3 conversations" in shown
        assert all(row.remote_id in shown for row in rows)
        assert remote.count() == 0

    def test_several_are_recorded_and_done_by_a_worker(self, remote, rows, admin_client):
        response = confirm(admin_client, choose(admin_client, "delete_selected", rows))

        operation = ordered(response)
        assert remote.count() == 0
        work_off(operation)
        assert remote.conversations == []
        assert Conversation.objects.deleted().count() == 3
        assert LogEntry.objects.count() == 3

    def test_one_is_done_at_once(self, remote, rows, admin_client):
        response = confirm(admin_client, choose(admin_client, "delete_selected", rows[:1]))

        assert said(response, constants.SUCCESS) == ["“Three” was deleted."]
        assert names_in_orq(remote) == ["Two", "One"]
        assert LogEntry.objects.count() == 1

    def test_failure_of_one_is_told_and_changes_nothing(self, remote, rows, admin_client):
        remote.fail("delete", status=500, times=None)

        response = confirm(admin_client, choose(admin_client, "delete_selected", rows[:1]))

        assert said(response, constants.SUCCESS) == []
        assert said(response, constants.ERROR)[0].startswith("It was not deleted.")
        assert not LogEntry.objects.exists()

    def test_what_is_deleted_already_is_left_out(self, remote, rows, admin_client):
        verbs.delete_conversation(rows[0])

        response = choose(admin_client, "delete_selected", rows)

        assert said(response) == ["“Three” is deleted already."]
        assert "these 2 conversations" in text_of(response)

    def test_second_click_orders_nothing_and_shows_what_the_first_did(self, remote, rows, admin_client, queue):
        shown = choose(admin_client, "delete_selected", rows)

        first, second = confirm(admin_client, shown), confirm(admin_client, shown)

        assert first.url == second.url
        assert Operation.objects.count() == queue.qsize() == 1
        assert "sent before" in said(second)[-1]

    @pytest.mark.parametrize("selected", ["", "x", "1,", "9" * 30, "\0"])
    def test_page_that_lost_its_selection_does_nothing(self, remote, rows, admin_client, selected):
        shown = choose(admin_client, "delete_selected", rows)

        response = confirm(admin_client, shown, selected=selected)

        assert "incomplete" in said(response, constants.ERROR)[0]
        assert remote.count() == 0
        assert not Operation.objects.exists()

    def test_more_than_a_thousand_are_refused(self, remote, rows, admin_client, monkeypatch):
        monkeypatch.setattr("django_orq.admin.bulk.MOST_ITEMS", 2)
        monkeypatch.setattr("django_orq.admin.bulk.BulkAdmin._selected.__kwdefaults__", {"most": 2})

        response = choose(admin_client, "delete_selected", rows)
        forged = confirm_by_force(admin_client, "delete_selected", rows)

        assert said(response) == ["At most 2 conversations can be chosen at once. Nothing was done."]
        assert "At most 2" in said(forged)[-1]
        assert not Operation.objects.exists()

    def test_forged_page_with_one_key_a_thousand_times_deletes_one(self, remote, rows, admin_client):
        key = str(rows[0].pk)
        response = admin_client.post(
            reverse("admin:django_orq_conversation_delete_selected"), {"selected": ",".join([key] * 1_001)}
        )

        assert said(response, constants.SUCCESS) == ["“Three” was deleted."]
        assert names_in_orq(remote) == ["Two", "One"]

    def test_forged_page_with_too_many_keys_does_nothing(self, remote, rows, admin_client):
        keys = ",".join(map(str, range(1, 1_500)))
        response = admin_client.post(reverse("admin:django_orq_conversation_delete_selected"), {"selected": keys})

        assert "At most 1,000" in said(response, constants.ERROR)[0]
        assert remote.count() == 0

    @pytest.mark.parametrize("count", [1, 2])
    def test_conversation_renamed_since_it_was_chosen_is_shown_once_more(self, remote, rows, admin_client, count):
        shown = choose(admin_client, "delete_selected", rows[:count])
        verbs.rename_conversation(rows[0], display_name="KEEP")

        again = confirm(admin_client, shown)
        assert "KEEP" in text_of(again)
        assert len(remote) == 3

        confirm(admin_client, again)
        assert remote.count("delete") == (1 if count == 1 else 0)
        assert [one.is_finished for one in Operation.objects.all()] == [count == 1]

    def test_page_of_one_shows_a_new_name_once_more_too(self, remote, rows, admin_client):
        url = reverse("admin:django_orq_conversation_delete", args=[rows[0].pk])
        seen = hidden_fields(admin_client.get(url))
        verbs.rename_conversation(rows[0], display_name="KEEP")

        again = admin_client.post(url, seen)
        assert "KEEP" in text_of(again)
        assert len(remote) == 3

        admin_client.post(url, hidden_fields(again))
        assert len(remote) == 2


class TestRowsThatOneMayNotTouch:
    @pytest.fixture
    def guarded(self, rows, monkeypatch):
        """The newest may be neither changed nor deleted, by the project's own admin class."""
        for name in ("has_change_permission", "has_delete_permission"):
            stock = getattr(ConversationAdmin, name)

            def permit(self, request, obj=None, *, stock=stock):
                return stock(self, request, obj) and (obj is None or obj.pk != rows[0].pk)

            monkeypatch.setattr(ConversationAdmin, name, permit)
        return rows

    @pytest.mark.parametrize("action", ["rename_selected", "delete_selected", "refresh_selected"])
    def test_action_leaves_it_out_and_says_so(self, remote, guarded, admin_client, action):
        response = choose(admin_client, action, guarded[:1])

        assert said(response, constants.ERROR) == ["You may not do this with “Three”."]
        assert remote.count() == 0

    def test_second_step_leaves_it_out_too(self, remote, guarded, admin_client):
        confirm_by_force(admin_client, "delete_selected", guarded)

        assert OperationItem.objects.filter(conversation=guarded[0]).count() == 0

    @pytest.mark.parametrize(("chosen", "status"), [(slice(0, 2), 403), (slice(1, 3), 302)], ids=["its", "others"])
    def test_worker_is_not_told_of_it_once_more_either(self, remote, guarded, admin_client, queue, chosen, status):
        wanted = [orders.Order(conversation=row, wanted=f"{row} anew") for row in guarded[chosen]]
        operation, _is_new = orders.place("rename", wanted, by=orders.Orderer())

        assert (
            admin_client.post(reverse("admin:django_orq_operation_go_on", args=[operation.pk])).status_code == status
        )

    @pytest.mark.parametrize("number", [1, 2], ids=["alone", "beside another"])
    def test_form_that_was_sent_before_does_not_touch_it_either(self, remote, guarded, admin_client, number):
        token = {"form_token": "0123456789abcdef" * 2}
        confirm_by_force(admin_client, "delete_selected", guarded[2:], **token)
        assert remote.count("delete") == 1

        response = confirm_by_force(admin_client, "delete_selected", guarded[:number], **token)

        assert "You may not do this with “Three”." in said(response, constants.ERROR)
        assert remote.get(guarded[0].remote_id) is not None
        assert OperationItem.objects.filter(conversation=guarded[0]).count() == 0

    @pytest.mark.parametrize("page", ["the action", "the page of one"])
    def test_form_that_was_sent_for_another_does_nothing_to_a_deleted_one(self, remote, guarded, admin_client, page):
        """Orq may have it still: whoever may not delete it must not ask."""
        token = {"form_token": "0123456789abcdef" * 2}
        confirm_by_force(admin_client, "delete_selected", guarded[2:], **token)
        set_columns(guarded[0], deleted_at=guarded[0].mirrored_at)
        remote.clear_requests()

        if page == "the action":
            response = confirm_by_force(admin_client, "delete_selected", guarded[:1], **token)
        else:
            url = reverse("admin:django_orq_conversation_delete", args=[guarded[0].pk])
            response = admin_client.post(url, {"post": "yes", **token})

        assert said(response, constants.WARNING) == ["“Three” is deleted already."]
        assert remote.count() == 0

    def test_form_that_was_sent_before_creates_nothing_anew_that_is_not_deleted(self, remote, rows, admin_client):
        verbs.delete_conversation(rows[2])
        token = {"form_token": "0123456789abcdef" * 2}
        confirm_by_force(admin_client, "create_again", [Conversation.objects.get(pk=rows[2].pk)], **token)
        assert remote.count("create") == 1

        response = confirm_by_force(admin_client, "create_again", rows[:1], **token)

        assert said(response, constants.WARNING) == ["“Three” is not deleted, so it was left alone."]
        assert remote.count("create") == 1

    def test_it_is_not_tried_again_either(self, remote, guarded, admin_client):
        remote.fail("delete", status=500, times=None)
        operation, _ = orders.place("delete", [orders.Order(conversation=guarded[0])], by=orders.Orderer())
        work_off(operation)

        assert admin_client.post(page_of(operation, "retry")).status_code == 403


class TestRefresh:
    def test_one_is_done_at_once(self, remote, rows, admin_client):
        remote.rename(rows[0].remote_id, "Renamed elsewhere")

        response = choose(admin_client, "refresh_selected", rows[:1])

        assert said(response, constants.SUCCESS) == ["“Renamed elsewhere” is up to date."]
        assert LogEntry.objects.count() == 1

    def test_one_that_orq_no_longer_has_is_marked_as_missing(self, remote, rows, admin_client):
        remote.remove(rows[0].remote_id)

        response = choose(admin_client, "refresh_selected", rows[:1])

        assert "marked as missing" in said(response, constants.ERROR)[0]
        rows[0].refresh_from_db()
        assert rows[0].state == "missing"
        assert not LogEntry.objects.exists()

    def test_several_are_recorded_and_done_by_a_worker(self, remote, rows, admin_client):
        remote.rename(rows[0].remote_id, "Renamed elsewhere")
        remote.remove(rows[1].remote_id)

        operation = ordered(choose(admin_client, "refresh_selected", rows))
        work_off(operation)

        rows[0].refresh_from_db()
        assert rows[0].display_name == "Renamed elsewhere"
        shown = text_of(admin_client.get(page_of(operation)))
        assert "3 of 3: 2 done, 1 failed" in shown
        assert "It is marked as missing here." in shown


class TestCreateAgain:
    @pytest.fixture
    def gone(self, remote, rows):
        for row in rows:
            verbs.delete_conversation(row)
        remote.clear_requests()
        return rows

    def test_page_says_that_the_messages_are_gone(self, remote, gone, admin_client):
        assert "messages of the deleted ones are gone" in text_of(choose(admin_client, "create_again", gone))
        assert remote.count() == 0

    def test_one_is_done_at_once_and_only_once(self, remote, gone, admin_client):
        shown = choose(admin_client, "create_again", gone[:1])

        response = confirm(admin_client, shown)
        again = confirm(admin_client, shown)

        assert said(response, constants.SUCCESS) == ["A new conversation called “Three” was created."]
        assert "created once" in said(again, constants.INFO)[0]
        assert names_in_orq(remote) == ["Three"]
        assert Conversation.objects.live().get().remote_id != gone[0].remote_id

    def test_several_are_recorded_and_done_by_a_worker(self, remote, gone, admin_client):
        operation = ordered(confirm(admin_client, choose(admin_client, "create_again", gone)))
        work_off(operation)

        assert sorted(names_in_orq(remote)) == ["One", "Three", "Two"]
        assert set(Conversation.objects.live().values_list("display_name", flat=True)) == {"One", "Two", "Three"}

    def test_unknown_outcome_says_that_it_may_exist(self, remote, gone, admin_client):
        remote.fail("create", drop="after")

        response = confirm(admin_client, choose(admin_client, "create_again", gone[:1]))

        assert "may exist" in said(response, constants.ERROR)[0]
        assert said(response, constants.SUCCESS) == []

    def test_what_is_not_deleted_is_left_alone(self, remote, rows, admin_client):
        response = choose(admin_client, "create_again", rows[:1])

        assert said(response) == ["“Three” is not deleted, so it was left alone."]
        assert remote.count() == 0

    def test_scrubbed_one_is_refused_for_it_has_no_name(self, remote, gone, admin_client):
        scrub(gone[:1])

        response = choose(admin_client, "create_again", gone[:1])

        id_ = gone[0].remote_id
        assert said(response) == [f"“{id_}” can't be created again: its name is no longer kept here."]
        assert remote.count() == 0

    @pytest.mark.parametrize("count", [1, 3])
    def test_one_that_is_scrubbed_while_the_page_asks_is_refused_too(self, remote, gone, admin_client, count):
        page = choose(admin_client, "create_again", gone[:count])
        scrub(gone[:2])

        response = confirm(admin_client, page)

        refused = said(response, constants.ERROR)
        assert ["no longer kept here" in message for message in refused] == [True]
        assert remote.count("create") == (0 if count == 1 else 1)

    def test_scrubbed_one_is_listed_by_its_id(self, gone, admin_client):
        scrub(gone[:1])

        page = admin_client.get("/admin/django_orq/conversation/?state=deleted").content.decode()

        assert f">{gone[0].remote_id}</a>" in page


class TestAddOnce:
    def test_form_that_is_sent_twice_creates_once(self, remote, admin_client):
        form = fields_of(admin_client.get(ADD)) | {"display_name": "Refund"}

        responses = [admin_client.post(ADD, form | {"_save": "Save"}) for _ in range(2)]

        assert [response.status_code for response in responses] == [302, 302]
        assert names_in_orq(remote) == ["Refund"]
        assert "created once" in said(responses[1], constants.INFO)[-1]
        assert LogEntry.objects.count() == 1

    def test_form_gone_back_to_and_sent_with_another_name_creates_another(self, remote, admin_client):
        form = fields_of(admin_client.get(ADD))

        for name in ("Refund", "Invoice"):
            admin_client.post(ADD, form | {"display_name": name, "_save": "Save"})

        assert names_in_orq(remote) == ["Invoice", "Refund"]

    def test_form_that_failed_can_be_sent_again(self, remote, admin_client):
        remote.fail("create", status=500)
        form = fields_of(admin_client.get(ADD)) | {"display_name": "Refund", "_save": "Save"}

        failed = admin_client.post(ADD, form)
        assert remote.conversations == []
        resubmit(admin_client, ADD, failed)

        assert names_in_orq(remote) == ["Refund"]

    def test_unknown_outcome_offers_a_sync(self, remote, admin_client):
        remote.fail("create", drop="after")
        response = admin_client.post(ADD, {"display_name": "Refund", "_save": "Save"})

        assert reverse("admin:django_orq_syncrun_start") in text_of(response)
        assert fields_of(response)["display_name"] == "Refund"


class TestOnce:
    """What is sent twice is done once, noted once and told once."""

    WAYS = ("rename", "rename selected", "delete", "delete selected", "refresh selected")
    each_way = pytest.mark.parametrize("way", WAYS)
    REQUESTS: ClassVar[dict[str, str]] = {"rename": "update", "delete": "delete", "refresh": "retrieve"}

    def form(self, client, way, row):
        """The address that a page's form is sent to, and what it holds."""
        verb = way.split()[0]
        if verb == "refresh":
            fields = {"action": "refresh_selected", "_selected_action": [row.pk]}
            return LIST, {**fields, "form_token": list_token(client)}
        if " " in way:
            shown = choose(client, way.replace(" ", "_"), [row])
            (url,) = re.findall(r'<form method="post" action="([^"]*)"', text_of(shown))
            fields = hidden_fields(shown)
        else:
            url = reverse(f"admin:django_orq_conversation_{'change' if verb == 'rename' else 'delete'}", args=[row.pk])
            fields = hidden_fields(client.get(url))
        field = {"rename": {"display_name": "Anew", "_save": "Save"}, "rename selected": {f"name-{row.pk}": "Anew"}}
        return url, fields | field.get(way, {})

    def assert_done_once(self, remote, way, responses):
        assert [response.status_code for response in responses] == [302, 302]
        assert remote.count(self.REQUESTS[way.split()[0]]) == 1
        assert LogEntry.objects.count() == 1

    @each_way
    def test_one_after_the_other(self, remote, rows, admin_client, way):
        url, fields = self.form(admin_client, way, rows[0])
        remote.clear_requests()

        responses = [admin_client.post(url, fields) for _ in range(2)]

        self.assert_done_once(remote, way, responses)
        assert len(said(responses[1], constants.SUCCESS)) == 1  # that of the first, still to be read
        assert "sent more than once" in said(responses[1], constants.INFO)[0]
        assert len(said(responses[1])) == 2

    @each_way
    def test_both_at_the_same_moment(self, remote, rows, admin_client, admin_user, way):
        if connection.vendor == "sqlite":
            pytest.skip("two connections can't use SQLite's memory at the same time; other databases can")
        other = Client()
        other.force_login(admin_user)
        url, fields = self.form(admin_client, way, rows[0])
        remote.clear_requests()
        responses, threads = [], []

        def second(operation, phase):
            if (operation, phase) == (self.REQUESTS[way.split()[0]], "before"):
                remote.on_request = None
                threads.append(in_thread(lambda: responses.append(other.post(url, fields))))

        remote.on_request = second
        responses.append(admin_client.post(url, fields))
        threads[0].join()

        self.assert_done_once(remote, way, responses)
        for response in responses:  # each browser shows one of them alone
            assert len(said(response, constants.SUCCESS)) == 1
            assert said(response, constants.WARNING) == said(response, constants.ERROR) == []

    def test_sent_again_after_the_outcome_was_read_it_is_told_once_more(self, remote, rows, admin_client):
        url, fields = self.form(admin_client, "rename", rows[0])
        admin_client.post(url, fields, follow=True)

        again = admin_client.post(url, fields)

        assert len(said(again, constants.SUCCESS)) == 1
        assert "renamed once" in said(again, constants.INFO)[0]

    def test_sent_again_after_somebody_renamed_it_the_form_asks(self, remote, rows, admin_client):
        url, fields = self.form(admin_client, "rename", rows[0])
        admin_client.post(url, fields, follow=True)
        remote.rename(rows[0].remote_id, "Theirs")
        verbs.refresh_conversation(rows[0])

        again = admin_client.post(url, fields)

        assert "now called “Theirs”" in text_of(again)
        assert said(again, constants.SUCCESS) == []
        assert remote.count("update") == 1

    @pytest.mark.parametrize("way", ["rename", "rename selected", "delete", "delete selected"])
    def test_form_that_failed_is_shown_with_a_new_mark(self, remote, rows, admin_client, way):
        url, fields = self.form(admin_client, way, rows[0])
        remote.fail(status=500)

        failed = admin_client.post(url, fields)

        assert said(failed, constants.SUCCESS) == []
        if way != "delete selected":  # which leads back to the list
            assert hidden_fields(failed)["form_token"] not in ("", fields["form_token"])
            admin_client.post(url, {**fields, **hidden_fields(failed)})
            assert LogEntry.objects.count() == 1

    def test_form_of_somebody_else_is_no_form_sent_before(self, remote, rows, admin_client):
        url, fields = self.form(admin_client, "rename", rows[0])
        admin_client.post(url, fields)
        bob = Client()
        bob.force_login(User.objects.create_superuser("bob"))

        bob.post(url, fields | {"expected_updated_at": datetime.now(UTC).isoformat()})

        assert [entry.user.username for entry in LogEntry.objects.order_by("pk")] == ["admin", "bob"]
        assert remote.count("update") == 1  # it had the name already

    @pytest.mark.parametrize("way", ["delete", "delete selected"])
    def test_deletion_by_another_form_says_that_it_is_gone(self, remote, rows, admin_client, way):
        url, fields = self.form(admin_client, way, rows[0])
        other_url, other_fields = self.form(admin_client, way, rows[0])
        admin_client.post(url, fields, follow=True)

        response = admin_client.post(other_url, other_fields)

        assert said(response) == ["“Three” is deleted already."]
        assert remote.count("delete") == LogEntry.objects.count() == 1

    def test_refresh_of_several_is_ordered_once(self, remote, rows, admin_client, queue):
        token = list_token(admin_client)

        first, second = (choose(admin_client, "refresh_selected", rows, form_token=token) for _ in range(2))

        assert first.url == second.url
        assert Operation.objects.count() == queue.qsize() == 1
        assert "sent before" in said(second, constants.INFO)[0]

    def test_other_conversations_of_the_same_list_are_another_order(self, remote, rows, admin_client, queue):
        token = list_token(admin_client)

        for selected in (rows, rows[:2], rows[1:]):
            choose(admin_client, "refresh_selected", selected, form_token=token)

        assert Operation.objects.count() == queue.qsize() == 3

    def test_second_click_on_deleting_several_is_none_on_what_the_first_left(self, remote, rows, admin_client):
        shown = choose(admin_client, "delete_selected", rows[:2])
        first = confirm(admin_client, shown)
        operations.work_slice(ordered(first).pk, seconds=0)

        second = confirm(admin_client, shown)

        assert second.url == first.url
        assert Operation.objects.count() == remote.count("delete") == 1


def list_token(client: Client) -> str:
    """What the form of the list's actions carries."""
    return hidden_fields(client.get(LIST))["form_token"]


class TestPage:
    @pytest.fixture
    def operation(self, rows, admin_user):
        by = orders.Orderer(pk=str(admin_user.pk), name="admin")
        wanted = [orders.Order(conversation=row, wanted=f"{row} anew") for row in rows]
        return orders.place("rename", wanted, by=by)[0]

    def test_unfinished_operation_shows_its_bar_and_a_finished_one_its_outcomes(self, remote, operation, admin_client):
        remote.fail("update", status=500, after=1)
        before = text_of(admin_client.get(page_of(operation)))
        work_off(operation)
        after = text_of(admin_client.get(page_of(operation)))

        assert 'value="0" max="3"' in before
        assert page_of(operation, "progress") in before
        assert "3 of 3: 2 done, 1 failed" in after
        assert "The name was not changed. Orq is in trouble" in after
        assert "data-progress-url" not in after

    def test_progress_is_told_as_json(self, remote, operation, admin_client):
        operations.work_slice(operation.pk, seconds=0)
        told = admin_client.get(page_of(operation, "progress")).json()

        first = operation.items.order_by("pk").first()
        assert {name: told[name] for name in ("finished", "value", "max", "text")} == {
            "finished": False,
            "value": 1,
            "max": 3,
            "text": "1 of 3: 1 done",
        }
        assert told["fields"][f"item-{first.pk}"] == "Renamed."

    def test_what_failed_can_be_tried_again(self, remote, operation, admin_client):
        remote.fail("update", status=500, after=1)
        work_off(operation)
        assert page_of(operation, "retry") in text_of(admin_client.get(page_of(operation)))

        admin_client.post(page_of(operation, "retry"))
        operation.refresh_from_db()
        work_off(operation)

        assert set(operation.items.values_list("state", flat=True)) == {"done"}
        assert page_of(operation, "retry") not in text_of(admin_client.get(page_of(operation)))
        assert "nothing that could be done again" in said(admin_client.post(page_of(operation, "retry")))[0]

    def test_what_no_worker_takes_is_told_with_the_queue_and_a_button(self, operation, admin_client, queue):
        long_ago = operation.ordered_at - timedelta(minutes=3)
        all_operations().filter(pk=operation.pk).update(enqueued_at=long_ago, ticket="t")

        shown = text_of(admin_client.get(page_of(operation)))
        assert "No worker has taken it for 3 minutes. Is a worker listening to the queue “celery”?" in shown
        assert page_of(operation, "go_on") in shown

        admin_client.post(page_of(operation, "go_on"))
        assert queue.qsize() == 1

    def test_worker_that_is_at_it_is_not_called_again(self, operation, admin_client, queue):
        a_while = operation.ordered_at + timedelta(minutes=5)
        all_operations().filter(pk=operation.pk).update(token="t", lease_until=a_while, ticket="t")

        response = admin_client.post(page_of(operation, "go_on"))

        assert said(response) == ["A worker is doing it now."]
        assert queue.qsize() == 0

    def test_worker_that_was_killed_can_be_replaced_by_hand(self, operation, admin_client, queue):
        long_ago = operation.ordered_at - timedelta(minutes=5)
        all_operations().filter(pk=operation.pk).update(token="t", lease_until=long_ago, ticket="t")
        shown = text_of(admin_client.get(page_of(operation)))
        assert "being done" not in shown
        assert page_of(operation, "go_on") in shown

        admin_client.post(page_of(operation, "go_on"))

        assert queue.qsize() == 1

    @pytest.mark.parametrize("name", ["retry", "go_on"])
    def test_broker_out_of_reach_is_told_the_second_time_too(
        self, remote, operation, admin_client, broken_broker, name
    ):
        remote.fail("update", status=500, times=2)
        operations.work_slice(operation.pk, seconds=0 if name == "go_on" else 60)

        response = admin_client.post(page_of(operation, name))

        assert "out of reach" in said(response, constants.WARNING)[0]

    def test_another_attempt_says_that_it_replaces_names_and_is_logged_for_who_ordered_it(
        self, remote, rows, operation, admin_client
    ):
        remote.rename(rows[0].remote_id, "Theirs")
        work_off(operation)
        bob = User.objects.create_superuser("bob")
        client = Client()
        client.force_login(bob)
        assert "replaces the name that somebody else gave to 1 conversation" in text_of(client.get(page_of(operation)))

        client.post(page_of(operation, "retry"))
        operation.refresh_from_db()
        work_off(operation)

        assert remote.get(rows[0].remote_id)["displayName"] == "Three anew"
        assert LogEntry.objects.filter(user=bob).count() == 1

    def test_number_of_statements_does_not_grow_with_the_list(self, rows, admin_client, statements):
        counts = []
        for number in (1, 20):
            for _ in range(number):
                orders.place("refresh", [orders.Order(conversation=rows[0])], by=orders.Orderer())
            with statements() as executed:
                admin_client.get(reverse("admin:django_orq_operation_changelist"))
            counts.append(len(executed))

        assert counts[0] == counts[1]

    def test_list_tells_operations_on_several_from_those_on_one(self, remote, rows, operation, admin_client):
        single, _ = orders.place("refresh", [orders.Order(conversation=rows[0])], by=orders.Orderer())
        url = reverse("admin:django_orq_operation_changelist")

        shown = {
            choice: list(admin_client.get(url, {"conversations": choice}).context["cl"].result_list)
            for choice in ("several", "one", "")
        }

        assert shown == {"several": [operation], "one": [single], "": [single, operation]}
        assert "refresh “Three”" in text_of(admin_client.get(url))
        operations.work_slice(single.pk)
        assert re.search(r'field-outcome">done<', text_of(admin_client.get(url)))

    def test_broker_out_of_reach_is_told_and_loses_nothing(self, remote, rows, admin_client, broken_broker):
        response = confirm(admin_client, choose(admin_client, "delete_selected", rows))

        assert "out of reach" in said(response, constants.WARNING)[0]
        assert orders.adoptable() == [ordered(response)]

    def test_waiting_operation_says_why(self, remote, operation, admin_client):
        remote.fail("update", status=429, headers={"Retry-After": "40"})
        operations.work_slice(operation.pk)

        shown = text_of(admin_client.get(page_of(operation)))

        assert "waiting" in shown
        assert "Orq asks us to slow down" in shown

    def test_wait_that_orq_asked_others_for_is_told_in_the_time_of_the_reader(
        self, remote, rows, operation, admin_client, settings
    ):
        settings.TIME_ZONE = "Pacific/Auckland"
        until = (datetime.now(UTC) + timedelta(minutes=7)).replace(second=30)  # far from the next minute
        WorkspaceWait.objects.create(workspace="default", until=until)
        operations.work_slice(operation.pk)
        single = confirm(admin_client, choose(admin_client, "delete_selected", rows[:1]))

        shown = text_of(admin_client.get(page_of(operation)))

        expected = date_format(timezone.localtime(until), "DATETIME_FORMAT")
        assert f"Orq asks us to wait until {expected}." in shown
        assert re.search(r"Orq asks us to slow down\. Orq asks to wait [78] minutes\.", said(single)[0])
        assert "UTC" not in shown + said(single)[0]

    def test_each_kind_of_outcome_is_understood(self, operation, admin_client):
        notes = [
            ("done", {"replaced": "Theirs"}, "Somebody had renamed it to “Theirs” at the same moment"),
            ("done", {"overtaken": "Theirs"}, "Somebody renamed it to “Theirs” right after that."),
            (
                "failed",
                {"untried": True},
                "Not tried, since it would have fared like one before it: The name",
            ),
        ]
        for item, (state, note, _) in zip(operation.items.order_by("pk"), notes, strict=True):
            code = "must_wait" if state == "failed" else ""
            OperationItem.objects.filter(pk=item.pk).update(state=state, note=note, error_code=code)

        shown = text_of(admin_client.get(page_of(operation)))

        assert all(words in shown for _, _, words in notes)

    def test_list_shows_the_outcome_of_each(self, remote, operation, admin_client):
        work_off(operation)

        shown = text_of(admin_client.get(reverse("admin:django_orq_operation_changelist")))

        assert "3 of 3: 3 done" in shown

    def test_awkward_names_are_shown_as_themselves(self, remote, admin_client):
        rows = [mirrored(remote, AWKWARD) for _ in range(2)]
        typed = {f"name-{row.pk}": f"{AWKWARD} 2" for row in rows}
        operation = ordered(confirm(admin_client, rename_page(admin_client, rows), **typed))
        pages = [text_of(admin_client.get(page_of(operation)))]
        work_off(operation)
        pages.append(text_of(admin_client.get(page_of(operation))))

        for shown in pages:
            assert "<script>alert" not in shown
            assert shown.count("<bdi>Frau &lt;script&gt;") == 4


class TestNames:
    """One that runs from right to left disturbs no sentence that it stands in."""

    NAME, OTHER = "שלום (1)", "עולם (2)"
    ISOLATED, OTHER_ISOLATED = f"\u2068{NAME}\u2069", f"\u2068{OTHER}\u2069"

    @pytest.fixture
    def row(self, remote):
        return mirrored(remote, self.NAME)

    def test_in_what_is_said_of_one(self, remote, row, admin_client):
        change, delete = (
            reverse(f"admin:django_orq_conversation_{name}", args=[row.pk]) for name in ("change", "delete")
        )
        rename_again = rename_page(admin_client, [row])
        responses = [
            admin_client.post(ADD, {"display_name": self.NAME, "_save": "Save"}),
            choose(admin_client, "refresh_selected", [row]),
            choose(admin_client, "create_again", [row]),
            admin_client.post(change, hidden_fields(admin_client.get(change)) | {"_save": "Save"}),
            confirm(admin_client, rename_again, **{f"name-{row.pk}": self.OTHER}),
            admin_client.post(delete, {"post": "yes"}),
            admin_client.post(delete, {"post": "yes"}),
        ]

        for response in responses:
            (message,) = said(response)[-1:]
            assert self.ISOLATED in message or self.OTHER_ISOLATED in message

    def test_in_a_conflict_and_in_an_outcome(self, remote, row, admin_client):
        other = mirrored(remote, "Two")
        shown, later = rename_page(admin_client, [row]), rename_page(admin_client, [row, other])
        remote.rename(row.remote_id, self.OTHER)

        conflict = confirm(admin_client, shown, **{f"name-{row.pk}": "Mine"})
        operation = ordered(confirm(admin_client, later, **new_names([row, other])))
        work_off(operation)

        assert f"now called “{self.OTHER_ISOLATED}”" in text_of(conflict)
        assert f"now called “{self.OTHER_ISOLATED}”" in text_of(admin_client.get(page_of(operation)))


class TestPermissions:
    @pytest.fixture
    def operation(self, remote, rows):
        remote.fail("delete", status=500, times=None)
        wanted = [orders.Order(conversation=row) for row in rows]
        operation, _ = orders.place("delete", wanted, by=orders.Orderer(pk="4711", name="somebody"))
        work_off(operation)
        remote.clear_requests()
        return operation

    @pytest.mark.parametrize(
        ("name", "method"), [("change", "get"), ("progress", "get"), ("retry", "post"), ("go_on", "post")]
    )
    @pytest.mark.parametrize(
        ("permissions", "allowed"),
        [
            ((), ()),
            (("view_conversation", "delete_conversation"), ()),
            (("view_operation",), ("change", "progress")),
            (("view_operation", "change_conversation"), ("change", "progress")),
            (("view_operation", "delete_conversation"), ("change", "progress", "retry", "go_on")),
        ],
        ids=str,
    )
    def test_each_endpoint(self, operation, name, method, permissions, allowed):
        response = getattr(user_with(*permissions), method)(page_of(operation, name))

        refused = response.status_code == 403 or response.headers.get("Location") == reverse("admin:index")
        assert refused == (name not in allowed)
        operation.refresh_from_db()
        assert operation.is_finished == (name != "retry" or name not in allowed)

    def test_own_operation_can_be_seen_without_that_permission_and_others_not(self, remote, rows):
        client = user_with("view_conversation", "delete_conversation")
        own = ordered(confirm_by_force(client, "delete_selected", rows))
        other, _ = orders.place("refresh", [orders.Order(conversation=rows[0])], by=orders.Orderer(pk="4711"))

        assert client.get(page_of(own)).status_code == 200
        shown = text_of(client.get(reverse("admin:django_orq_operation_changelist")))
        assert page_of(own) in shown
        assert page_of(other) not in shown

    @pytest.mark.parametrize("name", ["retry", "go_on"])
    def test_only_posts_with_a_token_do_something(self, operation, admin_user, name):
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)

        assert client.post(page_of(operation, name)).status_code == 403
        assert client.get(page_of(operation, name)).status_code == 405

    @pytest.mark.parametrize("name", ["rename_selected", "delete_selected", "create_again"])
    def test_second_steps_are_posts_only(self, admin_client, name):
        assert admin_client.get(reverse(f"admin:django_orq_conversation_{name}")).status_code == 405

    def test_anonymous_visitors_are_sent_to_the_login(self, operation, client):
        for name in ("change", "progress", "retry", "go_on"):
            assert client.post(page_of(operation, name)).url.startswith(reverse("admin:login"))

    def test_user_deleted_since_leaves_the_operation_readable(self, remote, rows, admin_client):
        client = user_with("view_conversation", "delete_conversation")
        operation = ordered(confirm_by_force(client, "delete_selected", rows))
        User.objects.get(username="agent").delete()

        work_off(operation)

        assert "agent" in text_of(admin_client.get(page_of(operation)))

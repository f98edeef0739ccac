"""The list's actions on one and on several conversations, and the pages of operations, with a running sandbox."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import constants, get_messages
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from kombu.exceptions import OperationalError

from django_orq import mirror as verbs, tasks
from django_orq.admin import ConversationAdmin
from django_orq.admin.bulk import MAX_RENAMES
from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest, Requester, create_operation
from django_orq.models import (
    Conversation,
    ConversationChange,
    Operation,
    OperationItem,
    WorkspaceWait,
    searching,
)
from django_orq.store import leases
from django_orq.store.database import all_operations

from ..ordering import meanwhile
from ..threads import in_thread
from ..values import scrub, set_columns
from .test_admin import (
    ADD,
    AWKWARD,
    LIST,
    buttons,
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
    """Publishing fails, as with an unreachable broker."""

    def refuse(*_args, **_options):
        raise OperationalError("connection refused")

    monkeypatch.setattr(tasks.run_operation, "apply_async", refuse)


@pytest.fixture
def rows(remote):
    """Three conversations, the newest first."""
    found = [mirrored(remote, name) for name in ("One", "Two", "Three")]
    remote.clear_requests()
    return found[::-1]


def page_of(operation: Operation, name: str = "change") -> str:
    return reverse(f"admin:django_orq_operation_{name}", args=[operation.pk])


def ordered(response) -> Operation:
    """The operation to whose page a request was redirected."""
    operation = Operation.objects.latest("pk")
    assert response.url == page_of(operation)
    return operation


def work_off(operation: Operation) -> None:
    while not operation.is_finished:
        operation = operations.work_slice(operation.pk)


def rename_page(client: Client, rows):
    return choose(client, "rename_selected", rows)


def field_of(row: Conversation) -> str:
    """The field for its new name on the page that renames several."""
    return f"{row.pk}-display_name"


def new_names(rows) -> dict[str, str]:
    return {field_of(row): f"{row} anew" for row in rows}


def names_in_orq(remote) -> list[str]:
    return [conversation["displayName"] for conversation in remote.conversations]


class TestSeveral:
    """Recorded first, then done by a worker."""

    @pytest.mark.parametrize(
        ("action", "words", "names", "kind"),
        [
            ("rename_selected", "Edit the names", ["Three anew", "Two anew", "One"], "renamed"),
            ("delete_selected", "these 2 conversations", ["One"], "deleted"),
            ("refresh_selected", "", ["Renamed elsewhere", "Two", "One"], ""),
            ("create_again", "messages of the deleted ones are lost", ["Two", "Three", "One"], "created"),
        ],
    )
    def test_each_action(self, remote, rows, admin_client, admin_user, queue, action, words, names, kind):
        if action == "refresh_selected":
            remote.rename(rows[0].remote_id, "Renamed elsewhere")
        for row in rows[:2] if action == "create_again" else ():
            verbs.delete_conversation(row)
        remote.clear_requests()

        response = choose(admin_client, action, rows[:2])
        if words:
            assert words in text_of(response)
            typed = new_names(rows[:2]) if action == "rename_selected" else {}
            response = confirm(admin_client, response, **typed)

        operation = ordered(response)
        assert (operation.requested_by, operation.total, remote.count(), queue.qsize()) == ("admin", 2, 0, 1)
        work_off(operation)
        assert names_in_orq(remote) == names
        recorded = ConversationChange.objects.filter(actor_id=str(admin_user.pk), kind=kind, operation=operation)
        assert recorded.count() == (2 if kind else 0)
        assert "2 of 2: 2 done" in text_of(admin_client.get(reverse("admin:django_orq_operation_changelist")))

    @pytest.mark.parametrize("name", ["order", "retry"])
    def test_broker_out_of_reach_is_told_and_loses_nothing(self, remote, rows, admin_client, broken_broker, name):
        remote.fail("delete", status=500, times=2)
        response = confirm(admin_client, choose(admin_client, "delete_selected", rows))
        operation = ordered(response)
        if name != "order":
            operations.work_slice(operation.pk)
            response = admin_client.post(page_of(operation, name))

        assert "The request is saved, but no worker could be notified." in said(response, constants.WARNING)[-1]
        assert list(leases.idle_operations()) == [operation]


class TestRename:
    def test_page_shows_each_old_name_beside_its_field_and_asks_nothing_of_orq(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)

        fields = hidden_fields(shown)
        assert [fields[field_of(row)] for row in rows] == ["Three", "Two", "One"]
        for row in rows:
            assert re.search(rf'<label for="id_{field_of(row)}">\s*<bdi>{row}</bdi>', text_of(shown))
        assert remote.count() == 0

    def test_only_one_new_name_is_done_at_once(self, remote, rows, admin_client, queue):
        response = confirm(admin_client, rename_page(admin_client, rows), **new_names(rows[:1]))

        assert response.url == f"{LIST}?state=any"
        assert said(response, constants.SUCCESS) == ["The conversation was renamed to “Three anew”."]
        assert names_in_orq(remote) == ["Three anew", "Two", "One"]
        assert LogEntry.objects.get().get_change_message() == "Changed Name."
        assert not Operation.objects.exists()
        assert queue.qsize() == 0

    def test_name_left_alone_is_no_order_although_a_sync_has_brought_another_since(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)
        verbs.rename_conversation(rows[0], display_name="By somebody else")

        confirm(admin_client, shown, **new_names(rows[1:]))

        assert {item.new_name for item in OperationItem.objects.all()} == {"Two anew", "One anew"}

    def test_bad_names_are_refused_beside_their_fields_and_the_others_kept(self, remote, rows, admin_client):
        typed = new_names(rows) | {field_of(rows[1]): "x" * 101}
        response = confirm(admin_client, rename_page(admin_client, rows), **typed)

        assert "100 characters" in text_of(response)
        assert hidden_fields(response)[field_of(rows[0])] == "Three anew"
        assert not Operation.objects.exists()

    def test_conflict_of_one_is_shown_and_the_same_form_replaces_it(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)
        remote.rename(rows[0].remote_id, "Theirs")

        conflict = confirm(admin_client, shown, **new_names(rows[:1]))
        assert "The name is “Theirs” now." in text_of(conflict)
        assert names_in_orq(remote)[0] == "Theirs"
        assert not LogEntry.objects.exists()

        confirm(admin_client, conflict)
        assert names_in_orq(remote)[0] == "Three anew"

    def test_conflict_of_one_offers_to_keep_the_other_name_and_what_else_is_typed(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)
        remote.rename(rows[0].remote_id, AWKWARD)
        conflict = confirm(admin_client, shown, **new_names(rows[:1]))
        typed = new_names(rows[1:])
        remote.clear_requests()

        kept = confirm(admin_client, conflict, **typed, **buttons(conflict)[f"Keep “{AWKWARD}”"])

        assert hidden_fields(kept) | typed | {field_of(rows[0]): AWKWARD} == hidden_fields(kept)
        assert "errorlist" not in text_of(kept)
        assert remote.count() == 0
        assert ordered(confirm(admin_client, kept)).total == 2

    def test_conflict_of_one_offers_to_replace_the_other_name(self, remote, rows, admin_client):
        shown = rename_page(admin_client, rows)
        remote.rename(rows[0].remote_id, "Theirs")
        conflict = confirm(admin_client, shown, **new_names(rows[:1]))

        typed = {field_of(rows[0]): "Typed since"}
        confirm(admin_client, conflict, **typed, **buttons(conflict)["Replace it with “Three anew”"])

        assert names_in_orq(remote) == ["Three anew", "Two", "One"]

    @pytest.mark.parametrize("fault", [{"status": 401}, {"status": 500}, {"drop": "after"}], ids=str)
    def test_failure_of_one_keeps_the_typed_name(self, remote, rows, admin_client, fault):
        remote.fail("update", times=None, **fault)
        shown = rename_page(admin_client, rows)
        remote.fail("retrieve", after=1, status=500, times=None)

        response = confirm(admin_client, shown, **new_names(rows[:1]))

        assert hidden_fields(response)[field_of(rows[0])] == "Three anew"
        assert said(response, constants.SUCCESS) == []
        assert len(said(response, constants.ERROR)) == 1
        rows[0].refresh_from_db()
        assert rows[0].display_name == "Three"
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("name", ["line one\nline two", " ", "tab\tbed", "x" * 120])
    def test_name_that_we_would_not_send_is_left_alone_and_stops_no_other(self, remote, rows, admin_client, name):
        set_columns(rows[0], display_name=name)
        shown = rename_page(admin_client, rows)
        untouched = {field_of(rows[0]): name.replace("\n", "")}

        response = confirm(admin_client, shown, **untouched, **new_names(rows[1:]))

        assert ordered(response).total == 2

    @pytest.mark.parametrize("seen", ["", "nonsense", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "\0"])
    @pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
    def test_page_without_what_was_seen_is_refused(self, remote, rows, admin_client, seen, several):
        if several:
            expected = {f"{row.pk}-expected_updated_at": seen for row in rows}
            response = confirm(admin_client, rename_page(admin_client, rows), **new_names(rows), **expected)
        else:
            url = reverse("admin:django_orq_conversation_change", args=[rows[0].pk])
            response = admin_client.post(url, {"display_name": "New", "expected_updated_at": seen})

        assert "Reload it" in text_of(response)
        assert remote.count() == 0
        assert not Operation.objects.exists()

    def test_number_of_fields_is_bounded_by_what_django_takes(self, remote, rows, admin_client, settings, monkeypatch):
        assert 3 * MAX_RENAMES + 10 < settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        monkeypatch.setattr("django_orq.admin.bulk.MAX_RENAMES", 2)

        response = rename_page(admin_client, rows)

        assert said(response) == ["You can select at most 2 conversations at once. Nothing was changed."]


class TestPreview:
    def preview(self, client: Client, response, **fields: str):
        return confirm(client, response, preview="1", **fields)

    @pytest.mark.parametrize(
        ("wanted", "names"),
        [
            ({"find": "T", "replace": "t"}, ["three", "two", "One"]),
            ({"prepend": "Old: "}, ["Old: Three", "Old: Two", "Old: One"]),
            ({"find": "One", "replace": "1", "prepend": "#"}, ["#Three", "#Two", "#1"]),
            ({"find": "e"}, ["Thr", "Two", "On"]),
            ({"find": "nowhere", "replace": "x"}, ["Three", "Two", "One"]),
            ({}, ["Three", "Two", "One"]),
        ],
        ids=str,
    )
    def test_fills_and_marks_the_names_and_sends_nothing(self, remote, rows, admin_client, wanted, names):
        shown = self.preview(admin_client, rename_page(admin_client, rows), **wanted)

        fields = hidden_fields(shown)
        assert [fields[field_of(row)] for row in rows] == names
        changed = sum(str(row) != name for row, name in zip(rows, names, strict=True))
        assert text_of(shown).count("orq-changed") == text_of(shown).count('"orq-mark"') == changed
        assert f"{changed} of 3 names will change" in text_of(shown)
        assert fields | wanted == fields  # the next preview can begin with them
        assert remote.count() == 0
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("field", ["prepend", "replace"])
    def test_long_text_makes_no_long_page(self, rows, admin_client, field):
        """It would have all of the text in each name, perhaps several times."""
        wanted = {"find": "e", field: "x" * 100_000}
        shown = self.preview(admin_client, rename_page(admin_client, rows), **wanted)

        longest = {len(hidden_fields(shown)[field_of(row)]) for row in rows}
        assert max(longest) < 1_100
        assert text_of(shown).count("A name can have at most 100 characters.") == (3 if field == "prepend" else 2)

    def test_blanks_around_long_text_do_not_count_and_those_in_it_do(self, rows, admin_client):
        blanks = " " * 3_000
        shown = self.preview(admin_client, rename_page(admin_client, rows), find="One", replace=f"{blanks}1{blanks}")
        assert hidden_fields(shown)[field_of(rows[2])] == "1"
        assert "at most 100 characters" not in text_of(shown)

        shown = self.preview(admin_client, rename_page(admin_client, rows), find="One", replace=f"1{blanks}tail")
        assert "at most 100 characters" in text_of(shown)

    def test_proposed_names_are_saved_as_if_typed(self, remote, rows, admin_client):
        shown = self.preview(admin_client, rename_page(admin_client, rows), prepend="Old: ")

        operation = ordered(confirm(admin_client, shown))

        work_off(operation)
        assert names_in_orq(remote) == ["Old: Three", "Old: Two", "Old: One"]

    def test_second_preview_begins_with_the_current_names(self, remote, rows, admin_client):
        shown = self.preview(admin_client, rename_page(admin_client, rows), prepend="Old: ")
        shown = self.preview(admin_client, shown, prepend="New: ")

        assert hidden_fields(shown)[field_of(rows[0])] == "New: Three"

    @pytest.mark.parametrize(
        ("wanted", "complaint"),
        [({"find": "Three"}, "This field is required."), ({"prepend": "x" * 96}, "100 characters")],
        ids=["empty", "too long"],
    )
    def test_invalid_names_are_refused_beside_their_fields(self, remote, rows, admin_client, wanted, complaint):
        shown = self.preview(admin_client, rename_page(admin_client, rows), **wanted)

        assert complaint in text_of(shown)
        assert text_of(shown).count('<div class="form-row errors') == 1
        confirm(admin_client, shown)
        assert not Operation.objects.exists()
        assert remote.count() == 0

    def test_name_that_changed_since_the_preview_is_a_conflict(self, remote, rows, admin_client):
        shown = self.preview(admin_client, rename_page(admin_client, rows[:1]), prepend="Old: ")
        remote.rename(rows[0].remote_id, "Theirs")

        assert "Keep “Theirs”" in buttons(confirm(admin_client, shown))

    @pytest.mark.parametrize("selected", ["", "x", "9" * 30, "\0"])
    def test_lost_selection_leads_back_to_the_list(self, remote, rows, admin_client, selected):
        shown = self.preview(admin_client, rename_page(admin_client, rows), selected=selected)

        assert shown.url == f"{LIST}?state=any"

    @pytest.mark.parametrize("text", [AWKWARD, "\0"], ids=ascii)
    def test_any_text_is_taken(self, remote, rows, admin_client, text):
        shown = self.preview(admin_client, rename_page(admin_client, rows), find="T", replace=text)

        assert shown.status_code == 200
        assert "<script>alert" not in text_of(shown)


class TestDelete:
    def test_one_is_done_at_once(self, remote, rows, admin_client):
        response = confirm(admin_client, choose(admin_client, "delete_selected", rows[:1]))

        assert said(response, constants.SUCCESS) == ["“Three” was deleted."]
        assert names_in_orq(remote) == ["Two", "One"]
        assert LogEntry.objects.count() == 1

    @pytest.mark.parametrize(("seconds", "when"), [("70", "in 2 minutes"), ("", "later")])
    def test_failure_of_one_is_told_and_changes_nothing(self, remote, rows, admin_client, seconds, when):
        remote.fail("delete", status=429, headers={"Retry-After": seconds})

        response = confirm(admin_client, choose(admin_client, "delete_selected", rows[:1]))

        assert said(response, constants.SUCCESS) == []
        (message,) = said(response, constants.ERROR)
        assert message.startswith("The conversation was not deleted.")
        assert message.endswith(f"(429 for the delete request). Try again {when}.")
        assert not LogEntry.objects.exists()
        assert not Operation.objects.exists()

    def test_what_is_deleted_already_is_left_out(self, remote, rows, admin_client):
        verbs.delete_conversation(rows[0])

        response = choose(admin_client, "delete_selected", rows)

        assert said(response) == ["Already deleted: “Three”."]
        assert "these 2 conversations" in text_of(response)

    def test_second_click_requests_nothing_and_shows_what_the_first_did(self, remote, rows, admin_client, queue):
        shown = choose(admin_client, "delete_selected", rows)

        first, second = confirm(admin_client, shown), confirm(admin_client, shown)

        assert first.url == second.url
        assert Operation.objects.count() == queue.qsize() == 1
        assert "already submitted" in said(second)[-1]

    @pytest.mark.parametrize("page", ["of one", "of the selected"])
    def test_second_click_on_one_says_that_it_is_deleted(self, remote, rows, admin_client, page):
        url = reverse("admin:django_orq_conversation_delete", args=[rows[0].pk])
        shown = admin_client.get(url) if page == "of one" else choose(admin_client, "delete_selected", rows[:1])
        fields = hidden_fields(shown)

        responses = [
            admin_client.post(url, fields) if page == "of one" else confirm(admin_client, shown) for _ in range(2)
        ]

        assert [response.status_code for response in responses] == [302, 302]
        assert said(responses[1])[-1] == "Already deleted: “Three”."
        assert remote.count("delete") == LogEntry.objects.count() == 1

    @pytest.mark.parametrize("selected", ["", "x", ",", "9" * 30, "\0"])
    def test_page_that_lost_its_selection_does_nothing(self, remote, rows, admin_client, selected):
        shown = choose(admin_client, "delete_selected", rows)

        response = confirm(admin_client, shown, selected=selected)

        assert "not found" in said(response, constants.ERROR)[0]
        assert remote.count() == 0
        assert not Operation.objects.exists()

    def test_more_than_a_thousand_are_refused(self, remote, rows, admin_client, monkeypatch):
        monkeypatch.setattr("django_orq.admin.bulk.BulkAdmin._selected.__kwdefaults__", {"most": 2})

        response = choose(admin_client, "delete_selected", rows)
        forged = confirm_by_force(admin_client, "delete_selected", rows)

        assert said(response) == ["You can select at most 2 conversations at once. Nothing was changed."]
        assert "at most 2" in " ".join(said(forged))
        assert not Operation.objects.exists()

    @pytest.mark.parametrize("count", [1, 2])
    def test_conversation_renamed_since_it_was_chosen_is_shown_once_more(self, remote, rows, admin_client, count):
        shown = choose(admin_client, "delete_selected", rows[:count])
        verbs.rename_conversation(rows[0], display_name="KEEP")

        again = confirm(admin_client, shown)
        assert "KEEP" in text_of(again)
        assert len(remote) == 3

        confirm(admin_client, again)
        assert (remote.count("delete"), Operation.objects.count()) == ((1, 0) if count == 1 else (0, 1))

    def test_page_of_one_shows_a_new_name_once_more_too(self, remote, rows, admin_client):
        url = reverse("admin:django_orq_conversation_delete", args=[rows[0].pk])
        seen = hidden_fields(admin_client.get(url))
        verbs.rename_conversation(rows[0], display_name="KEEP")

        again = admin_client.post(url, seen)

        assert ("KEEP" in text_of(again), len(remote)) == (True, 3)
        admin_client.post(url, hidden_fields(again))
        assert len(remote) == 2


class TestRowsThatOneMayNotTouch:
    @pytest.fixture
    def guarded(self, rows, monkeypatch):
        """The project's own admin class permits neither changing nor deleting the newest conversation."""
        for name in ("has_change_permission", "has_delete_permission"):
            stock = getattr(ConversationAdmin, name)

            def permit(self, request, obj=None, *, stock=stock):
                return stock(self, request, obj) and (obj is None or obj.pk != rows[0].pk)

            monkeypatch.setattr(ConversationAdmin, name, permit)
        return rows

    @pytest.mark.parametrize("action", ["rename_selected", "delete_selected", "refresh_selected"])
    def test_action_leaves_it_out_and_says_so(self, remote, guarded, admin_client, action):
        response = choose(admin_client, action, guarded[:1])

        assert said(response, constants.WARNING) == ["You do not have permission for this action on “Three”."]
        assert remote.count() == 0

    def test_second_step_leaves_it_out_too(self, remote, guarded, admin_client):
        confirm_by_force(admin_client, "delete_selected", guarded)

        assert OperationItem.objects.filter(conversation=guarded[0]).count() == 0

    def test_form_that_was_sent_before_creates_nothing_anew_that_is_not_deleted(self, remote, rows, admin_client):
        verbs.delete_conversation(rows[2])
        token = {"form_token": "0123456789abcdef" * 2}
        work_off(
            ordered(confirm_by_force(admin_client, "create_again", [Conversation.objects.get(pk=rows[2].pk)], **token))
        )
        assert remote.count("create") == 1

        response = confirm_by_force(admin_client, "create_again", rows[:1], **token)

        assert "Not created: “Three”." in said(response, constants.WARNING)[0]
        assert remote.count("create") == 1

    def test_it_is_not_tried_again_either(self, remote, guarded, admin_client):
        remote.fail("delete", status=500, times=None)
        operation, _ = create_operation("delete", [ItemRequest(conversation=guarded[0])], by=Requester())
        work_off(operation)

        assert admin_client.post(page_of(operation, "retry")).status_code == 403


class TestRefresh:
    def test_one_is_done_at_once(self, remote, rows, admin_client):
        remote.rename(rows[0].remote_id, "Renamed elsewhere")

        response = choose(admin_client, "refresh_selected", rows[:1])

        assert said(response, constants.SUCCESS) == ["“Renamed elsewhere” is up to date."]
        assert not LogEntry.objects.exists()
        assert not Operation.objects.exists()

    def test_one_that_orq_no_longer_has_is_marked_as_missing(self, remote, rows, admin_client):
        remote.remove(rows[0].remote_id)

        response = choose(admin_client, "refresh_selected", rows[:1])

        assert "marked as missing" in said(response, constants.ERROR)[0]
        rows[0].refresh_from_db()
        assert rows[0].state == "missing"
        assert not LogEntry.objects.exists()


class TestCreateAgain:
    @pytest.fixture
    def gone(self, remote, rows):
        for row in rows:
            verbs.delete_conversation(row)
        remote.clear_requests()
        return rows

    def test_one_is_created_only_once(self, remote, gone, admin_client):
        shown = choose(admin_client, "create_again", gone[:1])

        operation = ordered(confirm(admin_client, shown))
        assert ordered(confirm(admin_client, shown)) == operation
        work_off(operation)

        assert names_in_orq(remote) == ["Three"]
        assert Conversation.objects.live().get().remote_id != gone[0].remote_id

    @pytest.mark.parametrize("scrubs", [False, True], ids=["not deleted", "scrubbed"])
    def test_only_a_deleted_one_whose_name_is_kept_can_be_created_again(self, remote, rows, admin_client, scrubs):
        if scrubs:
            verbs.delete_conversation(rows[0])
            scrub(rows[:1])
        remote.clear_requests()

        response = choose(admin_client, "create_again", rows[:1])

        name = rows[0].remote_id if scrubs else "Three"
        words = "Only deleted conversations with a name can be created again."
        assert said(response) == [f"Not created: “{name}”. {words}"]
        assert remote.count() == 0

    def test_one_that_is_scrubbed_while_the_page_asks_is_refused_too(self, remote, gone, admin_client):
        page = choose(admin_client, "create_again", gone[:3])
        scrub(gone[:2])

        response = confirm(admin_client, page)

        assert "with a name" in said(response, constants.WARNING)[0]
        assert ordered(response).total == 1

    def test_page_that_was_sent_before_creates_nothing_again_if_one_was_scrubbed_since(
        self, remote, gone, admin_client, queue
    ):
        page = choose(admin_client, "create_again", gone[:3])
        first = confirm(admin_client, page)
        scrub(gone[:1])

        second = confirm(admin_client, page)

        assert first.url == second.url
        assert "already submitted" in said(second)[-1]
        assert Operation.objects.count() == queue.qsize() == 1

    def test_scrubbed_one_is_listed_by_its_id(self, gone, admin_client):
        scrub(gone[:1])

        page = admin_client.get("/admin/django_orq/conversation/?state=deleted").content.decode()

        assert f">{gone[0].remote_id}</a>" in page


class TestAddOnce:
    @pytest.fixture
    def form(self, admin_client):
        return fields_of(admin_client.get(ADD)) | {"display_name": "Refund", "_save": "Save"}

    def test_form_that_is_sent_twice_creates_once_and_says_the_same(self, remote, admin_client, form):
        responses = [admin_client.post(ADD, form, follow=True) for _ in range(2)]

        assert names_in_orq(remote) == ["Refund"]
        assert LogEntry.objects.count() == 1
        assert len({messages_shown(response) for response in responses}) == 1
        assert "was added successfully" in messages_shown(responses[0])

    def test_form_that_is_sent_by_two_at_the_same_moment_creates_once(self, remote, admin_client, admin_user, form):
        if connection.vendor == "sqlite":
            pytest.skip("two connections can't use SQLite's memory at the same time; see make databases")
        other, second = Client(), []
        other.force_login(admin_user)

        meanwhile(remote, "create", "before", lambda: in_thread(lambda: second.append(other.post(ADD, form))).join())
        first = admin_client.post(ADD, form)

        assert names_in_orq(remote) == ["Refund"]
        assert len(said(first, constants.SUCCESS)) == 1
        assert second[0].url == page_of(Operation.objects.get())
        assert "still being created" in said(second[0], constants.INFO)[0]

    def test_form_that_is_gone_back_to_with_another_name_asks_and_then_creates_another(
        self, remote, admin_client, form
    ):
        admin_client.post(ADD, form)

        asked = admin_client.post(ADD, form | {"display_name": "Invoice"})
        assert "before, for “Refund”: Created. Save again" in said(asked, constants.WARNING)[0]
        assert names_in_orq(remote) == ["Refund"]
        resubmit(admin_client, ADD, asked)

        assert names_in_orq(remote) == ["Invoice", "Refund"]

    def test_form_of_another_user_is_another(self, remote, admin_client, form):
        admin_client.post(ADD, form | {"display_name": "Secret"})

        response = user_with("add_conversation", "view_conversation").post(ADD, form)

        assert "Secret" not in "".join(said(response))
        assert names_in_orq(remote) == ["Refund", "Secret"]

    @pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429, "headers": {"Retry-After": "7"}}], ids=str)
    def test_form_that_failed_says_so_each_time_and_can_be_saved_again(self, remote, admin_client, form, fault):
        remote.fail("create", **fault)

        failed, again = admin_client.post(ADD, form), admin_client.post(ADD, form)

        assert said(failed, constants.ERROR)[0] == said(again, constants.ERROR)[-1]
        assert remote.count("create") == 1
        WorkspaceWait.objects.all().delete()
        resubmit(admin_client, ADD, again)
        assert names_in_orq(remote) == ["Refund"]
        assert [operation.is_finished for operation in Operation.objects.all()] == [True, True]

    def test_unknown_outcome_offers_a_sync_each_time(self, remote, admin_client, form):
        remote.fail("create", drop="after")

        for response in (admin_client.post(ADD, form), admin_client.post(ADD, form)):
            assert reverse("admin:django_orq_syncrun_start") in text_of(response)
            assert "may have been created" in said(response, constants.ERROR)[-1]
            assert fields_of(response)["display_name"] == "Refund"
            assert fields_of(response)["form_token"] != form["form_token"]
        assert remote.count("create") == 1

    @pytest.mark.parametrize("token", ["", "nonsense", "\0" * 32])
    def test_form_without_a_usable_token_creates_all_the_same(self, remote, admin_client, form, token):
        assert admin_client.post(ADD, form | {"form_token": token}).status_code == 302
        assert len(remote) == 1


def messages_shown(response) -> str:
    return "".join(re.findall(r'<li class="(?:success|info|warning|error)">(.*?)</li>', text_of(response), re.DOTALL))


class TestTwice:
    """Actions on a single conversation are idempotent, so that their forms need no token."""

    def test_rename_that_is_sent_twice_is_done_once_and_said_twice(self, remote, rows, admin_client):
        url = reverse("admin:django_orq_conversation_change", args=[rows[0].pk])
        form = hidden_fields(admin_client.get(url)) | {"display_name": "Anew", "_save": "Save"}

        responses = [admin_client.post(url, form, follow=True) for _ in range(2)]

        assert ["was changed successfully" in messages_shown(response) for response in responses] == [True, True]
        assert remote.count("update") == 1
        changes = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
        assert changes == ["Changed Name."]
        assert ["Orq had this name already." in messages_shown(response) for response in responses] == [False, True]
        assert not Operation.objects.exists()

    def test_rename_that_is_sent_again_after_somebody_renamed_it_asks(self, remote, rows, admin_client):
        url = reverse("admin:django_orq_conversation_change", args=[rows[0].pk])
        form = hidden_fields(admin_client.get(url)) | {"display_name": "Anew", "_save": "Save"}
        admin_client.post(url, form, follow=True)
        remote.rename(rows[0].remote_id, "Theirs")
        verbs.refresh_conversation(rows[0])

        again = admin_client.post(url, form)

        assert "name is “Theirs”" in text_of(again)
        assert said(again, constants.SUCCESS) == []
        assert remote.count("update") == 1


class TestPage:
    @pytest.fixture
    def operation(self, rows, admin_user):
        by = Requester(pk=str(admin_user.pk), name="admin")
        wanted = [ItemRequest(conversation=row, new_name=f"{row} anew") for row in rows]
        return create_operation("rename", wanted, by=by)[0]

    def test_unfinished_operation_shows_its_bar_and_a_finished_one_its_outcomes(self, remote, operation, admin_client):
        remote.fail("update", status=500, after=1)
        before = text_of(admin_client.get(page_of(operation)))
        work_off(operation)
        after = text_of(admin_client.get(page_of(operation)))

        assert 'value="0" max="3"' in before
        assert " data-progress>" in before
        assert "3 of 3: 2 done, 1 failed" in after
        assert "The name was not changed. Orq failed with status" in after
        assert "data-progress" not in after

    def test_page_of_an_unfinished_operation_shows_the_outcomes_so_far(self, remote, operation, admin_client):
        operations.work_slice(operation.pk, seconds=0)

        shown = text_of(admin_client.get(page_of(operation)))

        assert "1 of 3: 1 done" in shown
        assert shown.count("Renamed.") == 1

    def test_name_that_orq_had_already_is_told_as_such(self, remote, rows, operation, admin_client):
        remote.rename(rows[0].remote_id, "Three anew")
        work_off(operation)

        shown = text_of(admin_client.get(page_of(operation)))

        assert remote.count("update") == 2
        assert (shown.count("Renamed."), shown.count("Orq had this name already.")) == (2, 1)

    def test_what_failed_can_be_tried_again(self, remote, operation, admin_client):
        remote.fail("update", status=500, after=1)
        work_off(operation)
        assert page_of(operation, "retry") in text_of(admin_client.get(page_of(operation)))

        admin_client.post(page_of(operation, "retry"))
        operation.refresh_from_db()
        work_off(operation)

        assert set(operation.items.values_list("state", flat=True)) == {"done"}
        assert page_of(operation, "retry") not in text_of(admin_client.get(page_of(operation)))
        assert "nothing is left to be retried" in said(admin_client.post(page_of(operation, "retry")))[0]

    def test_second_click_on_retry_says_that_it_is_being_retried(self, remote, operation, admin_client):
        remote.fail("update", status=500, times=None)
        work_off(operation)

        first, second = (said(admin_client.post(page_of(operation, "retry"))) for _click in range(2))

        assert (first[0], second[-1]) == (
            "Queued for a worker.",
            "It is being retried already, or nothing is left to be retried.",
        )

    def test_what_no_worker_takes_is_told(self, operation, admin_client, queue):
        long_ago = operation.requested_at - timedelta(minutes=3)
        all_operations().filter(pk=operation.pk).update(enqueued_at=long_ago, ticket="t")

        shown = text_of(admin_client.get(page_of(operation)))

        assert "It has been waiting to be processed for 3 minutes. Ask the site" in shown

    def test_another_attempt_says_that_it_replaces_names_and_is_logged_for_who_ordered_it(
        self, remote, rows, operation, admin_client
    ):
        remote.rename(rows[0].remote_id, "Theirs")
        work_off(operation)
        bob = User.objects.create_superuser("bob")
        client = Client()
        client.force_login(bob)
        assert "replaces the name that someone else has given" in text_of(client.get(page_of(operation)))

        client.post(page_of(operation, "retry"))
        operation.refresh_from_db()
        work_off(operation)

        assert remote.get(rows[0].remote_id)["displayName"] == "Three anew"
        assert ConversationChange.objects.get(actor_name="bob").new_name == "Three anew"

    def test_number_of_statements_does_not_grow_with_the_list(self, rows, admin_client, statements):
        counts = []
        for number in (1, 20):
            for _ in range(number):
                create_operation("refresh", [ItemRequest(conversation=rows[0])], by=Requester())
            with statements() as executed:
                admin_client.get(reverse("admin:django_orq_operation_changelist"))
            counts.append(len(executed))

        assert counts[0] == counts[1]

    def test_list_shows_only_the_state_of_an_operation_on_one(self, remote, rows, operation, admin_client):
        single, _ = create_operation("refresh", [ItemRequest(conversation=rows[0])], by=Requester())
        url = reverse("admin:django_orq_operation_changelist")

        operations.work_slice(single.pk)

        assert re.search(r'field-outcome">done<', text_of(admin_client.get(url)))

    def test_wait_that_orq_asked_others_for_is_told_in_the_time_of_the_reader(
        self, remote, rows, operation, admin_client, settings
    ):
        settings.TIME_ZONE = "Pacific/Auckland"
        until = (datetime.now(UTC) + timedelta(minutes=7)).replace(second=30)  # far from the next minute
        WorkspaceWait.objects.create(workspace="default", until=until)
        assert not operations.work_slice(operation.pk).is_finished
        single = confirm(admin_client, choose(admin_client, "delete_selected", rows[:1]))

        shown = text_of(admin_client.get(page_of(operation)))

        expected = date_format(timezone.localtime(until), "DATETIME_FORMAT")
        assert f"Orq accepts no requests until {expected}." in shown
        assert re.search(
            r"limiting the number of requests at the moment\. Try again in [78] minutes\.", said(single)[0]
        )
        assert "UTC" not in shown + said(single)[0]

    def test_operation_that_waits_says_why_and_until_when(self, remote, operation, admin_client):
        remote.fail("retrieve", status=429, headers={"Retry-After": "400"})
        operations.work_slice(operation.pk)
        operation.refresh_from_db()

        shown = text_of(admin_client.get(page_of(operation)))

        expected = date_format(timezone.localtime(operation.resume_at), "DATETIME_FORMAT")
        assert f"(429 for the retrieve request).\nResumes after {expected}." in shown
        assert "Try again" not in shown

    def test_each_kind_of_outcome_is_understood(self, operation, admin_client):
        notes = [
            ("done", {"replaced": "Theirs"}, "Someone else renamed it to “Theirs” at the same time"),
            ("done", {"overtaken": "Theirs"}, "Someone else renamed it to “Theirs” right afterwards."),
            (
                "failed",
                {"skipped": True},
                "Skipped after an earlier failure: The name",
            ),
        ]
        for item, (state, note, _) in zip(operation.items.order_by("pk"), notes, strict=True):
            code = "must_wait" if state == "failed" else ""
            OperationItem.objects.filter(pk=item.pk).update(state=state, note=note, error_code=code)

        shown = text_of(admin_client.get(page_of(operation)))

        assert all(words in shown for _, _, words in notes)

    def test_awkward_names_are_shown_as_themselves(self, remote, admin_client):
        rows = [mirrored(remote, AWKWARD) for _ in range(2)]
        typed = {field_of(row): f"{AWKWARD} 2" for row in rows}
        operation = ordered(confirm(admin_client, rename_page(admin_client, rows), **typed))
        pages = [text_of(admin_client.get(page_of(operation)))]
        work_off(operation)
        pages.append(text_of(admin_client.get(page_of(operation))))

        for shown in pages:
            assert "<script>alert" not in shown
            assert shown.count("<bdi>Frau &lt;script&gt;") == 4


OPERATIONS = reverse("admin:django_orq_operation_changelist")


def found(client: Client, **query: str) -> list[int]:
    """The keys of the operations in the list, the newest first."""
    response = client.get(OPERATIONS, query)
    return [operation.pk for operation in response.context["cl"].result_list]


class TestList:
    @pytest.fixture
    def made(self, remote, rows):
        """The keys of three operations: a rename of two conversations, and one refresh by each of two people."""
        three, two, one = rows
        renamed = [ItemRequest(conversation=row, new_name=f"{row} anew") for row in (one, two)]
        orders = [("rename", renamed, "admin"), *(("refresh", [ItemRequest(conversation=three)], by) for by in "ab")]
        return [create_operation(verb, wanted, by=Requester(pk=by, name=by))[0].pk for verb, wanted, by in orders]

    def test_search_finds_names_ids_and_people(self, made, rows, admin_client):
        renamed, first, second = made
        for term in ("One", "two", "anew", "one ANEW", "adm", rows[2].remote_id, rows[1].remote_id.upper()):
            assert found(admin_client, q=term) == [renamed], term
        assert found(admin_client, q="thr") == found(admin_client, q=rows[0].remote_id) == [second, first]
        assert found(admin_client, q="conv_") == found(admin_client, q="") == [second, first, renamed]
        assert [found(admin_client, q=term) for term in ("one two", "conv_zzz", "%", "'", '""')] == [[]] * 5

    def test_search_reads_the_names_of_the_newest_items_and_says_so(self, made, admin_client, monkeypatch):
        monkeypatch.setattr(searching, "MAX_SEARCHED", 3)

        assert found(admin_client, q="Two") == made[:1]
        assert found(admin_client, q="One") == []
        assert "on up to 100,000 conversations" in text_of(admin_client.get(OPERATIONS))

    def test_newest_operations_are_listed_only(self, made, rows, admin_client, monkeypatch):
        monkeypatch.setattr(searching, "MAX_SEARCHED", 2)

        assert found(admin_client) == found(admin_client, q="conv_") == made[:0:-1]
        assert admin_client.get(page_of(Operation.objects.get(pk=made[0]))).status_code == 200

    def test_filters_by_person_and_verb(self, made, admin_client):
        renamed, first, second = made

        assert found(admin_client, requested_by="b") == [second]
        assert found(admin_client, requested_by="b", verb__exact="rename") == []
        assert found(admin_client, verb__exact="rename") == [renamed]
        assert found(admin_client, requested_by="nobody") == [second, first, renamed]
        assert re.search(r">b</a>.*>a</a>.*>admin</a>", text_of(admin_client.get(OPERATIONS)), re.DOTALL)

    def test_filters_by_day(self, made, admin_client):
        renamed, first, second = made
        today = timezone.localtime()
        for pk, days in ((first, 1), (renamed, 9)):
            all_operations().filter(pk=pk).update(requested_at=today - timedelta(days=days))
        yesterday = str((today - timedelta(days=1)).date())

        assert found(admin_client, since=str(today.date())) == [second]
        assert found(admin_client, since=yesterday, until=yesterday) == [first]
        assert found(admin_client, until=yesterday) == [first, renamed]

    def test_filters_by_outcome(self, made, admin_client):
        mixed, done, unfinished = made
        outcomes = zip(OperationItem.objects.order_by("pk"), ("failed", "unknown", "done", "done"), strict=True)
        for item, state in outcomes:
            OperationItem.objects.filter(pk=item.pk).update(state=state)
        all_operations().exclude(pk=unfinished).update(finished_at=timezone.now())

        expected = {"failed": [mixed], "unknown": [mixed], "done": [done], "unfinished": [unfinished]}
        assert {outcome: found(admin_client, outcome=outcome) for outcome in expected} == expected

    def test_close_and_retry_lead_back_to_the_filtered_list(self, remote, made, admin_client):
        remote.fail("update", status=500, times=None)
        work_off(operation := Operation.objects.get(pk=made[0]))
        filtered = "?_changelist_filters=outcome%3Dfailed"
        url, retried = page_of(operation) + filtered, page_of(operation, "retry") + filtered
        assert f'href="{url}"' in text_of(admin_client.get(OPERATIONS, {"outcome": "failed"}))

        shown = text_of(admin_client.get(url))

        assert re.search(f'href="{re.escape(OPERATIONS)}\\?outcome=failed"[^>]*>Close<', shown)
        assert f'formaction="{retried}"' in shown
        assert admin_client.post(retried).url == url


class TestNames:
    """Every name is isolated within sentences, so that a right-to-left name does not disturb the text around it."""

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
            confirm(admin_client, rename_again, **{field_of(row): self.OTHER}),
            admin_client.post(delete, {"post": "yes"}),
            admin_client.post(delete, {"post": "yes"}),
        ]

        for response in responses:
            message = [str(one) for one in get_messages(response.wsgi_request)][-1]
            assert self.ISOLATED in message or self.OTHER_ISOLATED in message

    def test_in_a_conflict_and_in_an_outcome(self, remote, row, admin_client):
        other = mirrored(remote, "Two")
        shown, later = rename_page(admin_client, [row]), rename_page(admin_client, [row, other])
        remote.rename(row.remote_id, self.OTHER)

        conflict = confirm(admin_client, shown, **{field_of(row): "Mine"})
        operation = ordered(confirm(admin_client, later, **new_names([row, other])))
        work_off(operation)

        assert f"name is “{self.OTHER_ISOLATED}”" in conflict.content.decode()
        assert f"name is “{self.OTHER_ISOLATED}”" in admin_client.get(page_of(operation)).content.decode()


class TestPermissions:
    @pytest.fixture
    def operation(self, remote, rows):
        remote.fail("delete", status=500, times=None)
        wanted = [ItemRequest(conversation=row) for row in rows]
        operation, _ = create_operation("delete", wanted, by=Requester(pk="4711", name="somebody"))
        work_off(operation)
        remote.clear_requests()
        return operation

    @pytest.mark.parametrize(("name", "method"), [("change", "get"), ("retry", "post")])
    @pytest.mark.parametrize(
        ("permissions", "allowed"),
        [
            ((), ()),
            (("view_conversation", "delete_conversation"), ()),
            (("view_operation",), ("change",)),
            (("view_operation", "change_conversation"), ("change",)),
            (("view_operation", "delete_conversation"), ("change", "retry")),
        ],
        ids=str,
    )
    def test_each_endpoint(self, operation, name, method, permissions, allowed):
        response = getattr(user_with(*permissions), method)(page_of(operation, name))

        refused = response.status_code in (403, 404) or response.headers.get("Location") == reverse("admin:index")
        assert refused == (name not in allowed)
        operation.refresh_from_db()
        assert operation.is_finished == (name != "retry" or name not in allowed)

    def test_own_operation_can_be_seen_without_that_permission_and_others_not(self, remote, rows):
        client = user_with("view_conversation", "delete_conversation")
        own = ordered(confirm_by_force(client, "delete_selected", rows))
        other, _ = create_operation("refresh", [ItemRequest(conversation=rows[0])], by=Requester(pk="4711"))

        assert client.get(page_of(own)).status_code == 200
        shown = text_of(client.get(reverse("admin:django_orq_operation_changelist")))
        assert page_of(own) in shown
        assert page_of(other) not in shown

    def test_only_posts_with_a_token_do_something(self, operation, admin_user):
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)

        assert client.post(page_of(operation, "retry")).status_code == 403
        assert client.get(page_of(operation, "retry")).status_code == 405

    @pytest.mark.parametrize("name", ["rename_selected", "delete_selected", "create_again"])
    def test_second_steps_are_posts_only(self, admin_client, name):
        assert admin_client.get(reverse(f"admin:django_orq_conversation_{name}")).status_code == 405

    def test_anonymous_visitors_are_sent_to_the_login(self, operation, client):
        for name in ("change", "retry"):
            assert client.post(page_of(operation, name)).url.startswith(reverse("admin:login"))

    def test_user_deleted_since_leaves_the_operation_readable(self, remote, rows, admin_client):
        client = user_with("view_conversation", "delete_conversation")
        operation = ordered(confirm_by_force(client, "delete_selected", rows))
        User.objects.get(username="agent").delete()

        work_off(operation)

        assert "agent" in text_of(admin_client.get(page_of(operation)))

"""The record of changes in the admin: timeline, list of all, History, and links from runs and operations."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import parse_qs

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse
from django.utils.timezone import localdate

from django_orq import mirror as verbs
from django_orq.mirror import operations
from django_orq.mirror.operations import ItemRequest
from django_orq.models import Conversation, ConversationChange, OperationItem
from django_orq.store.history import Requester

from ..walking import configure, full_run
from .test_admin import hidden_fields

pytestmark = pytest.mark.django_db(transaction=True)
LIST = reverse("admin:django_orq_conversationchange_changelist")
RENAME = reverse("admin:django_orq_conversation_rename_selected")
ADA = "00000000000000000000ee06"


def page_of(row: object, page: str = "change") -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=[row.pk])


def text_of(response) -> str:
    """Without the marks that isolate names."""
    assert response.status_code == 200
    return re.sub("[\u2066-\u2069]", "", response.content.decode()).replace("&quot;", '"')


def timeline_of(response) -> list[str]:
    found = re.search(r'orq-timeline">(.*?)</div>', text_of(response), re.DOTALL)
    return re.findall(r"<span>(.*?)</span>", found[1], re.DOTALL) if found else []


def buttons(response) -> list[tuple[str, str]]:
    return re.findall(r'formaction="[^"]*rename-selected/" name="([^"]+)" value="([^"]*)"', text_of(response))


def listed(client: Client, **query: object) -> list[str]:
    response = client.get(LIST, query, follow=True)
    assert response.status_code == 200
    return [change.new_name or change.old_name for change in response.context["cl"].result_list]


def limited_client(*permissions: str) -> Client:
    user = User.objects.create_user("limited", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def row(rows, admin_user) -> Conversation:
    verbs.rename_conversation(rows[0], display_name="Refund", by=admin_user)
    return rows[0]


class TestTimeline:
    def test_tells_who_did_what(self, remote, row, admin_client):
        remote.add("Refund paid", _id=row.remote_id, updatedById=ADA)
        full_run()

        assert timeline_of(admin_client.get(page_of(row))) == [
            "renamed “Refund” to “Refund paid” in Orq by 0000…ee06",
            "admin renamed “Three” to “Refund”",
        ]

    def test_shows_ten_and_a_link_to_all(self, row, admin_client):
        for number in range(10):
            verbs.rename_conversation(row, display_name=f"Name {number}", by="loop")
        response = admin_client.get(page_of(row))

        assert len(timeline_of(response)) == 10
        (link,) = re.findall(r'<a href="([^"]+)">All changes of this conversation</a>', text_of(response))
        assert len(listed(admin_client, **query_of(link))) == 11
        assert "Only changes of one conversation are listed." in text_of(admin_client.get(LIST, query_of(link)))

    def test_conversation_without_changes(self, rows, admin_client):
        assert "No changes are on record." in text_of(admin_client.get(page_of(rows[1])))

    def test_hostile_names_are_escaped(self, row, admin_client):
        verbs.rename_conversation(row, display_name='<script>"alert(1)', by="<b>")
        response = admin_client.get(page_of(row))

        assert '<script>"alert' not in text_of(response)
        assert "&lt;b&gt; renamed" in timeline_of(response)[0]

    @pytest.mark.parametrize("permissions", [("view_conversation",), ("view_conversation", "change_conversation")])
    def test_is_not_shown_without_permission(self, row, permissions):
        assert "orq-timeline" not in text_of(limited_client(*permissions).get(page_of(row)))


class TestRenameBack:
    def post(self, client: Client, row: Conversation, response) -> object:
        ((name, value),) = buttons(response)
        hidden = re.findall(r'type="hidden" form="orq-form" name="([^"]+)" value="([^"]*)"', text_of(response))
        return client.post(RENAME, {**dict(hidden), name: value})

    def test_renames_and_returns_to_the_page(self, remote, row, admin_client):
        response = self.post(admin_client, row, admin_client.get(page_of(row)))

        assert (response.status_code, response.url) == (302, page_of(row))
        assert remote.get(row.remote_id)["displayName"] == "Three"
        assert ConversationChange.objects.latest("pk").new_name == "Three"

    def test_asks_again_if_somebody_renamed_it_since(self, remote, row, admin_client):
        shown = admin_client.get(page_of(row))
        remote.rename(row.remote_id, "Theirs")
        response = self.post(admin_client, row, shown)

        shown = text_of(response)
        assert "The name is “Theirs” now." in shown
        assert remote.count("update") == 1
        assert remote.get(row.remote_id)["displayName"] == "Theirs"

        response = admin_client.post(RENAME, hidden_fields(response))
        assert (response.status_code, response.url) == (302, page_of(row))
        assert remote.get(row.remote_id)["displayName"] == "Three"

    def test_is_not_offered_for_the_current_name(self, row, admin_client):
        verbs.rename_conversation(row, display_name="Three")

        assert [value for _name, value in buttons(admin_client.get(page_of(row)))] == ["Refund"]

    def test_is_not_offered_for_deleted_ones_or_without_permission(self, row, admin_client):
        client = limited_client("view_conversation", "view_conversationchange")
        assert timeline_of(client.get(page_of(row)))
        assert buttons(client.get(page_of(row))) == []
        verbs.delete_conversation(row)
        assert buttons(admin_client.get(page_of(row))) == []


class TestList:
    @pytest.fixture
    def changes(self, remote, row, rows) -> list[str]:
        """The newest first."""
        remote.add("Two anew", _id=rows[1].remote_id, updatedById=ADA)
        full_run()
        verbs.delete_conversation(rows[2], by="nightly import")
        return ["One", "Two anew", "Refund"]

    def test_shows_all_the_newest_first(self, changes, admin_client):
        text = text_of(admin_client.get(LIST))

        assert listed(admin_client) == changes
        assert "nightly import deleted “One”" in text
        assert "renamed “Two” to “Two anew” in Orq by 0000…ee06" in text

    def test_filters(self, changes, admin_client, admin_user):
        for query, names in (
            ({"origin__exact": "orq"}, ["Two anew"]),
            ({"kind__exact": "deleted"}, ["One"]),
            ({"actor": admin_user.pk}, ["Refund"]),
            ({"actor": ADA, "kind__exact": "deleted"}, []),
            ({"q": "anew"}, ["Two anew"]),
            ({"q": "three"}, ["Refund"]),
            ({"q": "'"}, []),
        ):
            assert listed(admin_client, **query) == names, query
        shown = text_of(admin_client.get(LIST))
        assert all(f"actor={who}" in shown for who in (ADA, admin_user.pk, "nightly+import"))

    def test_search_by_the_beginning_of_an_id(self, changes, row, admin_client):
        assert listed(admin_client, q=row.remote_id) == ["Refund"]
        assert listed(admin_client, q=row.remote_id[:6].upper()) == changes
        assert listed(admin_client, q="conv_zzz") == []

    def test_days(self, changes, admin_client):
        today = localdate()
        ages = {"One": 0, "Two anew": 1, "Refund": 30}
        for change in ConversationChange.objects.all():
            age = timedelta(days=ages[change.new_name or change.old_name])
            one = QuerySet(ConversationChange).filter(pk=change.pk)
            one.update(recorded_at=change.recorded_at - age)
        links = dict(
            re.findall(r'<a href="([^"]+)">(Today|Yesterday|Past 7 days|Any day)</a>', text_of(admin_client.get(LIST)))
        )
        found = {label: listed(admin_client, **query_of(link)) for link, label in links.items()}

        assert found["Today"] == ["One"]
        assert found["Yesterday"] == ["Two anew"]
        assert found["Past 7 days"] == ["One", "Two anew"]
        month_ago = today - timedelta(days=30)
        assert listed(admin_client, since=month_ago.isoformat(), until=month_ago.isoformat()) == ["Refund"]
        assert listed(admin_client, since=month_ago.isoformat(), kind__exact="renamed") == ["Two anew", "Refund"]

    @pytest.mark.parametrize("day", ["", "yesterday", "2026-02-30", "0001-01-01", "9999-12-31"])
    def test_days_that_are_none_or_far_away_are_ignored(self, changes, admin_client, day):
        assert listed(admin_client, since=day, until=day) == changes
        assert 'type="date" name="since"' in text_of(admin_client.get(LIST, {"since": day}))

    def test_form_of_days_keeps_the_other_filters(self, changes, admin_client):
        shown = text_of(admin_client.get(LIST, {"kind__exact": ["renamed", "changed"], "since": "2026-01-01"}))

        for kind in ("renamed", "changed"):
            assert f'<input type="hidden" name="kind__exact" value="{kind}">' in shown
        assert '<input type="date" name="since" value="2026-01-01">' in shown

    def test_nothing_can_be_written(self, changes, admin_client):
        change = ConversationChange.objects.latest("pk")
        shown = text_of(admin_client.get(page_of(change)))
        assert "nightly import deleted “One”" in shown
        assert 'type="submit" value="Save"' not in shown
        for url in (reverse("admin:django_orq_conversationchange_add"), page_of(change, "delete")):
            assert admin_client.post(url, {"post": "yes"}).status_code == 403
        assert admin_client.post(LIST, {"action": "delete_selected", "_selected_action": [change.pk]}).status_code in (
            200,
            302,
        )
        assert ConversationChange.objects.filter(pk=change.pk).exists()

    def test_permission_is_required(self, changes):
        assert limited_client("view_conversation").get(LIST).status_code == 403


def query_of(link: str) -> dict[str, list[str]]:
    return parse_qs(unescape(link).partition("?")[2])


def test_history_shows_the_same(remote, row, admin_client):
    remote.add("Refund paid", _id=row.remote_id, updatedById=ADA)
    full_run()
    url = page_of(row)
    form = {
        "display_name": "In the admin",
        "expected_updated_at": Conversation.objects.get(pk=row.pk).remote_updated_at,
    }
    admin_client.post(url, {**form, "expected_updated_at": form["expected_updated_at"].isoformat(), "_save": "Save"})

    shown = text_of(admin_client.get(page_of(row, "history")))

    sentences = re.findall(r"<td>([^<]*renamed[^<]*)</td>", shown)
    assert sentences == [
        "admin renamed “Three” to “Refund”",
        "renamed “Refund” to “Refund paid” in Orq by 0000…ee06",
        "admin renamed “Refund paid” to “In the admin”",
    ]
    assert "Changed Name." not in shown


def test_history_needs_nothing_of_a_projects_user_model(remote, row, admin_client, monkeypatch):
    monkeypatch.setattr(User, "get_full_name", lambda user: ", ".join(group.name for group in user.groups.all()))

    shown = text_of(admin_client.get(page_of(row, "history")))

    assert "<td>admin</td>" in shown
    assert "admin renamed “Three” to “Refund”" in shown


def test_history_of_a_conversation_created_here(remote, admin_client):
    admin_client.post(reverse("admin:django_orq_conversation_add"), {"display_name": "New", "_save": "Save"})

    shown = text_of(admin_client.get(page_of(Conversation.objects.get(), "history")))

    assert re.findall("<td>(?:Added|.*created).*</td>", shown) == ["<td>admin created “New”</td>"]


def test_history_without_permission_has_the_log_entries_only(remote, rows, admin_client):
    seen = rows[0].remote_updated_at.isoformat()
    admin_client.post(page_of(rows[0]), {"display_name": "Mine", "expected_updated_at": seen, "_save": "Save"})

    shown = text_of(limited_client("view_conversation").get(page_of(rows[0], "history")))

    assert "Changed Name." in shown
    assert "renamed" not in shown


def test_run_links_to_its_changes(remote, row, rows, admin_client):
    remote.rename(rows[1].remote_id, "Two anew")
    remote.remove(rows[2].remote_id)
    run = full_run()

    links = dict(
        re.findall(r'<a href="[^"]*conversationchange/(\?[^"]+)">([^<]+)</a>', text_of(admin_client.get(page_of(run))))
    )
    found = {text: listed(admin_client, **query_of(link)) for link, text in links.items()}

    assert found == {"1 updated": ["Two anew"], "1 deleted": ["One"]}


def test_operation_links_to_its_changes(row, rows, admin_client, admin_user):
    wanted = [ItemRequest(conversation=one, new_name=f"{one} anew") for one in rows[1:]]
    by = Requester.of(admin_user)
    operation, _is_new = operations.create_operation("rename", wanted, by=by)
    operations.work_slice(operation.pk)

    (link,) = re.findall(
        r'<a href="[^"]*conversationchange/(\?[^"]+)">', text_of(admin_client.get(page_of(operation)))
    )
    assert listed(admin_client, **query_of(link)) == ["One anew", "Two anew"]
    shown = text_of(admin_client.get(LIST, query_of(link)))
    assert f"Only changes of operation {operation.pk} are listed." in shown
    (link,) = re.findall(r'<a href="(\?[^"]+)">List all changes</a>', shown)
    assert len(listed(admin_client, **query_of(link))) == 3


def test_search_for_a_former_name_leads_to_its_change(row, admin_client):
    conversations = reverse("admin:django_orq_conversation_changelist")
    assert "had this name before" not in text_of(admin_client.get(conversations, {"q": "Refund"}))

    shown = text_of(admin_client.get(conversations, {"q": "Three"}))

    (link,) = re.findall(r'had this name before: <a href="[^"]*(\?[^"]+)">', shown)
    assert listed(admin_client, **query_of(link)) == ["Refund"]
    theirs = limited_client("view_conversation").get(conversations, {"q": "Three"})
    assert "had this name before" not in text_of(theirs)


def test_search_covers_all_changes_of_the_time_at_which_it_ends(remote, rows, admin_client, monkeypatch):
    monkeypatch.setattr("django_orq.admin.changes.MAX_LISTED", 1)
    for row in rows[:3]:
        remote.rename(row.remote_id, "Refund")
    full_run()

    response = admin_client.get(LIST, {"q": "refund"})

    assert "1 changes were searched, back to" in text_of(response)
    assert len(response.context["cl"].result_list) == 3


@pytest.mark.parametrize("state", ["unknown", "done"])
def test_candidates_of_an_unknown_creation(rows, admin_client, admin_user, state):
    template = Conversation(workspace="default", display_name="New")
    wanted, by = [ItemRequest(conversation=template)], Requester.of(admin_user)
    operation, _is_new = operations.create_operation("create", wanted, by=by)
    note = {"candidates": [rows[0].pk, rows[1].pk]}
    OperationItem.objects.update(state=state, note=note, error_code="" if state == "done" else "outcome_unknown")
    OperationItem.objects.update(error_params={"operation": "create", "reason": "the connection broke"})
    operation.finished_at = operation.requested_at
    operation.save()
    shown = text_of(admin_client.get(page_of(operation)))

    assert all((f">{one.remote_id}</a>" in shown) is (state == "unknown") for one in rows[:2])
    assert ("(Matched by name and time.)" in shown) is (state == "done")


asked: list[list[str]] = []


def ask_for_names(ids: list[str]) -> dict[str, str]:
    asked.append(ids)
    return {ADA: "Ada Lovelace"}


def fail(_ids: list[str]) -> dict[str, str]:
    raise ZeroDivisionError


class TestPeople:
    @pytest.fixture(autouse=True)
    def renamed(self, remote, rows) -> None:
        remote.add("By Ada", _id=rows[0].remote_id, updatedById=ADA, createdById=ADA)
        full_run()
        asked.clear()

    @pytest.mark.parametrize("people", [{ADA: "Ada Lovelace"}, ask_for_names, f"{__name__}.ask_for_names"])
    def test_names_are_shown(self, rows, admin_client, settings, people):
        configure(settings, PEOPLE=people)
        page = admin_client.get(page_of(rows[0]))

        assert text_of(page).count("Ada Lovelace") == 3  # created by, updated by, timeline
        assert asked == ([] if isinstance(people, dict) else [[ADA]])

    @pytest.mark.parametrize("page", ["list", "history"])
    def test_callable_is_asked_once_per_page(self, rows, admin_client, settings, page):
        configure(settings, PEOPLE=ask_for_names)
        shown = text_of(admin_client.get(LIST if page == "list" else page_of(rows[0], "history")))

        assert "in Orq by Ada Lovelace" in shown
        assert (f'<a href="?actor={ADA}">Ada Lovelace</a>' in shown) is (page == "list")
        assert asked == [[ADA]]

    def test_conflict_names_the_person(self, remote, rows, admin_client, settings):
        configure(settings, PEOPLE={ADA: "Ada Lovelace"})
        seen = rows[0].remote_updated_at.isoformat()
        remote.add("By Ada again", _id=rows[0].remote_id, updatedById=ADA)
        form = {"display_name": "Mine", "expected_updated_at": seen, "_save": "Save"}

        assert "by Ada Lovelace" in text_of(admin_client.post(page_of(rows[0]), form))

    def test_callable_that_fails_is_logged_and_survived(self, rows, admin_client, settings, caplog):
        configure(settings, PEOPLE=fail)

        assert "0000…ee06" in text_of(admin_client.get(page_of(rows[0])))
        assert "people.failed" in [getattr(record, "event", "") for record in caplog.records]

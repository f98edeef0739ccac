"""The admin with a running sandbox, as a browser uses it."""

import re
from html import unescape

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import constants, get_messages
from django.db import connections, transaction
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from django_orq import mirror as verbs
from django_orq.exceptions import MirrorContended
from django_orq.mirror import fetch_conversation, rename_conversation
from django_orq.models import Conversation, ConversationChange, Operation, RejectedPayload, SyncRun
from django_orq.store.reconcile import reconcile
from django_orq.sync import runs, slices

from ..threads import disconnect
from ..values import answer, at, conversation, mirrored_values, set_columns

pytestmark = pytest.mark.django_db
NAMES = "admin:django_orq_conversation"
ADD = reverse(f"{NAMES}_add")
LIST = reverse(f"{NAMES}_changelist")
ACTIONS = ("rename_selected", "refresh_selected", "delete_selected", "create_again")
AWKWARD = """Frau <script>alert("1")</script> & 'Söhne' {{ x }} שלום"""

INLINE_CODE = re.compile(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)")

ERRORS = {
    "404": {"status": 404, "body": '{"message": "Not here"}'},
    "500": {"status": 500, "body": "<h1>Broken</h1>"},
    "timeout": {"delay": 3},
}
both_ways = pytest.mark.parametrize("atomic_requests", [False, True], indirect=True, ids=["plain", "ATOMIC_REQUESTS"])
each_error = pytest.mark.parametrize("error", ERRORS)


@pytest.fixture
def impatient(settings, remote):
    """A running sandbox, with a short timeout for its responses."""
    settings.ORQ_WORKSPACES = {"default": settings.ORQ_WORKSPACES["default"] | {"READ_TIMEOUT": 1.5}}
    return remote


def page(row: Conversation, name: str = "change") -> str:
    return reverse(f"{NAMES}_{name}", args=[row.pk])


def mirrored(remote, name: str = "Refund", **fields) -> Conversation:
    return fetch_conversation(remote_id=remote.add(name, **fields)["_id"])


def save_new(client: Client, name: str, **fields):
    return client.post(ADD, {"display_name": name, "_save": "Save", **fields})


def save_name(client: Client, row: Conversation, name: str, *, seen=None, **fields):
    expected = (seen or row.remote_updated_at).isoformat()
    return client.post(page(row), {"display_name": name, "expected_updated_at": expected, "_save": "Save", **fields})


def resubmit(client: Client, url: str, response):
    """Submit the form of a page unchanged, including its hidden fields."""
    return client.post(url, {**fields_of(response), "_save": "Save"})


def fields_of(response) -> dict[str, str]:
    names = ("display_name", "expected_updated_at", "workspace", "form_token")
    return {name: value for name, value in hidden_fields(response).items() if name in names}


def hidden_fields(response) -> dict[str, str]:
    """The values of all inputs of a page, including the visible ones."""
    inputs = re.findall(r"<input [^>]*>", text_of(response))
    pairs = [(re.search(r'name="([^"]*)"', one), re.search(r'value="([^"]*)"', one)) for one in inputs]
    return {unescape(name[1]): unescape(value[1]) for name, value in pairs if name and value}


def buttons(response) -> dict[str, dict[str, str]]:
    """What each button of a page that has a name sends, by the button's text."""
    found = re.findall(r'<button [^>]*name="([^"]+)" value="([^"]*)"[^>]*>(.*?)</button>', text_of(response))
    return {unescape(re.sub("<[^>]+>", "", text)): {unescape(name): unescape(value)} for name, value, text in found}


def confirm_deletion(client: Client, row: Conversation):
    return client.post(page(row, "delete"), {"post": "yes"})


def choose(client: Client, action: str, rows, **fields):
    """Request an action of the list: the first step, usually a confirmation page."""
    selected = [row.pk for row in rows]
    return client.post(f"{LIST}?state=any", {"action": action, "_selected_action": selected, **fields})


def confirm(client: Client, response, **fields):
    """Submit the form of a confirmation page unchanged, except for ``fields``."""
    (url,) = re.findall(r'<form method="post" action="([^"]*)"', text_of(response))
    return client.post(unescape(url), {**hidden_fields(response), **fields})


def confirm_by_force(client: Client, action: str, rows, **fields):
    """Submit only the second step, as a forged request would."""
    url = reverse(f"{NAMES}_{action}")
    return client.post(url, {"selected": ",".join(str(row.pk) for row in rows), **fields})


def text_of(response) -> str:
    return plain(response.content.decode())


def said(response, level: int | None = None) -> list[str]:
    """The texts of the messages that a request added, of one level or of all."""
    found = get_messages(response.wsgi_request)
    return [plain(str(message)) for message in found if level in (None, message.level)]


def plain(text: str) -> str:
    """The text without the characters that isolate the direction of names."""
    return text.translate(dict.fromkeys(map(ord, "\u2068\u2069")))


def assert_nothing_done(response) -> None:
    """The response is a page, without a success message and without a log entry."""
    assert response.status_code == 200
    assert said(response, constants.SUCCESS) == []
    assert "successfully" not in text_of(response)
    assert not LogEntry.objects.exists()


def user_with(*permissions: str) -> Client:
    user = User.objects.create_user("agent", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


# Create


@both_ways
def test_add_creates_remotely_and_mirrors_the_answer(remote, admin_client, atomic_requests):
    response = save_new(admin_client, "  Where is my order?  ")

    row = Conversation.objects.get()
    assert (row.display_name, remote.get(row.remote_id)["displayName"]) == ("Where is my order?",) * 2
    assert response.url == LIST
    assert len(said(response, constants.SUCCESS)) == 1
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_id, entry.object_repr) == (ADDITION, str(row.pk), row.display_name)


@both_ways
@each_error
def test_failed_create_leaves_no_trace_and_keeps_the_form(impatient, admin_client, atomic_requests, error):
    impatient.fail("create", **ERRORS[error])

    response = save_new(admin_client, "Where is my order?")

    assert_nothing_done(response)
    assert fields_of(response)["display_name"] == "Where is my order?"
    (message,) = said(response, constants.ERROR)
    assert message.startswith("The conversation was not created.") == (error != "timeout")
    assert not Conversation.objects.exists()
    assert impatient.count("create") == 1


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 502, "applied": True}, {"cut": True}])
def test_create_with_unknown_outcome_says_that_it_may_exist(remote, admin_client, fault):
    remote.fail("create", **fault)

    response = save_new(admin_client, "Hello")

    (message,) = said(response, constants.ERROR)
    assert "may have been created" in message
    assert "Check the list after the next sync" in message
    assert "No conversation was created" not in message
    assert len(remote) == 1
    assert_nothing_done(response)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("", "required"), ("   ", "needs a name"), ("n" * 101, "at most 100 characters"), ("a\tb", "control characters")],
)
def test_bad_name_is_refused_beside_its_field_and_nothing_is_sent(remote, admin_client, name, complaint):
    response = save_new(admin_client, name)

    assert complaint in str(response.context["adminform"].form.errors["display_name"])
    assert_nothing_done(response)
    assert remote.count() == 0


@pytest.mark.parametrize("wrong", [{}, {"default": {"API_KEY": ""}}, {"default": {"KEY": "x"}}, "nonsense"])
def test_wrong_settings_are_a_message_on_every_page(remote, admin_client, settings, wrong):
    row = mirrored(remote)
    settings.ORQ_WORKSPACES = wrong
    orders = [
        save_new(admin_client, "Hello"),
        save_name(admin_client, row, "New"),
        confirm_deletion(admin_client, row),
    ]

    for response in orders:
        assert_nothing_done(response)
        assert "not configured" in said(response, constants.ERROR)[0]
    assert admin_client.get(LIST).status_code == 200
    assert choose(admin_client, "delete_selected", [row]).status_code == 200
    assert confirm_by_force(admin_client, "delete_selected", [row]).status_code == 302
    assert len(remote) == 1


def test_workspace_is_asked_for_only_if_there_are_several(remote, two_workspaces, admin_client, settings):
    assert "workspace" in admin_client.get(ADD).context["adminform"].form.fields
    assert_nothing_done(save_new(admin_client, "Hello", workspace="elsewhere"))
    assert two_workspaces.count() == 0
    save_new(admin_client, "For sales", workspace="sales")
    assert Conversation.objects.get().workspace == "sales"

    settings.ORQ_WORKSPACES = {"support": settings.ORQ_WORKSPACES["default"]}
    assert "workspace" not in admin_client.get(ADD).context["adminform"].form.fields
    refused = save_new(admin_client, "Of an old page", workspace="sales")
    assert re.search(r'<select name="workspace"[^>]* aria-invalid="true"', refused.content.decode())
    assert not Conversation.objects.filter(display_name="Of an old page").exists()
    save_new(admin_client, "For support")
    assert Conversation.objects.get(display_name="For support").workspace == "support"


def test_stock_buttons_lead_where_they_say(remote, admin_client):
    again = admin_client.post(ADD, {"display_name": "One", "_addanother": "1"})
    stay = admin_client.post(ADD, {"display_name": "Two", "_continue": "1"})

    assert again.url == ADD
    assert stay.url == page(Conversation.objects.get(display_name="Two"))


def test_popup_answers_the_page_that_opened_it(remote, admin_client):
    response = admin_client.post(ADD, {"display_name": "One", "_popup": "1"})

    assert f"&quot;value&quot;: &quot;{Conversation.objects.get().pk}&quot;" in text_of(response)
    assert "&quot;obj&quot;: &quot;One&quot;" in response.content.decode()


def test_popup_may_refer_to_no_column_but_those_that_others_refer_to(remote, admin_client):
    row = mirrored(remote)

    for name in ("change", "delete"):
        assert admin_client.get(page(row, name), {"_to_field": "id"}).status_code == 200
        assert admin_client.get(page(row, name), {"_to_field": "display_name"}).status_code == 400
    form = {"display_name": "One", "_popup": "1", "_to_field": "display_name"}
    assert admin_client.post(ADD, form).status_code == 400
    assert remote.count("create") == 0


@pytest.mark.parametrize("verb", ["create", "rename", "delete"])
def test_answer_that_could_not_be_stored_does_not_invite_to_try_again(remote, admin_client, monkeypatch, verb):
    """The database is patched: three collisions of two writers in a row cannot be staged."""
    row = mirrored(remote)

    def contend(*_args, **_options):
        raise MirrorContended

    for write in ("reconcile", "mark_deleted"):
        monkeypatch.setattr(verbs, write, contend)
    response = {
        "create": lambda: save_new(admin_client, "New"),
        "rename": lambda: save_name(admin_client, row, "New"),
        "delete": lambda: confirm_deletion(admin_client, row),
    }[verb]()

    (warning,) = said(response)
    assert "not shown here yet" in warning
    assert "again" not in warning
    assert response.status_code == 302
    assert remote.count("create") + remote.count("update") + remote.count("delete") == 1


# Rename


@both_ways
def test_saving_another_name_renames_remotely(remote, admin_client, atomic_requests):
    row = mirrored(remote)

    response = save_name(admin_client, row, "Refund for 1001")

    row.refresh_from_db()
    assert (row.display_name, remote.get(row.remote_id)["displayName"]) == ("Refund for 1001",) * 2
    assert response.url == LIST
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.get_change_message()) == (CHANGE, "Changed Name.")
    assert len(said(response, constants.SUCCESS)) == 1


@both_ways
@each_error
@pytest.mark.parametrize("operation", ["retrieve", "update"])
def test_failed_rename_changes_no_value_and_keeps_the_form(impatient, admin_client, atomic_requests, operation, error):
    row = mirrored(impatient)
    before = mirrored_values(row)
    impatient.fail(operation, **ERRORS[error])
    if error == "timeout":
        impatient.fail("retrieve", drop="before", after=1 if operation == "update" else 0)  # nor does a look settle it

    response = save_name(admin_client, row, "Refund for 1001")

    row.refresh_from_db()
    assert (row.missing_since is not None) == (error == "404")
    assert mirrored_values(row) | {"missing_since": None} == before
    assert_nothing_done(response)
    assert fields_of(response)["display_name"] == "Refund for 1001"
    assert len(said(response, constants.ERROR)) == 1


def test_rename_of_what_orq_no_longer_has_marks_it_missing_and_says_so(remote, admin_client):
    row = mirrored(remote)
    remote.remove(row.remote_id)

    response = save_name(admin_client, row, "New")

    assert "marked as missing" in said(response, constants.ERROR)[0]
    assert "Missing since" in text_of(response)
    row.refresh_from_db()
    assert row.state == "missing"


def test_rename_with_unknown_outcome_says_that_it_may_have_changed(remote, admin_client):
    row = mirrored(remote)
    remote.fail("update", drop="after")
    remote.fail("retrieve", status=500, after=1)

    response = save_name(admin_client, row, "New")

    assert "may have been renamed" in said(response, constants.ERROR)[0]
    assert_nothing_done(response)
    assert resubmit(admin_client, page(row), response).status_code == 302
    assert remote.count("update") == 1


def test_conflict_shows_the_other_name_and_saving_again_replaces_it(remote, admin_client):
    row = mirrored(remote, "Refund")
    opened = admin_client.get(page(row))
    remote.rename(row.remote_id, "Renamed by <b>Ana</b>")

    shown = {**fields_of(opened), "display_name": "Renamed by me"}
    conflict = admin_client.post(page(row), {**shown, "_save": "Save"})

    assert_nothing_done(conflict)
    assert remote.count("update") == 0
    assert fields_of(conflict)["display_name"] == "Renamed by me"
    assert "name is “Renamed by &lt;b&gt;Ana&lt;/b&gt;”" in text_of(conflict)

    assert resubmit(admin_client, page(row), conflict).status_code == 302
    row.refresh_from_db()
    assert (row.display_name, remote.get(row.remote_id)["displayName"]) == ("Renamed by me",) * 2
    assert LogEntry.objects.get().get_change_message() == "Changed Name."


def test_conflict_offers_to_keep_the_other_name_and_sends_nothing(remote, admin_client):
    row = mirrored(remote)
    remote.rename(row.remote_id, AWKWARD)
    conflict = save_name(admin_client, row, "Mine")
    keep = buttons(conflict)[f"Keep “{AWKWARD}”"]
    remote.clear_requests()

    kept = admin_client.post(page(row), {**fields_of(conflict), **keep})

    assert_nothing_done(kept)
    assert fields_of(kept)["display_name"] == AWKWARD
    assert "errorlist" not in text_of(kept)
    assert remote.count() == 0
    saved = admin_client.post(page(row), {**fields_of(kept), "display_name": "Now mine", "_save": "Save"})
    assert saved.status_code == 302
    assert remote.get(row.remote_id)["displayName"] == "Now mine"


def test_conflict_offers_to_replace_the_other_name_with_the_one_on_the_button(remote, admin_client):
    row = mirrored(remote)
    remote.rename(row.remote_id, "Theirs")
    conflict = save_name(admin_client, row, AWKWARD)
    button = buttons(conflict)[f"Replace it with “{AWKWARD}”"]

    replaced = admin_client.post(page(row), {**fields_of(conflict), "display_name": "Typed since", **button})

    assert replaced.status_code == 302
    assert remote.get(row.remote_id)["displayName"] == AWKWARD


def test_buttons_of_a_conflict_isolate_names_and_are_not_pressed_by_enter(remote, admin_client):
    row = mirrored(remote)
    remote.rename(row.remote_id, AWKWARD)
    text = text_of(save_name(admin_client, row, "<b>"))

    assert "“<bdi>&lt;b&gt;</bdi>”" in text
    assert "<script>alert" not in text
    first = re.search(r"<button[^>]*>|<input type=.submit.[^>]*>", text[text.index("id_display_name") :])
    assert "hidden" in first[0]


def test_each_further_conflict_is_shown_although_a_sync_has_mirrored_it_meanwhile(remote, admin_client):
    row = mirrored(remote, "Refund")
    shown = admin_client.get(page(row))

    for name in ("First", "Second"):
        remote.rename(row.remote_id, name)
        fetch_conversation(remote_id=row.remote_id)
        typed = {**fields_of(shown), "display_name": "Mine", "_save": "Save"}
        shown = admin_client.post(page(row), typed)
        assert_nothing_done(shown)
        assert f"name is “{name}”" in text_of(shown)
    assert remote.count("update") == 0


@pytest.mark.parametrize(
    ("phase", "name", "words"),
    [("before", "Mine", "your name has replaced that"), ("after", "Theirs", "right afterwards")],
)
@pytest.mark.django_db(transaction=True)
def test_simultaneous_rename_is_told(remote, admin_client, phase, name, words):
    row = mirrored(remote)

    def rename_theirs(operation, now):
        if (operation, now) == ("update", phase):
            remote.on_request = None
            remote.rename(row.remote_id, "Theirs")
            fetch_conversation(remote_id=row.remote_id)
            disconnect()

    remote.on_request = rename_theirs
    response = save_name(admin_client, row, "Mine")

    row.refresh_from_db()
    assert row.display_name == name
    (warning,) = said(response, constants.WARNING)
    assert "“Theirs”" in warning
    assert words in warning
    assert len(said(response, constants.SUCCESS)) == (1 if phase == "before" else 0)
    assert response.status_code == 302


def test_saving_the_page_unchanged_succeeds_without_a_write(remote, admin_client):
    row = mirrored(remote)

    response = resubmit(admin_client, page(row), admin_client.get(page(row)))

    assert response.status_code == 302
    assert remote.count("update") == 0
    assert not LogEntry.objects.exists()


def test_name_that_somebody_gave_it_in_orq_already_is_not_told_as_the_users(remote, admin_client):
    row = mirrored(remote)
    remote.rename(row.remote_id, "Paid")

    response = save_name(admin_client, row, "Paid")

    assert response.url == LIST
    assert remote.count("update") == 0
    assert said(response, constants.WARNING) == ["Orq had this name already."]
    assert not LogEntry.objects.exists()
    assert ConversationChange.objects.latest("pk").origin == "orq"


def test_page_shows_all_that_the_mirror_has(remote, admin_client):
    row = mirrored(remote, "Refund", metadata={"model": "größe"})
    set_columns(row, extra={"projectId": "<p>"})

    shown = text_of(admin_client.get(page(row)))

    assert row.remote_id in shown
    assert "<pre>{\n  &quot;model&quot;: &quot;größe&quot;\n}</pre>" in shown
    assert "&lt;p&gt;" in shown


def test_empty_details_are_left_out(remote, admin_client):
    row = set_columns(mirrored(remote), created_by_id=None, updated_by_id="u", metadata=None, extra={"projectId": "p"})

    shown = text_of(admin_client.get(page(row)))

    labels = ("Created", "Created by", "Updated by", "Metadata", "Other fields")
    assert [label for label in labels if f"{label}:</label>" in shown] == ["Created", "Updated by", "Other fields"]


URL = "https://my.orq.ai/acme/conversations/{id}?from=admin&x={id}"


def test_page_leads_to_the_conversation_in_orq_if_the_url_is_known(remote, admin_client, settings):
    row = mirrored(remote)
    assert "Open in Orq" not in text_of(admin_client.get(page(row)))

    settings.ORQ_WORKSPACES = {"default": settings.ORQ_WORKSPACES["default"] | {"CONVERSATION_URL": URL}}
    link = f'<a href="{escape(URL.replace("{id}", row.remote_id))}" rel="noreferrer">Open in Orq</a>'
    assert link in text_of(admin_client.get(page(row)))
    assert link in text_of(user_with("view_conversation").get(page(row)))
    assert "Open in Orq" not in text_of(admin_client.get(ADD))
    set_columns(row, deleted_at=at(0))
    assert "Open in Orq" not in text_of(admin_client.get(page(row)))


def refresh_button(response) -> str:
    """The URL to which the button posts."""
    found = re.findall(r'<button [^>]*form="orq-form" formaction="([^"]*)">Refresh<', text_of(response))
    return unescape("".join(found))


def test_refresh_updates_the_row_and_stays_on_the_page(remote, admin_client):
    row = mirrored(remote)
    remote.rename(row.remote_id, AWKWARD)
    filters = "?_changelist_filters=state%3Dany"
    url = refresh_button(admin_client.get(page(row) + filters))
    assert url == page(row, "refresh") + filters

    response = admin_client.post(url)

    assert response.url == page(row) + filters
    assert said(response, constants.SUCCESS) == [f"“{AWKWARD}” is up to date."]
    row.refresh_from_db()
    assert row.display_name == AWKWARD
    assert remote.count("update") == 0
    assert not LogEntry.objects.exists()


def test_failed_refresh_says_why(remote, admin_client):
    row = mirrored(remote)
    remote.remove(row.remote_id)

    response = admin_client.post(page(row, "refresh"))

    assert response.url == page(row)
    assert said(response, constants.SUCCESS) == []
    assert "The conversation was not refreshed." in said(response, constants.ERROR)[0]
    row.refresh_from_db()
    assert row.state == "missing"


def test_refresh_needs_a_conversation_that_exists_and_the_permission_to_change(remote, admin_client):
    row = mirrored(remote)
    remote.clear_requests()
    viewer = user_with("view_conversation")

    assert refresh_button(viewer.get(page(row))) == ""
    assert viewer.post(page(row, "refresh")).status_code == 403
    assert admin_client.get(page(row, "refresh")).status_code == 405
    assert admin_client.post(reverse(f"{NAMES}_refresh", args=["9" * 30])).status_code == 302
    set_columns(row, deleted_at=at(0))
    assert refresh_button(admin_client.get(page(row))) == ""
    assert "Already deleted" in said(admin_client.post(page(row, "refresh")), constants.WARNING)[0]
    assert remote.count() == 0


def test_page_of_a_deleted_conversation_can_only_be_read(remote, admin_client):
    row = set_columns(mirrored(remote), deleted_at=at(0))
    shown = admin_client.get(page(row))

    assert shown.status_code == 200
    assert 'name="_save"' not in text_of(shown)
    assert "display_name" not in fields_of(shown)
    for order in (save_name, lambda client, row, _: confirm_deletion(client, row)):
        response = order(admin_client, row, "New")
        assert response.status_code == 302
        assert "Already deleted" in said(response, constants.WARNING)[0]
    assert remote.count("update") == remote.count("delete") == 0
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ["change", "delete"])
@pytest.mark.parametrize("key", ["1000000000", "nonsense"])
def test_unknown_conversation_redirects_with_a_message(admin_client, name, key):
    response = admin_client.get(reverse(f"{NAMES}_{name}", args=[key]))

    assert response.url == reverse("admin:index")
    assert f"“{key}” doesn’t exist" in said(response)[0]


# Delete


@both_ways
@pytest.mark.parametrize("is_gone", [False, True], ids=["there", "gone already"])
def test_delete_deletes_remotely_and_keeps_a_tombstone(remote, admin_client, atomic_requests, is_gone):
    row = mirrored(remote)
    if is_gone:
        remote.remove(row.remote_id)

    response = confirm_deletion(admin_client, row)

    assert (len(remote), response.url) == (0, LIST)
    row.refresh_from_db()
    assert row.state == "deleted"
    told = {level: said(response, level) for level in (constants.SUCCESS, constants.WARNING)}
    if is_gone:
        assert not LogEntry.objects.exists()
        assert told == {constants.SUCCESS: [], constants.WARNING: ["Deleted. Orq did not have it any more."]}
    else:
        entry = LogEntry.objects.get()
        assert (entry.action_flag, entry.object_id) == (DELETION, str(row.pk))
        assert [len(texts) for texts in told.values()] == [1, 0]


def test_popup_closes_after_the_deletion_of_what_was_gone(remote, admin_client):
    row = mirrored(remote)
    remote.remove(row.remote_id)

    response = admin_client.post(page(row, "delete"), {"post": "yes", "_popup": "1"})

    assert response.template_name[-1] == "admin/popup_response.html"


@both_ways
@pytest.mark.parametrize("error", ["500", "timeout"])
def test_failed_delete_changes_nothing(impatient, admin_client, atomic_requests, error):
    row = mirrored(impatient)
    before = mirrored_values(row)
    impatient.fail("delete", **ERRORS[error])

    response = confirm_deletion(admin_client, row)

    row.refresh_from_db()
    assert mirrored_values(row) == before
    assert_nothing_done(response)
    assert ("may have been deleted" in said(response, constants.ERROR)[0]) == (error == "timeout")
    assert "Yes, I’m sure" in text_of(response)


def test_confirmation_names_what_goes_and_asks_nothing_of_orq(remote, admin_client):
    row = mirrored(remote, AWKWARD)
    remote.clear_requests()

    shown = text_of(admin_client.get(page(row, "delete")))

    assert row.remote_id in shown
    assert "permanently" in shown
    assert remote.count() == 0


# No transaction during requests to Orq


def watch_transactions(remote) -> list[bool]:
    """Records whether this thread's connection is in a transaction at each request to Orq."""
    ours = connections["default"]
    seen: list[bool] = []
    remote.on_request = lambda _operation, phase: seen.append(ours.in_atomic_block) if phase == "before" else None
    return seen


@both_ways
def test_no_transaction_is_open_while_orq_is_asked(remote, admin_client, atomic_requests):
    row, other = mirrored(remote), mirrored(remote)
    seen = watch_transactions(remote)

    save_new(admin_client, "Hello")
    save_name(admin_client, row, "New")
    confirm_deletion(admin_client, row)
    confirm_by_force(admin_client, "delete_selected", [other])

    assert seen == [False] * 5


@pytest.mark.django_db(transaction=True)
def test_an_open_transaction_would_be_noticed(remote):
    row = mirrored(remote)
    seen = watch_transactions(remote)

    with transaction.atomic():
        rename_conversation(row, display_name="New")

    assert seen == [True, True]


# The list


def ids_listed(response) -> list[str]:
    return [row.remote_id for row in response.context["cl"].result_list]


def test_deleted_conversations_are_listed_only_if_asked_for(remote, admin_client):
    _live, missing, unlisted, deleted = (mirrored(remote, name) for name in ("L", "M", "U", "D"))
    set_columns(missing, missing_since=at(0))
    set_columns(unlisted, missing_since=at(0), confirmed_at=at(1))
    set_columns(deleted, deleted_at=at(0))
    expected = {
        "": "UML",
        "?state=live": "L",
        "?state=unlisted": "U",
        "?state=missing": "M",
        "?state=deleted": "D",
        "?state=any": "DUML",
    }

    for query, letters in expected.items():
        shown = admin_client.get(LIST + query).context["cl"].result_list
        assert "".join(row.display_name for row in shown) == letters, query


def test_search_by_the_beginning_of_an_id_leaves_names_alone(remote, admin_client):
    rows = [mirrored(remote, name) for name in ("One", "Two")]
    mirrored(remote, f"About {rows[0].remote_id}")

    assert ids_listed(admin_client.get(LIST, {"q": rows[0].remote_id.upper()})) == [rows[0].remote_id]
    assert len(ids_listed(admin_client.get(LIST, {"q": rows[0].remote_id[:8]}))) == 3
    assert ids_listed(admin_client.get(LIST, {"q": "conv_%"})) == []


def test_number_of_statements_does_not_grow_with_the_list(admin_client, statements):
    counts = []
    for number in (1, 60):
        listed = [conversation(remote_id=f"conv_{index:026d}") for index in range(number)]
        reconcile(answer(*listed), workspace="default")
        with statements() as executed:
            admin_client.get(LIST)
        counts.append(len(executed))

    assert counts[0] == counts[1] <= 14  # one of them asks for the database's time, where it has one


def test_workspaces_are_told_apart_where_there_are_several(two_workspaces, admin_client):
    sales = fetch_conversation(remote_id=two_workspaces.add("Sale")["_id"], workspace="sales")

    assert f"(sales, {sales.remote_id})" in text_of(admin_client.get(page(sales, "delete")))


def test_only_inputs_that_are_shown_have_labels(remote, admin_client):
    row = mirrored(remote)
    pages = [admin_client.get(url) for url in (ADD, LIST, page(row), page(row, "delete"))]

    for response in [*pages, choose(admin_client, "rename_selected", [row])]:
        hidden = [one for one in re.findall(r"<input [^>]*>", text_of(response)) if 'type="hidden"' in one]
        ids = re.findall(r'\bid="([^"]*)"', " ".join(hidden))
        assert {*ids}.isdisjoint(re.findall(r'<label [^>]*for="([^"]*)"', text_of(response)))


def test_pages_carry_no_inline_script_or_style(remote, admin_client):
    row = mirrored(remote)
    conflict = remote.rename(row.remote_id, "Other") and save_name(admin_client, row, "Mine")
    pages = [admin_client.get(url) for url in (LIST, ADD, page(row), page(row, "delete"))]
    asking = [choose(admin_client, action, [row]) for action in ("delete_selected", "rename_selected")]

    for response in (*pages, *asking, conflict):
        assert INLINE_CODE.findall(text_of(response)) == []


# Permissions


def test_whoever_may_only_add_reads_no_names_by_creating_again(remote, admin_client):
    row = mirrored(remote)
    client = user_with("add_conversation")
    refused = [confirm_by_force(client, "create_again", [row])]
    confirm_deletion(admin_client, row)
    refused.append(confirm_by_force(client, "create_again", [row]))

    assert [response.status_code for response in refused] == [403, 403]
    assert remote.count("create") == 0
    assert not Operation.objects.exists()


ENDPOINTS = ["list", "add", "change", "delete", "history"]


def urls(row: Conversation) -> dict[str, str]:
    return {"list": LIST, "add": ADD, **{name: page(row, name) for name in ("change", "delete", "history")}}


def forge_all(client: Client, row: Conversation) -> list:
    return [
        save_new(client, "Forged"),
        save_name(client, row, "Forged"),
        confirm_deletion(client, row),
        confirm_by_force(client, "delete_selected", [row]),
        confirm_by_force(client, "rename_selected", [row], **{f"{row.pk}-display_name": "Forged"}),
        confirm_by_force(client, "create_again", [row]),
        *(choose(client, action, [row]) for action in ACTIONS),
        client.post(page(row, "refresh")),
    ]


def assert_untouched(remote, row: Conversation) -> None:
    assert remote.count("create") == remote.count("update") == remote.count("delete") == 0
    before = mirrored_values(row)
    row.refresh_from_db()
    assert mirrored_values(row) == before
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("is_staff", [False, True], ids=["anonymous", "staff without permissions"])
def test_strangers_are_refused(remote, endpoint, is_staff):
    row = mirrored(remote)
    client, url = user_with() if is_staff else Client(), urls(row)[endpoint]

    for response in (client.get(url), client.post(url, {"post": "yes"})):
        assert response.status_code == (403 if is_staff else 302)
        assert is_staff or response.url.startswith(reverse("admin:login"))
    assert_untouched(remote, row)


def test_viewers_see_everything_and_change_nothing(remote):
    row = mirrored(remote)
    client = user_with("view_conversation")

    assert not any(action in text_of(client.get(LIST)) for action in ACTIONS)
    shown = client.get(page(row))
    assert 'name="_save"' not in text_of(shown)
    assert fields_of(shown) == {}
    assert [client.get(ADD).status_code, client.get(page(row, "delete")).status_code] == [403, 403]
    assert [response.status_code for response in forge_all(client, row)[:6]] == [403] * 6
    assert_untouched(remote, row)


@pytest.mark.parametrize(
    ("permission", "operation"),
    [("add_conversation", "create"), ("change_conversation", "update"), ("delete_conversation", "delete")],
)
def test_each_permission_opens_its_own_verb_only(remote, permission, operation):
    row = mirrored(remote)

    forge_all(user_with("view_conversation", permission), row)

    done = [name for name in ("create", "update", "delete") if remote.count(name)]
    assert done == [operation]


def test_whoever_may_only_delete_sees_and_deletes_nothing(remote):
    client, row = user_with("delete_conversation"), mirrored(remote)

    assert [client.get(page(row, "delete")).status_code, confirm_deletion(client, row).status_code] == [403, 403]
    assert_untouched(remote, row)


def test_forged_posts_from_another_site_are_refused(remote, admin_user):
    row = mirrored(remote)
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    assert {response.status_code for response in forge_all(client, row)} == {403}
    assert_untouched(remote, row)


# Runs and rejected payloads


def walked(remote, *junk) -> SyncRun:
    """A run over a list of one conversation and items that cannot be mirrored."""
    remote.add("Refund")
    remote.transform_list = lambda listed: {**listed, "data": [*listed["data"], *junk]}
    run = runs.open_run("default", "full")
    slices.run_slice(run.pk)
    run.refresh_from_db()
    return run


def test_run_shows_its_counters_and_what_was_rejected(remote, admin_client):
    run = walked(remote, {"_id": "junk <b>"})
    payload = RejectedPayload.objects.get()

    listed = text_of(admin_client.get(reverse("admin:django_orq_syncrun_changelist")))
    shown = text_of(admin_client.get(reverse("admin:django_orq_syncrun_change", args=[run.pk])))
    rejected = text_of(admin_client.get(reverse("admin:django_orq_rejectedpayload_change", args=[payload.pk])))

    assert "completed with problems" in listed
    assert f"last_run__id__exact={run.pk}" in shown
    assert "junk &lt;b&gt;" in rejected


def test_failed_run_says_why(remote, admin_client, admin_user):
    remote.fail("list", status=401)
    with pytest.raises(Exception, match="Check API_KEY and BASE_URL"):
        walked(remote)

    for url in ("changelist", "change"):
        arguments = [SyncRun.objects.get().pk] if url == "change" else []
        page = reverse(f"admin:django_orq_syncrun_{url}", args=arguments)
        admin_user.is_superuser = url == "change"  # above the list, an operator reads the technical advice
        admin_user.save()
        admin_user.user_permissions.set(Permission.objects.filter(codename="view_syncrun"))
        shown = text_of(admin_client.get(page))
        assert "API key. Ask the site" in shown
        assert "BASE_URL" not in shown


def test_rejected_payloads_are_listed_and_searched(remote, admin_client):
    walked(remote, *({"number": number} for number in range(3)))
    key = RejectedPayload.objects.values_list("key", flat=True)[0]
    url = reverse("admin:django_orq_rejectedpayload_changelist")

    assert admin_client.get(url).context["cl"].result_count == 3
    assert admin_client.get(url, {"q": key[:20]}).context["cl"].result_count == 1
    assert admin_client.get(url, {"q": "'"}).context["cl"].result_count == 0
    assert admin_client.get(url, {"resolved_at__isempty": "1"}).context["cl"].result_count == 3
    assert admin_client.get(url, {"resolved_at__isempty": "0"}).context["cl"].result_count == 0


@pytest.mark.parametrize("model", ["syncrun", "rejectedpayload"])
def test_runs_and_rejected_payloads_can_only_be_read(remote, admin_client, model):
    run = walked(remote, {})
    key = run.pk if model == "syncrun" else RejectedPayload.objects.get().pk
    change, delete = (reverse(f"admin:django_orq_{model}_{name}", args=[key]) for name in ("change", "delete"))

    assert admin_client.get(reverse(f"admin:django_orq_{model}_add")).status_code == 403
    assert admin_client.get(change).status_code == 200
    assert admin_client.post(change, {"workspace": "x"}).status_code == 403
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403

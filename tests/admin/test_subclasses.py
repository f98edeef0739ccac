"""Our admin classes in a project's hands: what a subclass sets is honoured, also for a proxy of the model."""

import re

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.urls import path
from django.utils.html import format_html
from django.utils.timezone import now

from django_orq.admin import ConversationAdmin, ConversationChangeAdmin, OperationAdmin, SyncRunAdmin
from django_orq.mirror import create_conversation, fetch_conversation, refresh_conversation
from django_orq.mirror.operations import ItemRequest, create_operation
from django_orq.models import Conversation, ConversationChange, Operation, SyncRun
from django_orq.store.history import Requester
from django_orq.sync import runs
from django_orq.testing import mirrored

from ..ordering import meanwhile
from ..references.models import Reference, Ticket
from ..threads import in_thread
from ..values import set_columns
from ..walking import full_run
from .test_admin import ACTIONS, fields_of, plain, said, text_of, user_with
from .test_admin_operations import work_off

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


class NoteForm(forms.ModelForm):
    note = forms.CharField(required=False, max_length=5)


class ReferenceInline(admin.TabularInline):
    model = Reference
    form = NoteForm
    extra = 1


class Otherwise(ConversationAdmin):
    list_display = ("display_name", "workspace", "shouted")
    list_filter = ("created_by_id",)
    list_per_page = 2
    search_fields = ("created_by_id",)
    ordering = ("display_name",)
    date_hierarchy = "mirrored_at"
    actions = ("shout",)
    change_list_template = "admin/change_list.html"
    change_form_template = "admin/change_form.html"
    fieldsets = (("Of the project", {"fields": ("display_name", "remote_id", "shouted")}),)
    readonly_fields = ("shouted",)
    inlines = (ReferenceInline,)
    save_as = True

    class Media:
        js = ("of_the_project.js",)

    @admin.display
    def shouted(self, conversation: Conversation) -> str:
        return format_html("<b>{}</b>", conversation.display_name.upper())

    @admin.action
    def shout(self, request, queryset):
        self.message_user(request, " ".join(row.display_name.upper() for row in queryset))

    def get_urls(self):
        return [path("own/", self.admin_site.admin_view(self.changelist_view), name="own"), *super().get_urls()]


class FixedName(ConversationAdmin):
    actions = ()
    fields = ("display_name", "remote_id")
    readonly_fields = ("display_name",)


class RunsOtherwise(SyncRunAdmin):
    fields = ("state", "seen")
    list_filter = ("phase",)
    change_form_template = "admin/change_form.html"


class OfSales:
    """What a project adds to let some users see and change one workspace only."""

    def get_workspaces(self, request):
        return ["sales"]

    def get_queryset(self, request):
        return super().get_queryset(request).filter(workspace="sales")


class OfNobody(ConversationAdmin):
    def get_workspaces(self, request):
        return []

    def get_queryset(self, request):
        return super().get_queryset(request).none()


class UntoldChanges(ConversationChangeAdmin):
    def get_queryset(self, request):
        return super().get_queryset(request).exclude(new_name="Secret")


class WithoutSecrets(ConversationAdmin):
    def get_queryset(self, request):
        return super().get_queryset(request).exclude(display_name="Secret")


class RunsOfSales(OfSales, SyncRunAdmin):
    pass


class ConversationsOfSales(OfSales, ConversationAdmin):
    pass


class OwnOperations(OperationAdmin):
    def get_queryset(self, request):
        return super().get_queryset(request).filter(requested_by_pk=request.user.pk)


def pages_of(name, model, admin_class):
    site = admin.AdminSite(name)
    site.register(model, ConversationAdmin)
    site.unregister(model)
    site.register(model, admin_class)
    site.register(SyncRun, RunsOtherwise)
    site.register(Operation, OperationAdmin)
    site.register(ConversationChange, ConversationChangeAdmin)
    return path(f"{name}/", site.urls)


sales = admin.AdminSite("sales")
sales.register(Conversation, ConversationsOfSales)
sales.register(SyncRun, RunsOfSales)
sales.register(Operation, OwnOperations)
sales.register(ConversationChange, UntoldChanges)
nobody = admin.AdminSite("nobody")
nobody.register(Conversation, OfNobody)
nobody.register(Operation, OperationAdmin)
urlpatterns = [
    pages_of("otherwise", Conversation, Otherwise),
    pages_of("fixed", Conversation, FixedName),
    pages_of("proxy", Ticket, ConversationAdmin),
    pages_of("discreet", Conversation, WithoutSecrets),
    path("sales/", sales.urls),
    path("nobody/", nobody.urls),
]
LIST = "/otherwise/django_orq/conversation/"
SALES = "/sales/django_orq/conversation/"
PROXIES = "/proxy/references/ticket/"


def noted(note: str) -> dict[str, str]:
    """The part of a page's form that is the inline's."""
    return {"-1-TOTAL_FORMS": "1", "-1-INITIAL_FORMS": "0", "-1-0-note": note}


def rename(client, url, row, name, **fields):
    seen = {"expected_updated_at": row.remote_updated_at.isoformat(), "initial-display_name": row.display_name}
    return client.post(url, {"display_name": name, **seen, **fields, "_save": "Save"})


def test_list_of_a_subclass_shows_what_it_sets_and_our_panel(rows, admin_client):
    response = admin_client.get(LIST)

    shown, changelist = text_of(response), response.context["cl"]
    assert [row.display_name for row in changelist.result_list] == ["One", "Three"]
    assert changelist.list_display == ["action_checkbox", "display_name", "workspace", "shouted"]
    assert [spec.title for spec in changelist.filter_specs] == ["created by"]
    assert "<b>ONE</b>" in shown
    assert "of_the_project.js" in shown
    assert "Fetch new" in shown
    assert "Last complete check: new conversations " in shown
    assert len(admin_client.get(LIST, {"q": "nobody"}).context["cl"].result_list) == 0
    assert "Fetch new" in text_of(admin_client.get(f"{LIST}own/"))
    page = {"p": "2", "mirrored_at__year": rows[0].mirrored_at.year}
    assert [row.display_name for row in admin_client.get(LIST, page).context["cl"].result_list] == ["Two"]


def test_actions_of_a_subclass_stand_beside_a_deletion_that_asks_orq(rows, remote, admin_client):
    choices = [name for name, _label in admin_client.get(LIST).context["action_form"].fields["action"].choices]
    assert choices == ["", "delete_selected", "shout"]
    chosen = {"_selected_action": [row.pk for row in rows[:1]]}

    assert said(admin_client.post(LIST, {"action": "shout", **chosen})) == ["THREE"]
    for url in (LIST, "/fixed/django_orq/conversation/"):
        asked = admin_client.post(url, {"action": "delete_selected", **chosen})
        assert f'action="{url}delete-selected/' in text_of(asked)


def test_page_of_a_subclass_shows_its_fields_and_saves_its_inlines_with_the_name(rows, remote, admin_client):
    url = f"{LIST}{rows[0].pk}/change/"
    shown = text_of(admin_client.get(url))
    assert "Of the project" in shown
    assert "<b>THREE</b>" in shown
    assert "Last news" not in shown
    assert "-1-0-note" in shown

    assert rename(admin_client, url, rows[0], "Four", **noted("too long")).status_code == 200
    assert remote.count("update") == 0
    assert rename(admin_client, url, rows[0], "Four", **noted("note")).status_code == 302

    assert remote.get(rows[0].remote_id)["displayName"] == "Four"
    reference = Reference.objects.get()
    assert reference.conversation == rows[0]
    changes = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert changes == ["Changed Name.", f"Added reference “{reference}”."]


def test_history_shows_changes_and_the_log_entries_of_inlines(rows, remote, admin_client):
    rename(admin_client, f"{LIST}{rows[0].pk}/change/", rows[0], "Four", **noted("note"))

    shown = plain(text_of(admin_client.get(f"{LIST}{rows[0].pk}/history/")))

    entries = re.findall("<td>(.*(?:renamed|Changed|Added).*)</td>", shown)
    assert entries == ["admin renamed “Three” to “Four”", f"Added reference “{Reference.objects.get()}”."]


def test_inlines_are_saved_with_a_new_conversation_and_not_without_it(remote, admin_client):
    remote.fail("create", status=500)
    add = {"display_name": "New", "_save": "Save", **noted("note")}

    assert "note" in text_of(admin_client.post(f"{LIST}add/", add))
    assert not Reference.objects.exists()
    assert admin_client.post(f"{LIST}add/", add).url == LIST

    assert Reference.objects.get().conversation.display_name == "New"


@pytest.mark.parametrize(("note", "is_told"), [("note", True), ("", False)])
def test_user_is_told_that_inlines_are_not_saved_without_the_row(remote, admin_client, note, is_told):
    def fail_to_insert(run, sql, *arguments):
        if sql.startswith("INSERT") and remote.count("create"):
            raise OperationalError("disk I/O error")
        return run(sql, *arguments)

    add = {"display_name": "New", "_save": "Save", **noted(note)}
    with connection.execute_wrapper(fail_to_insert):
        told = said(admin_client.post(f"{LIST}add/", add))

    assert "Created. This is not shown here yet." in told[0]
    assert ("Nothing else on the page was saved." in "".join(told)) == is_told


def test_page_of_a_subclass_does_not_offer_to_save_a_copy(rows, remote, admin_client):
    shown = text_of(admin_client.get(f"{LIST}{rows[0].pk}/change/"))

    assert "_saveasnew" not in shown
    assert "_addanother" in shown


def test_inlines_of_a_form_that_is_submitted_twice_are_saved_once(remote, admin_client):
    add = {"display_name": "New", "_save": "Save", "form_token": "0" * 32, **noted("note")}
    for _time in range(2):
        shown = admin_client.post(f"{LIST}add/", add, follow=True)

    assert (len(remote), Reference.objects.count()) == (1, 1)
    assert "You have already submitted this form." in text_of(shown)


@pytest.mark.parametrize("name", ["Refund ", "Re\nfund", "", "x" * 101, "\t"])
def test_name_from_orq_that_was_not_changed_is_neither_sent_nor_validated(remote, admin_client, name):
    remote.add(name)
    full_run()
    row = Conversation.objects.get()
    shown = "".join(name.splitlines())  # as a browser sends it

    assert rename(admin_client, f"{LIST}{row.pk}/change/", row, shown, **noted("note")).status_code == 302
    assert Reference.objects.get().conversation == row
    assert remote.count("update") == 0
    assert not row.changes.exists()


@pytest.mark.parametrize("name", ["Refund ", "\xa0Refund", "Ref\u2028und", "Ref\x0bund"])
def test_white_space_that_the_user_removed_is_removed_in_orq(remote, admin_client, name):
    remote.add(name)
    full_run()

    row = Conversation.objects.get()

    rename(admin_client, f"{LIST}{row.pk}/change/", row, "Refund", **noted(""))

    assert [item["displayName"] for item in remote.conversations] == ["Refund"]


def test_name_that_a_subclass_makes_read_only_is_never_sent(rows, remote, admin_client):
    url = f"/fixed/django_orq/conversation/{rows[0].pk}/change/"
    assert 'name="display_name"' not in text_of(admin_client.get(url))

    assert rename(admin_client, url, rows[0], "Four").status_code == 302

    assert remote.count() == 0


def test_run_of_a_subclass_shows_its_fields_and_what_can_be_done(remote, admin_client):
    run = full_run()

    shown = text_of(admin_client.get(f"/otherwise/django_orq/syncrun/{run.pk}/change/"))

    assert "State:" in shown
    assert "field-seen" in shown
    assert "Technical details" not in shown
    listed = admin_client.get("/otherwise/django_orq/syncrun/")
    assert [spec.title for spec in listed.context["cl"].filter_specs] == ["step"]
    assert "Full sync" in text_of(listed)


def test_proxy_has_pages_of_its_own_that_lead_to_each_other(rows, remote, admin_client):
    row = rows[0]
    shown = text_of(admin_client.get(PROXIES))
    assert "Fetch new" in shown
    assert f"{PROXIES}{row.pk}/change/" in shown
    assert admin_client.post(f"{PROXIES}add/", {"display_name": "New", "_save": "Save"}).url == PROXIES
    assert rename(admin_client, f"{PROXIES}{row.pk}/change/", row, "Four").url == PROXIES
    assert admin_client.post(f"{PROXIES}{rows[1].pk}/delete/", {"post": "yes"}).url == PROXIES
    logged = [entry.get_change_message() for entry in LogEntry.objects.filter(content_type__model="ticket")]
    assert logged == ["", "Changed Name."]
    assert len(remote) == 3

    for action in ACTIONS:
        chosen = {"action": action, "_selected_action": [row.pk, rows[2].pk]}
        assert admin_client.post(f"{PROXIES}?state=any", chosen).status_code in (200, 302)


def test_proxy_is_exported(rows, admin_client):
    lines = b"".join(admin_client.get(f"{PROXIES}csv/")).decode("utf-8-sig").splitlines()

    assert lines[0].startswith("workspace,remote_id,display_name,")
    assert [line.split(",")[1] for line in lines[1:]] == sorted((row.remote_id for row in rows), reverse=True)


def test_operation_on_a_proxy_leads_to_its_pages_and_can_be_tried_again(rows, remote, admin_client):
    remote.fail("retrieve", status=401)
    chosen = {"action": "refresh_selected", "_selected_action": [row.pk for row in rows]}
    operation = admin_client.post(PROXIES, chosen).url
    work_off(Operation.objects.get())

    shown = text_of(admin_client.get(operation))

    assert f"{PROXIES}{rows[0].pk}/change/" in shown
    assert "Retry failed and unknown" in shown


def test_only_those_with_permissions_on_the_proxy_see_it(rows):
    permission = Permission.objects.get(codename="view_ticket")
    user = user_with()
    assert user.get(PROXIES).status_code == 403
    User.objects.get().user_permissions.add(permission)
    assert user.get(PROXIES).status_code == 200
    assert user.get(f"{PROXIES}add/").status_code == 403


@pytest.fixture
def hidden(two_workspaces):
    """A paused run and a deleted conversation of the workspace that the site “sales” hides."""
    mirrored("Secret", deleted_at=now())
    run = runs.open_run("default", "full")
    runs.pause(run)
    return run


@pytest.mark.parametrize("act", ["pause", "resume", "approve", "cancel"])
def test_run_that_a_subclass_hides_cannot_be_changed(hidden, admin_client, act):
    assert "There is no sync run" in said(admin_client.post(f"/sales/django_orq/syncrun/{hidden.pk}/{act}/"))[0]

    hidden.refresh_from_db()
    assert hidden.state == "paused"


def test_workspace_that_a_subclass_leaves_out_is_neither_synced_nor_written_to(hidden, remote, admin_client):
    attempts = {
        "/sales/django_orq/syncrun/start/": {"mode": "incremental"},
        f"{SALES}fetch/": {"remote_id": remote.add("New")["_id"]},
        f"{SALES}add/": {"display_name": "New", "_save": "Save"},
        f"{SALES}create-several/": {"names": "New\nNewer"},
    }

    answers = [admin_client.post(url, {**fields, "workspace": "default"}) for url, fields in attempts.items()]

    assert [answer.status_code for answer in answers] == [403, 403, 200, 200]
    assert (remote.count(), SyncRun.objects.count(), Operation.objects.count()) == (0, 1, 0)


def test_workspace_that_a_subclass_leaves_out_is_not_offered(hidden, remote, admin_client):
    assert admin_client.get(SALES, {"workspace": "default"}).context["cl"].workspaces == ["sales"]
    shown = admin_client.get("/sales/django_orq/syncrun/", {"workspace": "default"})
    assert shown.context["chosen_workspace"] == "sales"
    for page in ("add", "create-several"):
        assert 'name="workspace"' not in text_of(admin_client.get(f"{SALES}{page}/"))

    admin_client.post(f"{SALES}add/", {"display_name": "New", "_save": "Save"})

    assert Conversation.objects.get(display_name="New").workspace == "sales"


def test_search_says_nothing_of_deleted_conversations_that_a_subclass_hides(hidden, admin_client):
    assert "Deleted conversations match" not in text_of(admin_client.get(SALES, {"q": "Secret"}))

    set_columns(Conversation.objects.get(), workspace="sales")

    assert "Deleted conversations match" in text_of(admin_client.get(SALES, {"q": "Secret"}))


@pytest.mark.parametrize("way", ["page", "selected", "list", "refresh", "refresh selected"])
def test_name_that_hides_a_conversation_is_not_told_by_the_answer_that_finds_it(remote, admin_client, way):
    row = fetch_conversation(remote_id=remote.add("Refund")["_id"])
    remote.rename(row.remote_id, "Secret")
    url = "/discreet/django_orq/conversation/"
    page, chosen = f"{url}{row.pk}/", {"_selected_action": [row.pk], "selected": str(row.pk)}
    renamed = {"expected_updated_at": row.remote_updated_at.isoformat(), "initial-display_name": "Refund"}
    renamed |= {"display_name": "Mine", "_save": "Save"}
    of_one = {f"{row.pk}-{name}": value for name, value in renamed.items()}
    of_one[f"initial-{row.pk}-display_name"] = "Refund"
    requests = {
        "page": (f"{page}change/", renamed),
        "selected": (f"{url}rename-selected/", chosen | of_one),
        "list": (f"{url}rename-selected/", chosen | of_one | {"stay": "1"}),
        "refresh": (f"{page}refresh/", {}),
        "refresh selected": (url, chosen | {"action": "refresh_selected"}),
    }

    response = admin_client.post(*requests[way])

    refreshes = way.startswith("refresh")
    assert response.status_code == (302 if refreshes else 404)
    assert said(response) == (["“Refund” is up to date."] if refreshes else [])
    assert "Secret" not in text_of(response)
    assert Conversation.objects.get().display_name == "Secret"
    assert remote.count("update") == 0


def test_form_that_is_sent_again_tells_the_name_that_was_given_not_one_that_hides_the_conversation(
    remote, admin_client
):
    url = "/discreet/django_orq/conversation/add/"
    form = fields_of(admin_client.get(url)) | {"display_name": "Refund", "_save": "Save"}
    assert "was added successfully." in said(admin_client.post(url, form))[0]
    remote.rename(Conversation.objects.get().remote_id, "Secret")
    full_run()

    for popup in ({}, {"_popup": "1"}):
        response = admin_client.post(url, form | popup)

        told = text_of(response) + " ".join(said(response))
        assert ("Refund" in told, "Secret" in told) == (True, False)
    assert Conversation.objects.get().display_name == "Secret"


def hidden_meanwhile(remote, row, operation):
    """Give the conversation another name in Orq, and mirror that, before Orq answers the next such request."""

    def rename_and_mirror():
        remote.rename(row.remote_id, "Secret")
        in_thread(lambda: refresh_conversation(row)).join()
        if operation == "retrieve":
            remote.remove(row.remote_id)

    meanwhile(remote, operation, "before", rename_and_mirror)


@pytest.mark.parametrize("way", ["page", "selected"])
def test_deletion_tells_the_name_that_was_seen_not_one_that_hides_the_conversation(remote, admin_client, way):
    row = fetch_conversation(remote_id=remote.add("Refund")["_id"])
    url = "/discreet/django_orq/conversation/"
    hidden_meanwhile(remote, row, "delete")

    path, fields = {
        "page": (f"{url}{row.pk}/delete/", {"post": "yes"}),
        "selected": (f"{url}delete-selected/", {"selected": str(row.pk)}),
    }[way]
    response = admin_client.post(path, fields)

    (told,) = said(response)
    assert ("“Refund”" in told, "deleted" in told, "Secret" in told) == (True, True, False)
    row.refresh_from_db()
    assert (row.display_name, row.deleted_at is not None) == ("Secret", True)


@pytest.mark.parametrize("way", ["page", "selected"])
def test_page_of_a_rename_that_fails_is_not_shown_of_a_conversation_that_a_name_hides(remote, admin_client, way):
    row = fetch_conversation(remote_id=remote.add("Refund")["_id"])
    seen = {"expected_updated_at": row.remote_updated_at.isoformat(), "initial-display_name": "Refund"}
    seen |= {"display_name": "Mine"}
    of_one = {f"{row.pk}-{name}": value for name, value in seen.items()}
    of_one |= {f"initial-{row.pk}-display_name": "Refund", "selected": str(row.pk)}
    hidden_meanwhile(remote, row, "retrieve")

    url = "/discreet/django_orq/conversation/"
    page = (f"{url}{row.pk}/change/", seen | {"_save": "Save"})
    response = admin_client.post(*(page if way == "page" else (f"{url}rename-selected/", of_one)))

    assert (response.status_code, "Secret" in text_of(response)) == (404, False)


def test_operation_that_a_subclass_hides_cannot_be_retried(rows, remote, admin_client):
    remote.fail("delete", status=400)
    operation, _ = create_operation("delete", [ItemRequest(conversation=rows[0])], by=Requester(pk="4711"))
    work_off(operation)

    assert admin_client.post(f"/sales/django_orq/operation/{operation.pk}/retry/").status_code == 404

    assert Operation.objects.get().is_finished


@pytest.mark.parametrize(("workspace", "answer"), [("default", 403), ("sales", 302)])
@pytest.mark.parametrize("verb", ["create", "delete"])
def test_operation_is_retried_only_where_the_user_may_still_do_it(
    two_workspaces, remote, admin_client, admin_user, workspace, answer, verb
):
    row = mirrored("Refund", workspace=workspace)
    remote.fail(verb, status=400)
    operation, _ = create_operation(verb, [ItemRequest(conversation=row)], by=admin_user)
    work_off(operation)
    page = f"/sales/django_orq/operation/{operation.pk}/"
    assert (f"{page}retry/" in text_of(admin_client.get(f"{page}change/"))) == (answer == 302)

    assert admin_client.post(f"{page}retry/").status_code == answer

    assert Operation.objects.get().is_finished == (answer == 403)


def test_deleted_conversation_is_created_again_only_where_the_user_may_create(hidden, admin_client, monkeypatch):
    monkeypatch.delattr(OfSales, "get_queryset")
    for workspace, answer in (("default", 403), ("sales", 302)):
        row = set_columns(Conversation.objects.get(), workspace=workspace)
        assert admin_client.post(f"{SALES}create-again/", {"selected": str(row.pk)}).status_code == answer

    assert Operation.objects.count() == 1


def test_whoever_has_no_workspace_learns_nothing_of_any(hidden, admin_client):
    runs.cancel(hidden)
    listed = admin_client.get("/nobody/django_orq/conversation/")

    assert (listed.context["cl"].workspace, "Last run" in text_of(listed)) == ("", False)
    shown = text_of(admin_client.post("/nobody/django_orq/conversation/add/", {"display_name": "New"}))
    assert 'name="workspace"' in shown
    assert "This field is required." in shown


def test_person_is_offered_by_the_newest_name(remote, admin_client, admin_user):
    for name in ("admin", "anna.meier"):
        admin_user.username = name
        create_conversation(display_name=f"By {name}", by=admin_user)

    shown = text_of(admin_client.get("/sales/django_orq/conversationchange/"))

    assert re.findall(r'<a href="\?actor=\d+">([^<]*)</a>', shown) == ["anna.meier"]


def test_people_of_changes_that_a_subclass_hides_are_not_offered(remote, admin_client):
    for name, by in (("Secret", "informant"), ("Refund", "clerk")):
        create_conversation(display_name=name, by=by)

    shown = text_of(admin_client.get("/sales/django_orq/conversationchange/"))

    assert "clerk" in shown
    assert "informant" not in shown

"""The page that creates several conversations as one operation."""

import re

import pytest
from django.urls import reverse

from django_orq.mirror import operations
from django_orq.models import Conversation, Operation, OperationItem

from .test_admin import user_with
from .test_admin_list import LIST, text_of

pytestmark = pytest.mark.django_db
SEVERAL = reverse("admin:django_orq_conversation_create_several")


def form_of(client, **query):
    text = text_of(client.get(SEVERAL, query))
    return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', text))


def test_one_operation_creates_a_conversation_for_each_line(admin_client, remote):
    assert f'href="{SEVERAL}"' in text_of(admin_client.get(LIST))
    form = form_of(admin_client) | {"names": "Refund 1\r\n\r\n  Refund 2  \nRefund 1"}

    response = admin_client.post(SEVERAL, form)
    again = admin_client.post(SEVERAL, form)

    operation = Operation.objects.get()
    assert response.url == again.url == reverse("admin:django_orq_operation_change", args=[operation.pk])
    assert (operation.verb, operation.total, operation.requested_by) == ("create", 3, "admin")
    operations.work_slice(operation.pk)
    assert sorted(Conversation.objects.values_list("display_name", flat=True)) == ["Refund 1", "Refund 1", "Refund 2"]
    assert len(remote) == 3


def test_form_that_is_filled_in_anew_after_the_back_button_is_another_operation(admin_client, remote):
    form = form_of(admin_client)

    for names in ("Refund 1\nRefund 2", "Refund 3\nRefund 4", "Refund 3\nRefund 4"):
        admin_client.post(SEVERAL, form | {"names": names})

    items = OperationItem.objects.order_by("pk").values_list("name", flat=True)
    assert [*items] == ["Refund 1", "Refund 2", "Refund 3", "Refund 4"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("Refund\n\tA\tB\nInvoice", "Line 2: A name can&#x27;t contain control characters"),
        ("Refund\n" + 101 * "x", "Line 2: A name can have at most 100 characters."),
        ("\n \n", "Write 1 to 1,000 names, one per line."),
        ("\n\nRefund\n" + 101 * "x", "Line 4: A name can have at most 100 characters."),
        ("\u200b", "Line 1: A conversation needs a name."),
        ("x\n" * 1_001, "Write 1 to 1,000 names, one per line."),
    ],
)
def test_bad_names_are_shown_and_nothing_is_sent(admin_client, remote, names, problem):
    response = admin_client.post(SEVERAL, form_of(admin_client) | {"names": names})

    assert response.status_code == 200
    assert problem in text_of(response)
    assert names.splitlines()[0] in text_of(response)  # what was typed is kept
    assert not Operation.objects.exists()
    assert remote.count() == 0


def test_workspace_is_asked_for_if_there_are_several(admin_client, settings):
    settings.ORQ_WORKSPACES = {alias: {"API_KEY": "key"} for alias in ("default", "sales")}

    text = text_of(admin_client.get(SEVERAL, {"_changelist_filters": "workspace=sales"}))
    assert '<option value="sales" selected>' in text
    admin_client.post(SEVERAL, form_of(admin_client) | {"names": "Refund", "workspace": "sales"})
    assert [item.workspace for item in Operation.objects.get().items.all()] == ["sales"]
    refused = admin_client.post(SEVERAL, form_of(admin_client) | {"names": "Refund", "workspace": "nowhere"})
    assert "Select a valid choice" in text_of(refused)


def test_page_needs_the_permission_to_add():
    viewer = user_with("view_conversation", "change_conversation")

    assert "Create several" not in text_of(viewer.get(LIST))
    assert viewer.get(SEVERAL).status_code == viewer.post(SEVERAL, {"names": "x"}).status_code == 403


def test_workspace_of_the_list_is_suggested(admin_client, settings):
    settings.ORQ_WORKSPACES = {alias: {"API_KEY": "key"} for alias in ("archive", "default", "sales")}
    for query, suggested in (({}, "default"), ({"workspace": "sales"}, "sales")):
        listed = text_of(admin_client.get(LIST, query))
        (url,) = re.findall(f'href="({SEVERAL}[^"]*)"', listed)
        for page in (url, url.replace("create-several", "add")):
            assert f'<option value="{suggested}" selected>' in text_of(admin_client.get(page.replace("&amp;", "&")))

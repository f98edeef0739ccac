"""What the pages of conversations say about the project's rows that refer to them."""

import re
from html import unescape

import pytest
from django.contrib import admin
from django.db import connection
from django.urls import path, reverse

from django_orq.admin import ConversationAdmin
from django_orq.admin.references import MAX_COUNTED
from django_orq.models import Conversation

from ..references.models import Bundle, Detail, Reference, TicketReference
from ..scale import rows_read
from .test_admin import text_of, user_with

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
MODELS = (Bundle, Detail, Reference, TicketReference)


def site_of(name: str, *models: type):
    site = admin.AdminSite(name)
    site.register(Conversation, ConversationAdmin)
    site.register(models)
    return path(f"{name}/", site.urls)


urlpatterns = [site_of("admin", *MODELS), site_of("bare")]


@pytest.fixture
def referred(rows):
    """The rows; the first is referred to by each relation, the second by some, and the third by none."""
    first, second, _third = rows
    for row in (first, first, second):
        Reference.objects.create(conversation=row)
    Detail.objects.create(conversation=first)
    TicketReference.objects.create(ticket_id=first.pk)
    Bundle.objects.create().conversations.set([first])
    Bundle.objects.create().conversations.set([first, second])
    Bundle.objects.create().conversations.set([second])
    return rows


def lines_of(response) -> dict[str, str]:
    """The lines of the section, with the URL to which each leads."""
    section = re.search(r"<h2>Referred to by</h2>\s*<ul>(.*?)</ul>", text_of(response), re.DOTALL)
    lines = re.findall(r"<li>(.*?)</li>", section[1]) if section else []
    urls = ("".join(re.findall(r'href="([^"]*)"', line)) for line in lines)
    return {re.sub("<[^>]+>", "", line): unescape(url) for line, url in zip(lines, urls, strict=True)}


def page(row: Conversation, name: str = "change", site: str = "admin") -> str:
    return f"/{site}/django_orq/conversation/{row.pk}/{name}/"


def delete_several(client, rows):
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}
    return client.post("/admin/django_orq/conversation/", chosen)


OF_FIRST = {"Bundles: 2", "Details: 1", "References: 2", "Ticket references (ticket): 1"}


def ids_listed(client, url: str) -> set[int]:
    return {row.pk for row in client.get(url).context["cl"].result_list}


@pytest.mark.parametrize("name", ["change", "delete"])
def test_each_relation_is_counted_and_leads_to_its_rows(referred, admin_client, name):
    lines = lines_of(admin_client.get(page(referred[0], name)))

    assert {*lines} == OF_FIRST
    listed = {line.partition(" ")[0]: ids_listed(admin_client, url) for line, url in lines.items()}
    bundles = Bundle.objects.filter(conversations=referred[0])
    assert listed["Bundles:"] == {bundle.pk for bundle in bundles}
    assert listed["References:"] == {*Reference.objects.filter(conversation=referred[0]).values_list("pk", flat=True)}
    assert {len(found) for found in listed.values()} == {1, 2}


def test_rows_that_refer_to_several_of_the_selected_are_counted_once(referred, admin_client):
    lines = lines_of(delete_several(admin_client, referred))

    assert {*lines} == {"Bundles: 3", "Details: 1", "References: 3", "Ticket references (ticket): 1"}
    assert len(ids_listed(admin_client, lines["Bundles: 3"])) == 3


def test_conversation_to_which_nothing_refers(referred, admin_client):
    assert all(line.endswith(": 0") for line in lines_of(admin_client.get(page(referred[2]))))


def test_many_are_not_counted_and_many_conversations_not_linked(rows, admin_client, monkeypatch):
    Reference.objects.bulk_create([Reference(conversation=rows[0]) for _ in range(MAX_COUNTED + 1)])
    assert "References: 1,000 or more" in lines_of(admin_client.get(page(rows[0])))

    monkeypatch.setattr("django_orq.admin.references.MAX_LINKED", 2)
    assert {*lines_of(delete_several(admin_client, rows)).values()} == {""}


@pytest.mark.parametrize(
    ("site", "permissions", "lines"),
    [
        ("admin", (), set()),
        ("admin", ("view_detail", "change_bundle"), {"Bundles: 2", "Details: 1"}),
        ("bare", (), set()),
        ("bare", ("view_detail",), {"Details: 1"}),
    ],
)
def test_models_that_the_user_may_not_view_are_not_named(referred, site, permissions, lines):
    client = user_with("view_conversation", "delete_conversation", *permissions)

    for name in ("change", "delete"):
        found = lines_of(client.get(page(referred[0], name, site)))
        assert {*found} == lines
        assert all(bool(url) == (site == "admin") for url in found.values())


def test_no_section_on_the_page_that_adds(admin_client):
    assert "Referred to by" not in text_of(admin_client.get(reverse("admin:django_orq_conversation_add")))


@pytest.mark.skipif(connection.vendor != "postgresql", reason="reads the plans of PostgreSQL")
def test_count_reads_a_limited_number_of_rows(rows, admin_client, statements):
    Reference.objects.bulk_create([Reference(conversation=rows[0]) for _ in range(20 * MAX_COUNTED)])
    bundle = Bundle.conversations.through
    Bundle.objects.bulk_create([Bundle() for _ in range(20 * MAX_COUNTED)])
    keys = Bundle.objects.values_list("pk", flat=True)
    bundle.objects.bulk_create([bundle(bundle_id=key, conversation_id=rows[0].pk) for key in keys])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    with statements() as executed:
        admin_client.get(page(rows[0]))

    read = {sql: rows_read(sql) for sql in executed if '"references_' in sql}
    assert len(read) == 4
    assert max(read.values()) <= 3 * MAX_COUNTED, read

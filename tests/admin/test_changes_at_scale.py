"""What the lists of a million changes read, according to PostgreSQL, for the statements of the views."""

from urllib.parse import urlencode

import pytest
from django.db import connection
from django.urls import reverse

from django_orq.admin.lists import MAX_LISTED
from django_orq.models import Conversation, ConversationChange, SyncRun

from ..scale import Shares, fill, fill_changes, rows_read

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.xdist_group("changes"),  # they share a record that takes long to fill
    pytest.mark.skipif(connection.vendor != "postgresql", reason="reads the plans of PostgreSQL"),
]
LIST = reverse("admin:django_orq_conversationchange_changelist")
REST_LIST = "/orq/changes/"
LARGE = 1_000_000
SPARE = 3_000
"""Rows of the newest changes, of which the people are offered, and of a page that is fetched by primary keys."""
MOST = MAX_LISTED + SPARE
MOST_READ_FOR_A_PAGE = 600


@pytest.fixture(scope="module", autouse=True)
def record(django_db_setup, django_db_blocker):
    """A million conversations, and as many changes; few, and the oldest, match some of the filters."""
    with django_db_blocker.unblock():
        fill(LARGE, Shares())
        run = SyncRun.objects.create(workspace="default", mode="full", state="succeeded")
        fill_changes(LARGE, run.pk)
        yield
        fill(0, Shares())
        run.delete()


def assert_little_is_read(executed: list[str], most: int) -> None:
    read = {sql: rows_read(sql) for sql in executed if "django_orq_conversation" in sql}
    assert read
    assert max(read.values()) <= most, read


FILTERS = [
    {},
    {"p": MAX_LISTED // 100},
    {"since": "2000-01-01"},
    {"until": "2000-01-01"},
    {"since": "2000-01-01", "until": "2100-01-01"},
    *({"kind__exact": kind} for kind in ConversationChange.Kind.values),
    *({"origin__exact": origin} for origin in ConversationChange.Origin.values),
    {"actor": "rare"},
    {"actor": "person-1"},
    {"actor": "nobody"},
    {"q": "conv_0"},
    {"q": "conv_zzz"},
    {"run__id__exact": "run"},
    {"run__id__exact": "run", "kind__exact": "restored"},
]


@pytest.mark.parametrize("query", FILTERS, ids=urlencode)
def test_list_reads_no_more_than_it_shows(admin_client, statements, query):
    if "run__id__exact" in query:
        query = {**query, "run__id__exact": SyncRun.objects.get().pk}
    with statements() as executed:
        response = admin_client.get(LIST, query)

    assert response.status_code == 200
    assert "?e=1" not in response.request["QUERY_STRING"]
    assert_little_is_read(executed, MOST)


@pytest.mark.parametrize("term", ["old name 1", "nowhere"])
def test_search_by_name_looks_through_the_newest_and_says_so(admin_client, statements, term):
    with statements() as executed:
        response = admin_client.get(LIST, {"q": term})

    assert "10,000 changes were searched" in response.content.decode()
    assert_little_is_read(executed, 2 * MAX_LISTED + SPARE)


def test_timeline_reads_what_it_shows(admin_client, statements):
    row = Conversation.objects.latest("pk")
    with statements() as executed:
        admin_client.get(reverse("admin:django_orq_conversation_change", args=[row.pk]))

    assert_little_is_read(executed, 50)


REST_FILTERS = [
    {},
    {"since": "2000-01-01T00:00:00Z"},
    {"until": "2000-01-01T00:00:00Z"},
    *({"kind": kind} for kind in ConversationChange.Kind.values),
    *({"origin": origin} for origin in ConversationChange.Origin.values),
    {"actor": "rare"},
    {"actor": "person-1"},
    {"actor": "nobody"},
]


@pytest.mark.parametrize("query", REST_FILTERS, ids=urlencode)
def test_rest_list_reads_a_page(admin_client, statements, query):
    following = None
    for _page in range(2):
        with statements() as executed:
            response = admin_client.get(following or REST_LIST, {} if following else {**query, "page_size": 100})
        assert response.status_code == 200
        assert_little_is_read(executed, MOST_READ_FOR_A_PAGE)
        following = response.json()["next"]


def test_rest_list_of_one_conversation_reads_a_page(admin_client, statements):
    row = Conversation.objects.latest("pk")
    with statements() as executed:
        response = admin_client.get(f"/orq/conversations/{row.remote_id}/changes/", {"page_size": 100})

    assert len(response.json()["results"]) == 100
    assert_little_is_read(executed, MOST_READ_FOR_A_PAGE)

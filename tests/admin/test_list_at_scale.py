"""What the list of a million conversations reads, according to PostgreSQL, for the statements of the views."""

from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from django_orq.admin import plot
from django_orq.admin.lists import MAX_LISTED
from django_orq.admin.plot import MAX_A_DAY
from django_orq.models import Conversation
from django_orq.models.searching import MAX_SEARCHED

from ..scale import Shares, fill, rows_read
from ..walking import configure

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.xdist_group("scale"),  # they share a mirror that takes long to fill
    pytest.mark.skipif(connection.vendor != "postgresql", reason="reads the plans of PostgreSQL"),
]
LIST = reverse("admin:django_orq_conversation_changelist")
AUTOCOMPLETE = reverse("admin:autocomplete")
LARGE = 1_000_000
SPARE = 1_000
"""Rows of sessions and users, and of a page that is fetched by primary keys."""
MOST_SEARCHED = 2 * MAX_SEARCHED + SPARE
"""Each is read once in an index and once in the table."""

WORKSPACE = "CASE WHEN n <= 20 THEN 'tiny' WHEN n % 20 = 0 THEN 'sales' ELSE 'default' END"
# A query that only follows the list's order finds its rows at the very end.
MOSTLY_DELETED = Shares(
    workspace=WORKSPACE,
    deleted="n > 90000",
    missing="(n < 20000 AND n % 1000 = 1)",
    unlisted="(n < 20000 AND n % 1000 = 2)",
)
MOSTLY_MISSING = Shares(
    workspace=WORKSPACE,
    deleted="n BETWEEN 15 AND 40",
    missing="n > 100000",
    unlisted="n BETWEEN 20000 AND 100000",
)


@pytest.fixture(
    scope="module", params=[(LARGE, MOSTLY_DELETED), (LARGE // 5, MOSTLY_MISSING)], ids=["deleted", "missing"]
)
def mirror(request, django_db_setup, django_db_blocker):
    """The number of rows."""
    with django_db_blocker.unblock():
        fill(*request.param)
        yield request.param[0]
        fill(0, Shares())


@pytest.fixture(autouse=True)
def three_workspaces(settings):
    """Without the plot, which has a test of its own."""
    settings.ORQ_WORKSPACES = {key: {"API_KEY": "key", "PLOT": False} for key in ("default", "sales", "tiny")}


def about_conversations(executed) -> list[str]:
    return [sql for sql in executed if "django_orq_conversation" in sql]


WEEK, YEAR = (f"{timezone.now() - timedelta(days=days):%Y-%m-%d}" for days in (6, 365))  # with today, a week
STATES = ("", "live", "unlisted", "missing", "deleted", "any")
WORKSPACES = ("", "default", "sales", "tiny")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workspace", WORKSPACES)
def test_filters_and_search_by_id_read_no_more_than_is_listed(mirror, admin_client, statements, state, workspace):
    some_id = Conversation.objects.values_list("remote_id", flat=True)[mirror // 2]
    queries = [{"created_since": day, "q": term} for day in ("", WEEK, YEAR) for term in ("", some_id[:9])]
    for query in ({"o": "4"}, {"q": some_id}, *queries):
        with statements() as executed:
            response = admin_client.get(LIST, {"state": state, "workspace": workspace, **query})
        assert response.status_code == 200
        assert_little_is_read(executed)


@pytest.mark.parametrize("state", STATES)
def test_order_of_updates_reads_no_more_than_is_listed(mirror, admin_client, statements, state):
    updates = [{"updated_since": WEEK}, {"updated_since": YEAR, "o": "2"}] if not state else []
    for query in ({"o": "3"}, {"o": "-3"}, {"o": "3", "created_since": WEEK}, *updates):
        with statements() as executed:
            assert admin_client.get(LIST, {"state": state, "workspace": "default", **query}).status_code == 200
        assert_little_is_read(executed, most=2 * MAX_LISTED + SPARE)  # in an index, and their rows


def assert_little_is_read(executed: list[str], *, most: int = MAX_LISTED + SPARE) -> None:
    read = {sql: rows_read(sql) for sql in executed if "django_orq_conversation" in sql}
    assert read
    assert max(read.values()) <= most, read


@pytest.mark.parametrize(
    "query", [{"p": MAX_LISTED // 50}, {"p": MAX_LISTED // 50, "workspace": "default", "state": "any"}]
)
def test_last_page_reads_no_more_than_is_listed(mirror, admin_client, statements, query):
    with statements() as executed:
        response = admin_client.get(LIST, query)

    assert len(response.context["cl"].result_list) == 50
    assert_little_is_read(executed)


def test_list_needs_as_many_statements_as_one_of_a_thousand(mirror, admin_client, statements):
    counts = []
    for query in (
        {"workspace": "default"},
        {"workspace": "sales", "created_since": f"{timezone.now() - timedelta(days=7):%Y-%m-%d}"},
    ):
        with statements() as executed:
            response = admin_client.get(LIST, {"state": "any", **query})
        counts.append((len(executed), response.context["cl"].paginator.count))

    (many, listed), (few, rest) = counts
    assert many == few
    assert listed == MAX_LISTED
    assert 100 < rest < 1_000


def test_list_says_that_there_are_more_than_its_pages_offer(mirror, admin_client):
    text = admin_client.get(LIST).content.decode()

    assert "Only the first 10000 are listed." in text
    assert f"{MAX_LISTED + 1}" not in text


@pytest.mark.parametrize("term", ["conversation 1", "nowhere"])
def test_search_by_name_looks_through_the_newest_ones_and_says_so(mirror, admin_client, statements, term):
    with statements() as executed:
        response = admin_client.get(LIST, {"q": term, "state": "any"})

    assert "100,000 conversations were searched" in response.content.decode()
    assert_little_is_read(executed, most=MOST_SEARCHED)


@pytest.mark.parametrize("term", ["", "conv_01", "conversation", "nowhere"])
def test_completion_reads_no_more_than_it_may_offer_or_search(mirror, admin_client, statements, term):
    field = {"app_label": "references", "model_name": "reference", "field_name": "conversation"}
    with statements() as executed:
        response = admin_client.get(AUTOCOMPLETE, {**field, "term": term})

    assert response.json()["pagination"]["more"] == (term != "nowhere")
    by_name = not term.startswith("conv_") and term
    assert_little_is_read(executed, most=MOST_SEARCHED if by_name else MAX_LISTED + SPARE)


@pytest.mark.parametrize("cut", [MAX_A_DAY, 500], ids=["all", "cut off"])
@pytest.mark.parametrize("state", STATES)
def test_plot_reads_no_more_than_it_counts(mirror, admin_client, statements, settings, monkeypatch, state, cut):
    monkeypatch.setattr(plot, "MAX_A_DAY", cut)
    with statements() as without:
        admin_client.get(LIST, {"state": state})
    configure(settings, PLOT=True)
    with statements() as executed:
        response = admin_client.get(LIST, {"state": state})

    (plotting,) = (sql for sql in about_conversations(executed) if "COUNT" in sql and 'remote_id" < ' in sql)
    counted = [bar["count"] for bar in response.context["cl"].plot["bars"]]
    assert len(executed) == len(without) + 1
    assert counted[0] == min(cut, 24 * 60 * 19 // 20)  # one per minute; one of twenty is in another workspace
    assert rows_read(plotting) == sum(counted) + 1


REST_LIST = "/orq/conversations/"
MOST_ON_A_PAGE = 100
MOST_READ_FOR_A_PAGE = 2 * (MOST_ON_A_PAGE + 1)
"""Each is read once in an index and once in the table."""
CREATED = {
    "whenever": {},
    "created since": {"created_after": "2000-01-01T00:00:00Z"},
    "created before": {"created_before": "2100-01-01T00:00:00Z"},
    "created between": {"created_after": "2000-01-01T00:00:00Z", "created_before": "2100-01-01T00:00:00Z"},
}


def assert_page_costs_little(client, statements, **query: str) -> dict[str, object]:
    with statements() as executed:
        response = client.get(REST_LIST, {"page_size": str(MOST_ON_A_PAGE), **query})
    ours = [sql for sql in executed if "django_orq_" in sql]
    assert response.status_code == 200
    assert len(ours) == 2, ours
    (page,) = about_conversations(ours)
    assert rows_read(page) <= MOST_READ_FOR_A_PAGE, page
    return response.json()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workspace", WORKSPACES[1:])
@pytest.mark.parametrize("created", CREATED.values(), ids=CREATED)
def test_rest_page_is_read_off_an_index_wherever_it_is(mirror, admin_client, statements, state, workspace, created):
    query = {"workspace": workspace, **created, **({"state": state} if state else {})}
    first = assert_page_costs_little(admin_client, statements, **query)
    for cursor in cursors_of(pages=(2, 500, 1000), **query) if first["next"] else ():
        assert_page_costs_little(admin_client, statements, **query, cursor=cursor)


def cursors_of(*, pages: tuple[int, ...], workspace: str, state: str = "", **created: str) -> Iterator[str]:
    """Yield the cursor of each of these pages, as the page before it has it, if the list is that long."""
    rows = Conversation.objects.filter(workspace=workspace).order_by("-remote_id")
    if state != "any":
        rows = rows.filter(indexed_state=state) if state else rows.filter(deleted_at=None)
    ids = rows.values_list("remote_id", flat=True)
    for page in pages:
        for remote_id in ids[(page - 1) * MOST_ON_A_PAGE :][:1]:
            yield b64encode(urlencode({"p": remote_id}).encode()).decode()


@pytest.mark.parametrize("page", [1, 500])
@pytest.mark.parametrize("query", ["updated_after", "updated_before", "both"])
def test_rest_page_of_update_times_is_read_off_an_index_wherever_it_is(mirror, admin_client, statements, page, query):
    """Each minute, one was updated."""
    rows = Conversation.objects.filter(workspace="default", deleted_at=None).order_by("-remote_updated_at")
    times = rows.values_list("remote_updated_at", flat=True)
    newest, oldest = times.first(), times.last()
    bounds = {"updated_after": oldest, "updated_before": newest - (newest - oldest) / 2}
    given = {name: time.isoformat() for name, time in bounds.items() if query in (name, "both")}
    start = times.filter(remote_updated_at__lt=bounds["updated_before"]) if "updated_before" in given else times
    cursor = b64encode(urlencode({"p": str(start[page])}).encode()).decode()

    assert_page_costs_little(admin_client, statements, workspace="default", **given, cursor=cursor)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("workspace", WORKSPACES[1:])
def test_rest_page_of_an_id_that_begins_so_is_read_off_an_index(mirror, admin_client, statements, state, workspace):
    some_id = Conversation.objects.values_list("remote_id", flat=True)[mirror // 2]
    query = {"workspace": workspace, **({"state": state} if state else {})}

    for term in (some_id[:9], some_id):
        assert_page_costs_little(admin_client, statements, search=term, **query)


@pytest.mark.parametrize("state", ["", "any"])
def test_rest_search_looks_through_the_newest_ones_and_says_so(mirror, admin_client, statements, state):
    with statements() as executed:
        response = admin_client.get(REST_LIST, {"search": "nowhere", **({"state": state} if state else {})})

    assert len([sql for sql in executed if "django_orq_" in sql]) == 4  # one asks for the index of trigrams
    assert (response.json()["searched_back_to"] is None) is (mirror == LARGE and not state)
    assert_little_is_read(executed, most=MOST_SEARCHED + MAX_SEARCHED // 5)  # some of other workspaces lie between

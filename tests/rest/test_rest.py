"""Conversations over REST: listed, paginated, filtered, searched and retrieved."""

import csv
import io
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from rest_framework.test import APIClient

from django_orq.models import Conversation, SyncRun, searching
from django_orq.payloads import first_id
from django_orq.store.reconcile import reconcile

from ..brokering import messages
from ..resting import ALL, user_with
from ..values import answer, at, conversation, set_columns

pytestmark = pytest.mark.django_db
LIST = "/orq/conversations/"


def remote_id(number: int) -> str:
    return f"conv_{number:026d}"


def fill(count: int, workspace: str = "default") -> None:
    listed = [conversation(remote_id=remote_id(number), display_name=f"No {number}") for number in range(count)]
    reconcile(answer(*listed), workspace=workspace)


def row(number: int) -> Conversation:
    return Conversation.objects.get(remote_id=remote_id(number))


@pytest.fixture
def reader() -> APIClient:
    client = APIClient()
    client.force_authenticate(user_with("view_conversation"))
    return client


@pytest.fixture
def exporter() -> APIClient:
    client = APIClient()
    client.force_authenticate(user_with("view_conversation", "export_conversation", name="exporter"))
    return client


def listed(reader: APIClient, **query: object) -> list[str]:
    response = reader.get(LIST, query)
    assert response.status_code == 200, response.json()
    return [item["remote_id"] for item in response.json()["results"]]


def walk(reader: APIClient, **query: object):
    """Yield the responses of all pages, in order."""
    page = reader.get(LIST, query).json()
    yield page
    while page["next"]:
        page = reader.get(page["next"]).json()
        yield page


class TestPages:
    def test_list_is_newest_first_and_pages_by_cursor(self, reader):
        fill(30)

        first, second = walk(reader)

        assert [item["remote_id"] for item in first["results"]] == [remote_id(number) for number in range(29, 4, -1)]
        assert [item["remote_id"] for item in second["results"]] == [remote_id(number) for number in range(4, -1, -1)]
        assert reader.get(second["previous"]).json()["results"] == first["results"]

    def test_page_size_can_be_asked_for_up_to_a_hundred(self, reader):
        fill(120)

        assert len(listed(reader, page_size=3)) == 3
        assert len(listed(reader, page_size=100)) == 100

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ({}, 2),
            ({"state": "live"}, 2),
            ({"created_after": "2000-01-01"}, 2),
            ({"state": "any"}, 2),
            ({"search": "no 1"}, 3),
            ({"search": "no 1", "state": "any"}, 3),
            ({"search": "conv_0"}, 2),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("most", [5, 1000])
    def test_page_costs_few_statements(self, reader, statements, query, count, most, monkeypatch):
        monkeypatch.setattr(searching, "MAX_SEARCHED", most)
        fill(30)
        with statements() as executed:
            reader.get(LIST, query)

        ours = [sql for sql in executed if "django_orq_" in sql and "auth_" not in sql]
        assert len(ours) == count

    @pytest.mark.parametrize("query", [{}, {"state": "any"}, {"state": "live"}], ids=str)
    def test_walk_yields_each_survivor_once_while_others_come_and_go(self, reader, query):
        fill(60)
        created, deleted, seen = 1000, iter(range(59, -1, -7)), []
        for page in walk(reader, page_size=7, **query):
            seen += [item["remote_id"] for item in page["results"]]
            reconcile(answer(conversation(remote_id=remote_id(created))), workspace="default")
            created += 1
            for gone in (next(deleted, 0), next(deleted, 0)):
                delete(gone)

        survivors = {row.remote_id for row in Conversation.objects.live() if row.remote_id < remote_id(1000)}
        assert len(seen) == len(set(seen))
        assert survivors <= set(seen)
        assert seen == sorted(seen, reverse=True)


def delete(number: int) -> None:
    set_columns(row(number), deleted_at=at(5))


class TestFilters:
    @pytest.fixture(autouse=True)
    def one_of_each_state(self):
        fill(4)
        set_columns(row(1), missing_since=at(1), confirmed_at=at(2))
        set_columns(row(2), missing_since=at(1))
        set_columns(row(3), deleted_at=at(5))

    def test_deleted_ones_are_listed_only_if_asked_for(self, reader):
        numbers = {
            "": (2, 1, 0),
            "live": (0,),
            "unlisted": (1,),
            "missing": (2,),
            "deleted": (3,),
            "any": (3, 2, 1, 0),
        }

        for state, those in numbers.items():
            assert listed(reader, state=state) == list(map(remote_id, those))
        assert [len(page["results"]) for page in walk(reader, state="any", page_size=3)] == [3, 1]

    def test_each_can_be_retrieved_with_its_state(self, reader):
        pages = [reader.get(f"{LIST}{remote_id(number)}/", {"state": "live"}) for number in range(4)]

        assert [page.json()["state"] for page in pages] == ["live", "unlisted", "missing", "deleted"]

    def test_filtered_list_is_exported(self, reader, exporter, monkeypatch):
        monkeypatch.setattr("django_orq.sync.export.CHUNK", 1)
        response = exporter.get(LIST, {"format": "csv", "state": "any"})

        assert response["Content-Type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert [row["state"] for row in rows] == ["deleted", "missing", "unlisted", "live"]
        assert rows[-1]["remote_id"] == remote_id(0)

    def test_export_needs_its_permission_and_errors_are_json(self, reader, exporter):
        refused = reader.get(LIST, {"format": "csv"})
        invalid = exporter.get(LIST, {"format": "csv", "state": "nonsense"})

        assert (refused.status_code, refused["Content-Type"]) == (403, "application/json")
        assert (invalid.status_code, invalid["Content-Type"]) == (400, "application/json")

    def test_unknown_parameter_is_an_error_that_names_the_known_ones(self, reader):
        response = reader.get(LIST, {"created_afer": "2026-01-01"})

        assert response.status_code == 400
        assert "created_after" in response.json()["errors"]["created_afer"]

    def test_order(self, reader):
        for number, minute in enumerate((3, 1, 2)):
            set_columns(row(number), remote_updated_at=at(minute))

        orders = {"created": (0, 1, 2), "-created": (2, 1, 0), "updated": (1, 2, 0), "-updated": (0, 2, 1)}
        for ordering, numbers in orders.items():
            assert listed(reader, ordering=ordering) == list(map(remote_id, numbers))
            pages = walk(reader, ordering=ordering, page_size=1)
            assert [page["results"][0]["remote_id"] for page in pages] == list(map(remote_id, numbers))
        for query in (
            {"state": "live", "ordering": "updated"},
            {"ordering": "created", "updated_after": at(0).isoformat()},
        ):
            assert reader.get(LIST, query).status_code == 400


class TestTimes:
    @pytest.fixture(autouse=True)
    def one_a_day(self):
        days = [datetime(2026, 3, day, 12, tzinfo=UTC) for day in range(1, 6)]
        rows = [
            conversation(remote_id=first_id(day), created_at=day, updated_at=day + timedelta(hours=1)) for day in days
        ]
        reconcile(answer(*rows), workspace="default")

    @pytest.mark.parametrize(
        ("query", "days"),
        [
            ({"created_after": "2026-03-03T12:00:00Z"}, [5, 4, 3]),
            ({"created_before": "2026-03-03T12:00:00Z"}, [2, 1]),
            ({"created_after": "2026-03-02T12:00:00.001Z", "created_before": "2026-03-04T14:00:00+02:00"}, [3]),
            ({"updated_after": "2026-03-04T13:00:00Z"}, [5, 4]),
            ({"updated_after": "2026-03-01", "updated_before": "2026-03-01T13:00:01Z"}, [1]),
            ({"created_after": "0001-01-02", "updated_after": "0001-01-02"}, [5, 4, 3, 2, 1]),
            ({"created_before": "9999-12-31", "updated_before": "9999-12-31T23:59:59Z"}, [5, 4, 3, 2, 1]),
            ({"created_after": "9999-12-31T23:59:59Z"}, []),
        ],
        ids=str,
    )
    def test_range_includes_its_beginning_and_not_its_end(self, reader, query, days):
        results = reader.get(LIST, query).json()["results"]
        assert [datetime.fromisoformat(item["remote_created_at"]).day for item in results] == days


class TestUpdateTimes:
    """A range of update times is listed in the order of these."""

    @pytest.fixture(autouse=True)
    def some(self):
        fill(9)
        for number, minute in enumerate((0, 5, 5, 5, 2, 3, 9, 5, 5)):
            set_columns(row(number), remote_updated_at=at(minute))

    @pytest.mark.parametrize("page_size", [1, 2, 3, 9])
    def test_pages_follow_the_update_times_there_and_back(self, reader, page_size):
        query = {"updated_after": at(2).isoformat(), "updated_before": at(9).isoformat(), "page_size": page_size}
        pages = [reader.get(LIST, query).json()]
        while url := pages[-1]["next"]:
            pages.append(reader.get(url).json())

        there = [item["remote_id"] for page in pages for item in page["results"]]
        assert there == [remote_id(number) for number in (8, 7, 3, 2, 1, 5, 4)]
        back = [pages[-1]]
        while url := back[-1]["previous"]:
            back.append(reader.get(url).json())
        assert {item["remote_id"] for page in back for item in page["results"]} == {*there}

    @pytest.mark.parametrize("state", ["live", "any"])
    @pytest.mark.parametrize("name", ["updated_after", "updated_before"])
    def test_state_and_update_times_are_not_filtered_together(self, reader, state, name):
        response = reader.get(LIST, {"state": state, name: at(2).isoformat()})

        assert response.status_code == 400
        assert response.json()["errors"].keys() == {"state"}

    def test_search_keeps_its_own_order(self, reader):
        assert listed(reader, search="no", updated_after=at(5).isoformat()) == [
            remote_id(number) for number in (8, 7, 6, 3, 2, 1)
        ]

    @pytest.mark.parametrize("position", ["2026-02-31 00:00:00+00:00", "2026-03-01", "conv_", "0001-01-01", "\0"])
    def test_altered_position_is_refused(self, reader, position):
        cursor = b64encode(urlencode({"p": position}).encode()).decode()

        response = reader.get(LIST, {"updated_after": at(2).isoformat(), "cursor": cursor})

        assert (response.status_code, response.json()["code"]) == (404, "invalid_cursor")


class TestSearch:
    @pytest.fixture(autouse=True)
    def some(self):
        fill(12)

    def test_parts_of_the_name_or_the_beginning_of_an_id_are_found_as_the_filters_leave_them(self, reader):
        set_columns(row(10), deleted_at=at(5))

        assert listed(reader, search="no 1") == [remote_id(11), remote_id(1)]
        assert listed(reader, search="no 1", state="deleted") == [remote_id(10)]
        assert listed(reader, search=remote_id(11).upper()[:-1], state="any") == [remote_id(11), remote_id(10)]

    @pytest.mark.parametrize("marks", ["'", '"', '""', ",", "',"])
    def test_quotation_marks_and_commas_alone_are_part_of_a_name(self, reader, marks):
        set_columns(row(3), display_name=f"Refund {marks} paid")

        assert listed(reader, search=marks) == [remote_id(3)]

    @pytest.mark.parametrize("most", range(1, 14))
    @pytest.mark.parametrize("state", ["", "any"])
    def test_bound_that_the_list_reads_is_the_one_of_the_admin(self, reader, monkeypatch, most, state):
        monkeypatch.setattr(searching, "MAX_SEARCHED", most)
        set_columns(row(11), deleted_at=at(5))

        page = reader.get(LIST, {"search": "no", "state": state}).json()

        looked_through = [number for number in range(11, -1, -1) if state or number != 11]
        assert [item["remote_id"] for item in page["results"]] == [remote_id(n) for n in looked_through[:most]]
        assert (page["searched_back_to"] is None) is (most >= len(looked_through))
        found = page["results"]
        while page["search_older"]:
            page = reader.get(page["search_older"]).json()
            found += page["results"]
        assert [item["remote_id"] for item in found] == list(map(remote_id, looked_through))

    def test_times_are_in_the_time_zone_of_all_others(self, reader, monkeypatch, settings):
        settings.TIME_ZONE = "Asia/Tokyo"
        monkeypatch.setattr(searching, "MAX_SEARCHED", 3)

        assert reader.get(LIST, {"search": "no 1"}).json()["searched_back_to"] == "1970-01-01T09:00:00+09:00"


class TestFreshness:
    def test_list_says_when_the_newest_complete_runs_began(self, reader):
        for mode, started in (("incremental", at(60)), ("full", at(0)), ("full", at(-60))):
            times = {"started_at": started, "finished_at": started}
            SyncRun.objects.create(workspace="default", mode=mode, state="succeeded", is_complete=True, **times)
        SyncRun.objects.create(workspace="default", mode="full", state="running", started_at=at(120))

        for query in ({}, {"search": "no"}):
            assert reader.get(LIST, query).json()["freshness"] == {
                "last_incremental": "2026-03-01T12:01:00Z",
                "last_full": "2026-03-01T12:00:00Z",
            }


def test_conversation_shows_its_values(reader):
    fill(1)

    assert reader.get(f"{LIST}{remote_id(0)}/").json() == {
        "workspace": "default",
        "remote_id": remote_id(0),
        "display_name": "No 0",
        "state": "live",
        "remote_created_at": "2026-03-01T12:00:00Z",
        "remote_updated_at": "2026-03-01T12:00:00Z",
        "created_by_id": "user-1",
        "updated_by_id": None,
        "metadata": {"model": "gpt"},
        "extra": {"projectId": "p-1"},
        "mirrored_at": "2026-03-01T12:01:41Z",
        "missing_since": None,
        "confirmed_at": None,
        "deleted_at": None,
    }


def test_workspaces_are_kept_apart(reader, settings):
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": "key"}, "other": {"API_KEY": "key"}}
    fill(2)
    fill(1, workspace="other")

    assert len(listed(reader)) == 2
    assert len(listed(reader, workspace="other")) == 1
    assert reader.get(f"{LIST}{remote_id(1)}/", {"workspace": "other"}).status_code == 404


@pytest.mark.parametrize(
    ("configured", "status"), [(["other"], 200), (["default", "other"], 200), (["a", "other"], 404)]
)
def test_workspace_can_be_left_out_if_it_is_the_only_one_or_the_default(reader, settings, configured, status):
    settings.ORQ_WORKSPACES = {alias: {"API_KEY": "key"} for alias in configured}
    fill(1, workspace=configured[0])

    for url in (LIST, f"{LIST}{remote_id(0)}/"):
        response = reader.get(url)
        assert response.status_code == status
        assert status == 200 or response.json()["code"] == "unknown_workspace"


def test_pages_for_people_can_be_browsed():
    fill(1)
    SyncRun.objects.create(pk=1, workspace="default", mode="full", slot="default:full")
    client = APIClient()
    client.force_authenticate(user_with(*ALL))
    row, run = f"{LIST}{remote_id(0)}/", "/orq/sync-runs/1/"

    changes = ("/orq/changes/", f"{row}changes/")
    for url in (*changes, LIST, row, f"{row}refresh/", "/orq/sync-runs/", run, f"{run}approve/", f"{run}cancel/"):
        response = client.get(url, headers={"Accept": "text/html"})

        page = response.content.decode()
        assert response.status_code in (200, 405)
        assert "<h1>" in page
        assert ('name="display_name"' in page) is (url == LIST)


def test_run_started_within_a_transaction_is_handed_over_once_that_is_committed(
    settings, queue, django_capture_on_commit_callbacks
):
    """As in a project's tests, which are rolled back."""
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": "key"}}
    client = APIClient()
    client.force_authenticate(user_with(*ALL))

    with django_capture_on_commit_callbacks(execute=True):
        response = client.post("/orq/sync-runs/", {"mode": "full"}, format="json")
        assert queue.qsize() == 0

    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert messages(queue) == [("django_orq.walk_conversations", [response.json()["id"]])]

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from django_orq.models import Conversation
from django_orq.reconcile import reconcile

from .values import answer, at, conversation, set_columns

pytestmark = pytest.mark.django_db
LIST = "/orq/conversations/"


def remote_id(number: int) -> str:
    return f"conv_{number:026d}"


def fill(count: int, workspace: str = "default") -> None:
    listed = [conversation(remote_id=remote_id(number), display_name=f"No {number}") for number in range(count)]
    reconcile(answer(*listed), workspace=workspace)


def client_with(*permissions: str) -> APIClient:
    user = User.objects.create_user("agent")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = APIClient()
    client.force_authenticate(user)
    return client


@pytest.fixture
def reader() -> APIClient:
    return client_with("view_conversation")


def test_anonymous_callers_are_refused():
    fill(1)

    assert APIClient().get(LIST).status_code in (401, 403)
    assert APIClient().get(f"{LIST}{remote_id(0)}/").status_code in (401, 403)


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_reading_needs_the_view_permission(method):
    fill(1)
    client = client_with("add_conversation", "change_conversation", "delete_conversation")

    assert getattr(client, method)(LIST).status_code == 403
    assert getattr(client, method)(f"{LIST}{remote_id(0)}/").status_code == 403


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_written(reader, method):
    fill(1)

    assert getattr(reader, method)(LIST, {}).status_code in (403, 405)
    assert getattr(reader, method)(f"{LIST}{remote_id(0)}/", {}).status_code in (403, 405)


def test_list_is_newest_first_and_pages_by_cursor(reader):
    fill(30)

    first = reader.get(LIST).json()
    second = reader.get(first["next"]).json()

    assert [item["remote_id"] for item in first["results"]] == [remote_id(number) for number in range(29, 4, -1)]
    assert [item["remote_id"] for item in second["results"]] == [remote_id(number) for number in range(4, -1, -1)]
    assert second["next"] is None


def test_page_size_can_be_asked_for_up_to_a_hundred(reader):
    fill(120)

    assert len(reader.get(LIST, {"page_size": 3}).json()["results"]) == 3
    assert len(reader.get(LIST, {"page_size": 500}).json()["results"]) == 100


def test_page_costs_one_statement(reader, statements):
    fill(30)
    with statements() as executed:
        reader.get(LIST)

    assert len([sql for sql in executed if "django_orq_conversation" in sql]) == 1


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
        "mirrored_at": "2026-03-01T12:01:41Z",
        "deleted_at": None,
    }


def test_deleted_conversation_is_not_listed_but_can_be_retrieved(reader):
    fill(2)
    set_columns(Conversation.objects.get(remote_id=remote_id(0)), deleted_at=at(5))

    assert [item["remote_id"] for item in reader.get(LIST).json()["results"]] == [remote_id(1)]
    assert reader.get(f"{LIST}{remote_id(0)}/").json()["state"] == "deleted"


def test_workspaces_are_kept_apart(reader):
    fill(2)
    fill(1, workspace="other")

    assert len(reader.get(LIST).json()["results"]) == 2
    assert len(reader.get(LIST, {"workspace": "other"}).json()["results"]) == 1
    assert reader.get(f"{LIST}{remote_id(1)}/", {"workspace": "other"}).status_code == 404


def test_unknown_conversation_is_404(reader):
    assert reader.get(f"{LIST}{remote_id(7)}/").status_code == 404


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (LIST, {"workspace": "\0"}, 400),
        (f"{LIST}conv_%00/", {}, 404),
        (LIST, {"cursor": "cD0lMDA="}, 404),
        (LIST, {"cursor": "rubbish"}, 404),
    ],
)
def test_rubbish_in_the_url_is_the_callers_mistake(reader, path, query, status):
    fill(1)

    assert reader.get(path, query).status_code == status

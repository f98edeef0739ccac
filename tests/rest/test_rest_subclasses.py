"""Viewsets as projects subclass them, over real sockets: what they leave out stays out, what they show is shown."""

import pytest

from django_orq.mirror import fetch_conversation
from django_orq.models import Conversation

from ..resting import ALL, Program, error_of, user_with
from ..subclassing.views import HIDDEN, OTHERS, SECRET

pytestmark = pytest.mark.django_db(transaction=True)
OWN, ONE, NAMELESS = "/own/", "/one/", "/nameless/"


@pytest.fixture(autouse=True)
def own_addresses(settings):
    settings.ROOT_URLCONF = "tests.subclassing.urls"


@pytest.fixture
def program(remote, live_server, transactional_db):
    with Program(live_server.url, user=user_with(*ALL)) as program:
        yield program


def mirrored(remote, name: str) -> Conversation:
    row = fetch_conversation(remote_id=remote.add(name)["_id"])
    remote.clear_requests()
    return row


out_of_reach = pytest.mark.parametrize(
    ("name", "status", "code"),
    [(HIDDEN, 404, "not_found"), (OTHERS, 404, "not_found"), (SECRET, 403, "permission_denied")],
)


class TestRowsLeftOut:
    """By the queryset, by a filter, and by a permission on single rows."""

    @out_of_reach
    @pytest.mark.parametrize("verb", ["retrieve", "rename", "delete", "refresh", "fetch"])
    def test_known_row_is_refused_before_orq_is_asked(self, program, remote, name, status, code, verb):
        row = mirrored(remote, name)
        page = f"{OWN}{row.remote_id}/"
        response = {
            "retrieve": lambda: program.get(page),
            "rename": lambda: program.patch(page, json={"display_name": "Mine"}),
            "delete": lambda: program.delete(page),
            "refresh": lambda: program.post(f"{page}refresh/"),
            "fetch": lambda: program.post(f"{OWN}fetch/", json={"remote_id": row.remote_id}),
        }[verb]()

        assert response.status_code == status
        assert error_of(response)["code"] == code
        assert name not in response.text
        assert remote.count() == 0

    @out_of_reach
    def test_new_one_is_mirrored_and_not_shown(self, program, remote, name, status, code):
        remote_id = remote.add(name)["_id"]

        response = program.post(f"{OWN}fetch/", json={"remote_id": remote_id})

        assert response.status_code == status
        assert error_of(response)["code"] == code
        assert name not in response.text
        assert Conversation.objects.get().display_name == name

    @out_of_reach
    def test_one_that_is_renamed_to_be_left_out_is_not_shown_by_a_fetch(self, program, remote, name, status, code):
        row = mirrored(remote, "Ours")
        remote.rename(row.remote_id, name)

        response = program.post(f"{OWN}fetch/", json={"remote_id": row.remote_id})

        assert response.status_code == status
        assert name not in response.text

    def test_others_are_reached_by_every_verb_whatever_the_list_is_filtered_by(self, program, remote):
        row = mirrored(remote, "Ours")
        query = {"state": "deleted", "search": "nothing", "created_before": "2000-01-01"}
        page = f"{OWN}{row.remote_id}/"

        answers = [
            program.get(page, params=query),
            program.patch(page, params=query, json={"display_name": "Mine"}),
            program.post(f"{page}refresh/", params=query),
            program.post(f"{OWN}fetch/", params=query, json={"remote_id": row.remote_id}),
            program.delete(page, params=query),
            program.get(page, params=query),
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204, 200]


class TestFieldsOfTheProjectsOwn:
    @pytest.mark.parametrize("url", [OWN, ONE])
    def test_every_answer_shows_a_row_with_them(self, program, remote, url):
        created = program.post(url, json={"display_name": "Refund", "note": "ours alone"})
        page = f"{url}{created.json()['remote_id']}/"
        answers = [
            created,
            program.get(page),
            program.post(f"{page}refresh/"),
            program.post(f"{url}fetch/", json={"remote_id": created.json()["remote_id"]}),
        ]

        shown = {"remote_id": created.json()["remote_id"], "display_name": "Refund", "shouted": "REFUND"}
        assert [answer.json() for answer in answers] == [shown] * 4

    @pytest.mark.parametrize("url", [OWN, ONE])
    def test_rename_shows_them_beside_what_came_between(self, program, remote, url):
        row = mirrored(remote, "Refund")

        response = program.patch(f"{url}{row.remote_id}/", json={"display_name": "Paid", "note": "ours alone"})

        assert (response.status_code, response.json()) == (
            200,
            {
                "remote_id": row.remote_id,
                "display_name": "Paid",
                "shouted": "PAID",
                "replaced": None,
                "overtaken_by": None,
            },
        )

    def test_what_is_said_of_one_action_leaves_the_others_as_they_are(self, program, remote):
        row = mirrored(remote, "Refund")
        seen = row.remote_updated_at.isoformat()
        remote.rename(row.remote_id, "Somebody’s")

        listed = program.get(OWN).json()["results"]
        renamed = program.patch(f"{OWN}{row.remote_id}/", json={"display_name": "Mine", "expected_updated_at": seen})

        assert listed == [{"display_name": "Refund"}]
        assert (renamed.status_code, renamed.json()["code"]) == (409, "conversation_changed")

    def test_serializer_that_takes_no_name_is_told_so_rather_than_failing(self, program, remote):
        response = program.post(NAMELESS, json={"display_name": "Refund"})

        assert response.status_code == 400
        assert error_of(response)["code"] == "invalid_name"
        assert remote.count() == 0

"""A project's subclasses use REST framework's own hooks: what they exclude stays excluded, what they add is shown."""

from typing import Any

import pytest
from rest_framework import filters, permissions, serializers
from rest_framework.routers import SimpleRouter

from django_orq.mirror import fetch_conversation
from django_orq.models import Conversation
from django_orq.rest.serializers import ConversationSerializer
from django_orq.rest.views import ConversationViewSet

from ..resting import ALL, Program, error_of, user_with

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]
HIDDEN, OTHERS, SECRET = "Hidden", "Others’", "Secret"
OWN = "/own/"


class NothingSecret(permissions.BasePermission):
    def has_object_permission(self, request: Any, view: Any, row: Any) -> bool:
        return bool(row.display_name != SECRET)


class OursAlone(filters.BaseFilterBackend):
    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        return queryset.exclude(display_name=OTHERS)


class Shouting(ConversationSerializer):
    shouted = serializers.SerializerMethodField()
    note = serializers.CharField(write_only=True, required=False)

    class Meta(ConversationSerializer.Meta):
        fields = ("remote_id", "display_name", "shouted", "note")

    def get_shouted(self, row: Any) -> str:
        return str(row.display_name).upper()


class OwnConversations(ConversationViewSet):
    queryset = Conversation.objects.exclude(display_name=HIDDEN)
    serializer_class = Shouting
    permission_classes = (*ConversationViewSet.permission_classes, NothingSecret)
    filter_backends = (*ConversationViewSet.filter_backends, OursAlone)
    noted: list[Any] = []  # noqa: RUF012 # as all instances are asked for

    def perform_create(self, serializer: Any) -> None:
        super().perform_create(serializer)
        self.noted.append((serializer.instance.remote_id, serializer.validated_data["note"]))


router = SimpleRouter()
router.register("own", OwnConversations, basename="own")
urlpatterns = router.urls


@pytest.fixture
def program(remote, live_server, transactional_db):
    with Program(live_server.url, user=user_with(*ALL)) as program:
        yield program


def mirrored(remote, name: str) -> Conversation:
    row = fetch_conversation(remote_id=remote.add(name)["_id"])
    remote.clear_requests()
    return row


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("name", "status", "code"),
    [(HIDDEN, 404, "not_found"), (OTHERS, 404, "not_found"), (SECRET, 403, "permission_denied")],
)
def test_row_that_is_left_out_is_out_of_reach_of_every_verb(program, remote, name, status, code, is_known):
    """Excluded by the queryset, a filter or an object permission; if it is mirrored, Orq is not asked."""
    remote_id = mirrored(remote, name).remote_id if is_known else remote.add(name)["_id"]
    page = f"{OWN}{remote_id}/"
    responses = [program.post(f"{OWN}fetch/", json={"remote_id": remote_id})]
    assert remote.count() == (0 if is_known else 1)
    responses += [
        program.get(page),
        program.patch(page, json={"display_name": "Mine"}),
        program.delete(page),
        program.post(f"{page}refresh/"),
    ]

    assert {response.status_code for response in responses} == {status}
    assert {error_of(response)["code"] for response in responses} == {code}
    assert not any(name in response.text for response in responses)
    assert remote.count() == (0 if is_known else 1)


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [(HIDDEN, 404, "not_found"), (OTHERS, 404, "not_found"), (SECRET, 403, "permission_denied")],
)
@pytest.mark.parametrize("verb", ["fetch", "refresh", "rename"])
def test_one_that_is_renamed_in_orq_to_be_left_out_is_not_shown(program, remote, verb, name, status, code):
    row = mirrored(remote, "Ours")
    remote.rename(row.remote_id, name)
    page = f"{OWN}{row.remote_id}/"
    requests = {
        "fetch": lambda: program.post(f"{OWN}fetch/", json={"remote_id": row.remote_id}),
        "refresh": lambda: program.post(f"{page}refresh/"),
        "rename": lambda: program.patch(page, json={"display_name": "Mine"}),
    }

    response = requests[verb]()

    assert (response.status_code, error_of(response)["code"]) == (status, code)
    assert name not in response.text
    assert Conversation.objects.get().display_name == name
    assert remote.count("update") == 0


def test_every_answer_shows_the_fields_of_its_serializer_whatever_the_list_is_filtered_by(program, remote):
    query = {"state": "deleted", "search": "nothing", "created_before": "2000-01-01"}
    created = program.post(OWN, json={"display_name": "Refund", "note": "ours alone"}).json()
    page = f"{OWN}{created['remote_id']}/"
    answers = [
        program.get(page, params=query).json(),
        program.post(f"{page}refresh/", params=query).json(),
        program.post(f"{OWN}fetch/", params=query, json={"remote_id": created["remote_id"]}).json(),
    ]
    renamed = program.patch(page, params=query, json={"display_name": "Paid"}).json()

    assert created == {"remote_id": created["remote_id"], "display_name": "Refund", "shouted": "REFUND"}
    assert answers == [created] * 3
    paid = {"display_name": "Paid", "shouted": "PAID"}
    assert renamed == {**created, **paid, "replaced": None, "overtaken_by": None}
    assert program.get(OWN).json()["results"] == [{**created, **paid}]
    assert OwnConversations.noted[-1] == (created["remote_id"], "ours alone")

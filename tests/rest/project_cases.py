"""The project's URLs, and what holds there besides; ``test_rest_settings`` runs it."""

import pytest
from django.urls import include, path
from rest_framework.test import APIClient

from django_orq.models import Conversation
from django_orq.rest import urls

from ..resting import ALL, user_with
from ..values import REMOTE_ID, set_columns
from .test_rest_permissions import endpoints_of, rows, url_of  # noqa: F401 # a fixture

pytestmark = pytest.mark.django_db
urlpatterns = [path("", include("tests.urls")), path("<version>/orq/", include("django_orq.rest.urls", "versioned"))]
LIST = "/orq/conversations/"


def client_of(name: str) -> APIClient:
    client = APIClient()
    client.force_authenticate(user_with(*ALL, name=name))
    return client


@endpoints_of(urls.urlpatterns)
def test_permission_of_the_project_applies_to_every_method_of_every_endpoint(pattern, method):
    assert getattr(client_of("barred"), method)(url_of(pattern)).status_code == 403


def test_permission_of_the_project_on_objects_applies_before_a_request_to_orq(remote):
    set_columns(Conversation.objects.get(), display_name="Secret")
    agent = client_of("agent")

    assert agent.delete(f"{LIST}{REMOTE_ID}/").status_code == 403
    assert agent.post(f"{LIST}fetch/", {"remote_id": REMOTE_ID}).status_code == 403
    assert remote.count() == 0


def test_links_and_the_name_of_errors_are_the_projects():
    agent = client_of("agent")

    assert agent.get(f"/v2{LIST}").status_code == 200
    assert type(agent.get("/orq/sync-runs/").json()["results"][0]["pages"]) is int
    assert agent.post(LIST, ["Refund"], format="json").json()["errors"].keys() == {"__all__"}

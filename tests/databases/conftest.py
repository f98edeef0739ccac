from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from rest_framework.test import APIClient

from django_orq.models import Conversation

from ..admin.test_admin import mirrored
from .statements import Heard, heard

# They run with their own settings, through test_databases.
collect_ignore_glob = [] if "replica" in django_settings.DATABASES else ["test_*.py"]


@pytest.fixture
def told() -> Iterator[Heard]:
    """The statements that each database has received so far."""
    with heard() as told:
        yield told


@pytest.fixture(autouse=True)
def apart(told) -> Iterator[None]:
    """Our tables are in one database, all others in another."""
    yield
    assert told.ours_in("default") == []
    assert told.of_the_rest_in("orq") == []


@pytest.fixture
def rows(remote) -> list[Conversation]:
    """Three conversations, newest first."""
    return [mirrored(remote, name) for name in ("One", "Two", "Three")][::-1]


@pytest.fixture
def reader(admin_user) -> APIClient:
    """A REST client that has all permissions."""
    client = APIClient()
    client.force_authenticate(admin_user)
    return client

from collections.abc import Iterator

import pytest
from django.conf import settings as django_settings
from rest_framework.test import APIClient

from .statements import Heard, heard

# They run with settings of their own: test_databases sees to it.
collect_ignore_glob = [] if "replica" in django_settings.DATABASES else ["test_*.py"]


@pytest.fixture
def told() -> Iterator[Heard]:
    """What each database has been told so far."""
    with heard() as told:
        yield told


@pytest.fixture
def reader(admin_user) -> APIClient:
    """A program at the REST door that may do everything."""
    client = APIClient()
    client.force_authenticate(admin_user)
    return client

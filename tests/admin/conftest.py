"""What the tests of the admin share."""

import pytest
from django.db import connections


@pytest.fixture
def atomic_requests(request, monkeypatch, transactional_db) -> bool:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)
    return request.param


@pytest.fixture
def two_workspaces(settings, remote):
    options = settings.ORQ_WORKSPACES["default"]
    settings.ORQ_WORKSPACES = {"default": options, "sales": options}
    return remote

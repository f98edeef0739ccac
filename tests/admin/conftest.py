"""Fixtures for the tests of the admin."""

from copy import deepcopy

import pytest
from django.db import connections


class UndefinedVariable(Exception):
    pass


class _Raise(str):
    """A ``string_if_invalid`` that nobody overlooks."""

    def __mod__(self, variable: object) -> str:
        raise UndefinedVariable(variable)


@pytest.fixture(autouse=True)
def all_variables_are_defined(settings) -> None:
    """In the templates of every page that any test here asks for."""
    settings.TEMPLATES = deepcopy(settings.TEMPLATES)
    settings.TEMPLATES[0]["OPTIONS"]["string_if_invalid"] = _Raise("%s")


@pytest.fixture
def atomic_requests(request, monkeypatch, transactional_db) -> bool:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", request.param)
    return request.param


@pytest.fixture
def two_workspaces(settings, remote):
    options = settings.ORQ_WORKSPACES["default"]
    settings.ORQ_WORKSPACES = {"default": options, "sales": options}
    return remote

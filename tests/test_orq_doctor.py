import io

import pytest
from django.core.management import CommandError, call_command

from .walking import configure


def orq_doctor() -> str:
    stdout = io.StringIO()
    call_command("orq_doctor", stdout=stdout, no_color=True)
    return stdout.getvalue()


def test_all_is_well(remote):
    for number in range(3):
        remote.add(f"Ticket {number}")

    output = orq_doctor()

    for finding in ("the API key is accepted", "the list answers", "the cursor advances", "All is well."):
        assert finding in output
    assert {request.method for request in remote.requests} == {"GET"}


@pytest.mark.parametrize(("count", "finding"), [(0, "it is empty"), (1, "too short to try a cursor")])
def test_short_list_is_well_too(remote, count, finding):
    for number in range(count):
        remote.add(f"Ticket {number}")

    assert finding in orq_doctor()


def test_refused_key_is_said(remote, settings):
    configure(settings, API_KEY="another")

    with pytest.raises(CommandError, match="API_KEY"):
        orq_doctor()


def test_ignored_cursor_names_the_style(remote):
    for number in range(3):
        remote.add(f"Ticket {number}")
    remote.ignore_cursor = True

    with pytest.raises(CommandError, match="API_STYLE 'snake'"):
        orq_doctor()


def test_server_that_is_down_is_said(remote):
    remote.stop()

    with pytest.raises(CommandError, match="could not be reached"):
        orq_doctor()


def test_missing_configuration_says_what_to_write(settings):
    settings.ORQ_WORKSPACES = {}

    with pytest.raises(CommandError, match="Set ORQ_API_KEY"):
        orq_doctor()

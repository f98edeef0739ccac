"""The plot above the list: the conversations created on each of the last 30 days."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_orq.admin import plot
from django_orq.models import Conversation
from django_orq.payloads import first_id
from django_orq.store.reconcile import reconcile

from ..values import answer, at, conversation, set_columns
from ..walking import configure

pytestmark = pytest.mark.django_db
LIST = reverse("admin:django_orq_conversation_changelist")
NOW = datetime(2026, 3, 30, 10, 30, tzinfo=ZoneInfo("UTC"))


@pytest.fixture(autouse=True)
def now(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def created(*moments: str, workspace: str = "default") -> list[Conversation]:
    """A conversation for each time, in this order."""
    times = [datetime.fromisoformat(f"{moment}Z") + timedelta(milliseconds=n) for n, moment in enumerate(moments)]
    items = [conversation(remote_id=first_id(time), display_name=time.isoformat()) for time in times]
    reconcile(answer(*items), workspace=workspace)
    return [Conversation.objects.get(remote_id=item.remote_id, workspace=workspace) for item in items]


def text_of(client: Client, **query: str) -> str:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return response.content.decode()


def bars_of(text: str) -> list[tuple[str, int]]:
    """The title and the height of each bar."""
    bars = re.findall(r"<title>([^<]*)</title>(?:<rect [^>]*/>)?<rect [^>]*height=\"(\d+)\"/>", text)
    return [(title, int(height)) for title, height in bars]


def shown(text: str) -> dict[str, int]:
    return {title: height for title, height in bars_of(text) if height}


def summary_of(text: str) -> str:
    """The text that names the image."""
    (id_,) = re.findall(r'<svg role="img" aria-labelledby="([^"]+)"', text)
    (summary,) = re.findall(rf'<div id="{id_}">([^<]*)</div>', text)
    return summary


def test_plot_has_a_bar_for_each_of_thirty_days_and_says_what_it_shows(remote, admin_client):
    created("2026-03-01T00:00", "2026-03-12T08:00", "2026-03-12T23:59", "2026-03-30T10:00")
    created("2026-02-28T23:59")  # a day too old

    text = text_of(admin_client)
    bars = bars_of(text)

    assert [title for title, _height in (bars[0], bars[-1])] == ["March 1: 1", "March 30: 1"]
    assert [day for day, (_title, height) in enumerate(bars, 1) if height] == [1, 12, 30]
    assert bars[11] == ("March 12: 2", 2)
    assert len(bars) == 30
    assert 'viewBox="0 -2 30 2"' in text
    assert summary_of(text) == "Conversations created per day since March 1: 4 in all, at most 2 on March 12"


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", {"March 28: 1": 1, "March 29: 2": 2}),
        ("Europe/Amsterdam", {"March 29: 2": 2, "March 30: 1": 1}),  # March 29 has 23 hours there
        ("America/New_York", {"March 28: 1": 1, "March 29: 2": 2}),
    ],
)
def test_days_are_those_of_the_current_time_zone(remote, admin_client, settings, zone, expected):
    settings.TIME_ZONE = zone
    created("2026-03-28T23:30", "2026-03-29T21:30", "2026-03-29T22:30")

    assert shown(text_of(admin_client)) == expected


def test_deleted_conversations_are_counted_whatever_the_list_shows(remote, admin_client):
    _live, deleted = created("2026-03-20T08:00", "2026-03-20T09:00")
    set_columns(deleted, deleted_at=at(0))

    for query in ({}, {"state": "missing"}, {"created_since": "2026-03-20"}, {"q": "nowhere"}):
        assert shown(text_of(admin_client, **query)) == {"March 20: 2": 2}


def test_each_workspace_has_its_own_plot(two_workspaces, admin_client):
    created("2026-03-20T08:00")
    created("2026-03-21T08:00", "2026-03-21T09:00", workspace="sales")

    assert shown(text_of(admin_client)) == {"March 20: 1": 1}
    assert shown(text_of(admin_client, workspace="sales")) == {"March 21: 2": 2}


def test_days_with_more_than_are_counted_say_so(remote, admin_client, monkeypatch):
    monkeypatch.setattr(plot, "MAX_A_DAY", 2)
    created("2026-03-20T08:00", *["2026-03-21T08:00"] * 2, *["2026-03-22T08:00"] * 3)

    text = text_of(admin_client)

    assert shown(text) == {"March 20: 1": 1, "March 21: 2 or more": 2, "March 22: 2 or more": 2}
    assert summary_of(text).endswith("since March 1: 5 or more in all, 2 or more on some days")


def test_numbers_in_the_image_are_not_localized(remote, admin_client, settings):
    settings.LANGUAGE_CODE, settings.USE_THOUSAND_SEPARATOR = "de", True
    created(*["2026-03-20T08:00"] * 1001)

    text = text_of(admin_client)

    assert 'viewBox="0 -1001 30 1001"' in text
    assert shown(text) == {"20. März: 1.001": 1001}


def test_without_conversations_of_these_days_there_is_no_plot(remote, admin_client):
    assert "orq-plot" not in text_of(admin_client)
    created("2026-02-28T08:00")

    assert "orq-plot" not in text_of(admin_client)


def test_popup_has_no_plot(remote, admin_client):
    created("2026-03-20T08:00")

    assert "orq-plot" not in text_of(admin_client, _popup="1")


def test_plot_needs_one_statement_and_the_option_turns_it_off(remote, admin_client, settings, statements):
    created("2026-03-20T08:00")
    text_of(admin_client)
    with statements() as executed:
        assert "orq-plot" in text_of(admin_client)
    configure(settings, PLOT=False)
    with statements() as executed_without:
        assert "orq-plot" not in text_of(admin_client)

    assert len(executed) == len(executed_without) + 1


@pytest.mark.parametrize("configured", [{}, {"sales": {"API_KEY": "key"}}, {"default": {"PLOT": "no"}}])
def test_workspace_that_is_not_or_wrongly_configured_has_a_plot(admin_client, settings, configured):
    settings.ORQ_WORKSPACES = configured
    created("2026-03-20T08:00")

    assert shown(text_of(admin_client, workspace="default")) == {"March 20: 1": 1}

"""One test for each check, and one for valid settings."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from django_orq.checks import check_settings

from .celery import app

ROOT = Path(__file__).parent.parent
KEY = "sk-4711-hidden"


@pytest.fixture(autouse=True)
def _sound_settings(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORQ_API_KEY", raising=False)
    settings.ORQ_WORKSPACES = {"default": {"API_KEY": KEY}}


@pytest.fixture
def configure(settings):
    def change(**options: Any) -> None:
        settings.ORQ_WORKSPACES = {"default": {"API_KEY": KEY} | options}

    return change


def found() -> list[str]:
    """The ids; also checks that each message has a hint and none contains the key."""
    messages = check_settings()
    assert all(message.hint for message in messages)
    assert KEY not in repr(messages)
    return [str(message.id).removeprefix("django_orq.") for message in messages]


def only_message() -> checks.CheckMessage:
    (message,) = check_settings()
    return message


# What is sound


def test_sound_settings_are_silent() -> None:
    assert found() == []


def test_lone_key_in_the_environment_is_silent(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    del settings.ORQ_WORKSPACES
    monkeypatch.setenv("ORQ_API_KEY", KEY)

    assert found() == []


def test_django_runs_them(configure) -> None:
    configure(PAGE_SIZE=0)

    with pytest.raises(SystemCheckError, match=r"django_orq\.E001"):
        call_command("check", tags=["django_orq"])


@pytest.mark.parametrize(("key", "said"), [(KEY, "no issues"), ("", "django_orq.W001")])
def test_example_project_passes_and_without_a_key_is_warned(tmp_path: Path, key: str, said: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "ORQ_"))}
    outcome = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment
        | {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DEMO_DIR": str(tmp_path), "ORQ_API_KEY": key},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said in outcome.stdout + outcome.stderr


# Workspaces


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"PAGE_SIZE": 101}, "PAGE_SIZE"),
        ({"BASE_URL": "my.orq.ai"}, "BASE_URL"),
        ({"PAGESIZE": 10}, "PAGESIZE"),
    ],
)
def test_e001_option_that_cannot_be_used(configure, options: dict[str, Any], named: str) -> None:
    configure(**options)

    assert found() == ["E001"]
    assert f"ORQ_WORKSPACES['default']['{named}']" in only_message().msg


@pytest.mark.parametrize("configured", ["default", {"default": KEY}])
def test_e001_workspaces_that_are_no_dictionaries(settings, configured: Any) -> None:
    settings.ORQ_WORKSPACES = configured

    assert found() == ["E001"]


def test_each_workspace_is_looked_at(settings) -> None:
    settings.ORQ_WORKSPACES = {
        "shop": {"API_KEY": KEY, "PAGE_SIZE": 0},
        "lab": {"API_KEY": ""},
        "desk": {"API_KEY": KEY, "BASE_URL": "http://orq.example"},
    }

    assert found() == ["E001", "W002", "W003"]


@pytest.mark.parametrize("configured", [None, {}])
def test_w001_no_workspace(settings, configured: Any) -> None:
    settings.ORQ_WORKSPACES = configured

    assert found() == ["W001"]


@pytest.mark.parametrize("key", ["", "  ", None, 5, f"{KEY}\n{KEY}", f"{KEY}ü"])
def test_w002_key_that_no_request_can_carry(configure, key: Any) -> None:
    configure(API_KEY=key)

    assert found() == ["W002"]
    assert "ORQ_WORKSPACES['default']['API_KEY']" in only_message().msg


def test_w002_names_the_setting_that_has_the_key(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ORQ_WORKSPACES = None
    monkeypatch.setenv("ORQ_API_KEY", 'ab"c')

    assert only_message().msg.startswith("ORQ_API_KEY has characters that are not allowed")


def test_callable_key_is_not_called(configure) -> None:
    def read_key() -> str:
        raise AssertionError("called")

    configure(API_KEY=read_key)

    assert found() == []


@pytest.mark.parametrize(
    "url", ["http://my.orq.ai", "http://127.0.0.1.orq.example", "http://10.0.0.1", "http://[::2]"]
)
def test_w003_key_would_travel_unencrypted(configure, url: str) -> None:
    configure(BASE_URL=url)

    assert found() == ["W003"]


@pytest.mark.parametrize(
    "url", ["http://localhost:8900", "http://127.0.0.1", "http://127.8.0.1:80", "http://[::1]:80"]
)
def test_http_on_this_machine_is_silent(configure, url: str) -> None:
    configure(BASE_URL=url)

    assert found() == []


@pytest.mark.parametrize(
    ("slice_seconds", "lease_seconds", "ids"),
    [(20, 95, []), (20, 94.9, ["W004"]), (46, 120, ["W004"]), (60, 60, ["W004"]), (5, 80, [])],
)
def test_w004_lease_outlasts_a_slice_its_last_request_and_writing(
    configure, slice_seconds: float, lease_seconds: float, ids: list[str]
) -> None:
    configure(SLICE_SECONDS=slice_seconds, LEASE_SECONDS=lease_seconds)

    assert found() == ids


def test_w004_counts_the_wait_for_a_turn_where_there_is_a_pace(configure) -> None:
    configure(LEASE_SECONDS=109, REQUESTS_PER_MINUTE=60)

    assert found() == ["W004"]


def test_w004_says_how_long_it_must_be(configure) -> None:
    configure(LEASE_SECONDS=60)

    assert "95 or more" in str(only_message().hint)


def test_e002_times_without_zones(settings) -> None:
    settings.USE_TZ = False

    assert found() == ["E002"]


@pytest.mark.parametrize(("zone", "ids"), [(None, []), ("UTC", []), ("Europe/Berlin", ["W015"])])
def test_w015_database_with_a_time_zone_of_its_own(settings, monkeypatch, zone, ids) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "TIME_ZONE", zone)

    assert found() == ids


@pytest.mark.parametrize(
    ("options", "ids"),
    [({}, ["W009"]), ({"PROJECT_ID": "p-1"}, []), ({"API_STYLE": "snake"}, [])],
    ids=str,
)
def test_w009_dialect_that_wants_a_project_for_each_new_conversation(configure, options, ids) -> None:
    configure(**({"API_STYLE": "camel"} | options))

    assert found() == ids


@pytest.mark.parametrize(
    ("name", "meant"),
    [("ORQ_APIKEY", "ORQ_API_KEY"), ("ORQ_WORKSPACE", "ORQ_WORKSPACES"), ("ORQ_URL", "ORQ_BASE_URL")],
)
def test_w012_setting_that_does_not_exist(settings, name: str, meant: str) -> None:
    setattr(settings, name, KEY)

    assert found() == ["W012"]
    assert only_message().msg == f"{name} is not a setting of django_orq. Did you mean '{meant}'?"


def test_w012_setting_that_resembles_none(settings) -> None:
    settings.ORQ_TIMETABLE = "mine"

    assert found() == ["W012"]
    assert "Did you mean" not in only_message().msg


# REST


def test_w013_urls_without_rest_framework(settings) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "rest_framework"]
    assert found() == ["W013"]

    settings.ROOT_URLCONF = "tests.broken_urls"
    assert found() == []


# Celery


@pytest.fixture
def celery_app():
    """Makes another Celery app the current one, with these settings."""
    apps = []

    def set_up(*, broker: str | None = "memory://", **options: Any) -> None:
        apps.append(Celery("other", broker=broker))
        apps[-1].conf.update(options)

    yield set_up
    app.set_current()
    for each in apps:
        each.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, []),
        ({"task_soft_time_limit": 60}, ["soft_time_limit walk", "soft_time_limit run"]),
        ({"task_soft_time_limit": 61, "task_time_limit": 300}, []),
        ({"task_time_limit": 30}, ["time_limit walk", "time_limit run"]),
        ({"task_annotations": {"django_orq.walk_conversations": {"soft_time_limit": 5}}}, ["soft_time_limit walk"]),
        ({"task_soft_time_limit": 60, "task_annotations": {"*": {"soft_time_limit": 180}}}, []),
        ({"task_annotations": {"django_orq.sync_conversations": {"time_limit": 5}}}, []),
    ],
    ids=str,
)
def test_w011_time_limit_that_a_slow_request_exceeds(celery_app, options, named) -> None:
    celery_app(**options)

    assert found() == ["W011"] * len(named)
    told = [str(message.msg) for message in check_settings()]
    assert [" ".join(re.findall(r"The (\w+) of .* django_orq\.([a-z]+)_", text)[0]) for text in told] == named


def test_w014_celery_without_a_broker(celery_app, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    celery_app(broker=None)
    assert found() == ["W014"]

    monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1")
    assert found() == []


def test_eager_tasks_need_no_broker(celery_app, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    celery_app(broker=None, task_always_eager=True)
    assert found() == []


WITHOUT_CELERY = """
import django
from celery import _state
from django.core.management import call_command

django.setup()
call_command("check", fail_level="WARNING")
assert _state.default_app is None
"""


def test_project_without_a_celery_app_gets_none() -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "ORQ_API_KEY": KEY}
    subprocess.run([sys.executable, "-c", WITHOUT_CELERY], cwd=ROOT, env=environment, check=True)  # noqa: S603 # ours

"""Each setting, with valid and invalid values."""

from traceback import walk_tb
from types import MappingProxyType
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_orq.conf import ApiKey, KeyCallableFailed, RetryConfig, Workspace, get_workspace, workspace_aliases

SECRET = "sk-" + "x7" * 12


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORQ_API_KEY", raising=False)


def workspace(**options: Any) -> Workspace:
    with override_settings(ORQ_WORKSPACES={"default": {"API_KEY": "sk-1"} | options}):
        return get_workspace()


# Where it comes from


def test_defaults() -> None:
    assert workspace() == Workspace(
        alias="default",
        api_key=ApiKey("sk-1"),
        base_url="https://my.orq.ai",
        api_style="snake",
        project_id=None,
        connect_timeout=5,
        read_timeout=30,
        page_size=100,
        retries=RetryConfig(),
    )


def test_lone_key_from_a_setting_is_enough() -> None:
    with override_settings(ORQ_API_KEY="sk-setting"):
        assert workspace_aliases() == ["default"]
        assert get_workspace().api_key.read() == "sk-setting"


def test_lone_key_from_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORQ_API_KEY", "sk-environment")
    assert get_workspace().api_key.read() == "sk-environment"
    with override_settings(ORQ_API_KEY="sk-setting"):
        assert get_workspace().api_key.read() == "sk-setting"


def test_lone_key_serves_a_workspace_that_names_none() -> None:
    with override_settings(ORQ_API_KEY="sk-setting", ORQ_WORKSPACES={"default": {"PAGE_SIZE": 5}}):
        assert get_workspace().api_key.read() == "sk-setting"


def test_address_beside_the_lone_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORQ_BASE_URL", "https://environment.example")
    with override_settings(ORQ_API_KEY="sk-setting"):
        assert get_workspace().base_url == "https://my.orq.ai"
        for blank in (None, "", " \n"):
            with override_settings(ORQ_BASE_URL=blank):
                assert get_workspace().base_url == "https://my.orq.ai"
    with override_settings(
        ORQ_BASE_URL=" https://orq.example\n", ORQ_WORKSPACES={"a": {}, "b": {"BASE_URL": "https://b.example"}}
    ):
        assert [get_workspace(alias).base_url for alias in "ab"] == ["https://orq.example", "https://b.example"]


@pytest.mark.parametrize("alias", ["", 1, "a\nb", "x" * 101])
def test_invalid_alias_shows_no_key_in_the_frames_that_a_debug_page_shows(alias: Any) -> None:
    with (
        override_settings(ORQ_WORKSPACES={alias: {"API_KEY": "sk-secret-of-the-tests"}}),
        pytest.raises(ImproperlyConfigured) as error,
    ):
        get_workspace()

    frames = [frame for frame, _line in walk_tb(error.tb) if frame.f_globals["__name__"].startswith("django_orq")]
    assert frames
    assert "sk-secret" not in repr([frame.f_locals for frame in frames])


@pytest.mark.parametrize("workspaces", [MappingProxyType({"default": {}}), {"default": MappingProxyType({})}])
def test_debug_page_hides_keys_in_dictionaries_only_so_nothing_else_is_accepted(workspaces: Any) -> None:
    with (
        override_settings(ORQ_API_KEY="sk-setting", ORQ_WORKSPACES=workspaces),
        pytest.raises(ImproperlyConfigured, match="must be a dictionary"),
    ):
        get_workspace()


@pytest.mark.parametrize("url", ["orq.example", 5])
def test_invalid_address_beside_the_lone_key(url: Any) -> None:
    with (
        override_settings(ORQ_API_KEY="sk-setting", ORQ_BASE_URL=url),
        pytest.raises(ImproperlyConfigured, match=r"^ORQ_BASE_URL must be a URL like"),
    ):
        get_workspace()


def test_texts_are_cleaned_as_the_key_is() -> None:
    options = {
        "API_KEY": " sk-1\n",
        "BASE_URL": "\thttps://orq.example ",
        "API_STYLE": "camel\n",
        "PROJECT_ID": " p-1\n",
    }
    with override_settings(ORQ_WORKSPACES={"default": options}):
        workspace = get_workspace()
    assert workspace.api_key.read() == "sk-1"
    assert (workspace.base_url, workspace.api_style, workspace.project_id) == ("https://orq.example", "camel", "p-1")


@pytest.mark.parametrize(("name", "meant"), [("READER", "'READERS'"), ("page_size", "'PAGE_SIZE'"), ("URL", "")])
def test_unknown_option_is_answered_with_the_likely_one(name: str, meant: str) -> None:
    with (
        override_settings(ORQ_WORKSPACES={"default": {"API_KEY": "sk-1", name: 5}}),
        pytest.raises(ImproperlyConfigured, match="is not an option; the options are API_KEY, BASE_URL") as refused,
    ):
        get_workspace()
    assert str(refused.value).endswith(f"Did you mean {meant}?" if meant else ".")


def test_aliases_come_in_the_settings_order() -> None:
    with override_settings(ORQ_WORKSPACES={"shop": {"API_KEY": "a"}, "lab": {"API_KEY": "b"}}):
        assert workspace_aliases() == ["shop", "lab"]
        assert get_workspace("lab").api_key.read() == "b"


def test_without_any_workspace_the_error_says_what_to_set() -> None:
    assert workspace_aliases() == []
    with pytest.raises(ImproperlyConfigured, match="ORQ_API_KEY"):
        get_workspace()


def test_unknown_alias_is_answered_with_those_there_are() -> None:
    with (
        override_settings(ORQ_WORKSPACES={"shop": {"API_KEY": "a"}}),
        pytest.raises(ImproperlyConfigured, match=r"'default'.*'shop'"),
    ):
        get_workspace()


@pytest.mark.parametrize("alias", [5, None, "", "a" * 101, "two\nlines"], ids=repr)
def test_alias_that_no_row_could_hold_is_refused(alias: Any) -> None:
    with (
        override_settings(ORQ_WORKSPACES={alias: {"API_KEY": "sk-1"}}),
        pytest.raises(ImproperlyConfigured, match="100 printable characters"),
    ):
        workspace_aliases()


@pytest.mark.parametrize("configured", [["default"], "default", 5])
def test_workspaces_that_are_no_dictionary_are_refused(configured: Any) -> None:
    with override_settings(ORQ_WORKSPACES=configured), pytest.raises(ImproperlyConfigured, match="dictionary"):
        get_workspace()


def test_options_that_are_no_dictionary_are_refused() -> None:
    with (
        override_settings(ORQ_WORKSPACES={"default": "sk-1"}),
        pytest.raises(ImproperlyConfigured, match="dictionary") as caught,
    ):
        get_workspace()
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize("name", ["api_key", "BASEURL", "ALIAS", 5])
def test_unknown_option_is_answered_with_those_there_are(name: Any) -> None:
    workspaces = {"default": {"API_KEY": "sk-1", name: 1}}
    with override_settings(ORQ_WORKSPACES=workspaces), pytest.raises(ImproperlyConfigured, match="API_STYLE"):
        get_workspace()


# The key


def test_callable_key_that_raises_is_said_without_what_it_says() -> None:
    def read() -> str:
        raise FileNotFoundError(f"no {SECRET} here")

    with pytest.raises(
        ImproperlyConfigured, match=r"callable in ORQ_WORKSPACES.*\['API_KEY'\] raised FileNotFoundError"
    ) as caught:
        workspace(API_KEY=read).api_key.read()

    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [("", "empty"), (None, "empty"), (b"sk-hidden", "must be a string, not bytes"), (42, "not int")],
)
def test_callable_key_that_gives_none_is_refused_for_now(given: Any, problem: str) -> None:
    with pytest.raises(KeyCallableFailed, match=rf"API_KEY.*{problem}") as refusal:
        workspace(API_KEY=lambda: given).api_key.read()
    assert "hidden" not in str(refusal.value)


# Each option


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", "http://127.0.0.1:8900"),
        ("BASE_URL", "https://[::1]:8900/gateway/"),
        ("BASE_URL", "https://gateway.example/api/.orq"),
        ("API_STYLE", "camel"),
        ("PROJECT_ID", "project-7"),
        ("CONNECT_TIMEOUT", 0.5),
        ("READ_TIMEOUT", 600),
        ("PAGE_SIZE", 1),
        ("PAGE_SIZE", 100),
        ("RETRIES", RetryConfig(attempts=1)),
        ("SLICE_SECONDS", 5),
        ("LEASE_SECONDS", 60),
        ("PLOT", False),
        ("CONVERSATION_URL", None),
        ("CONVERSATION_URL", "https://my.orq.ai/acme/conversations/{id}"),
        ("CONVERSATION_URL", "http://localhost:3000/?open={id}#{id}"),
        ("CONVERSATION_URL", "https://app.example/.x/My Workspace/{id}"),
    ],
)
def test_option_is_taken(name: str, value: Any) -> None:
    assert getattr(workspace(**{name: value}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", ""),
        ("BASE_URL", "https://or q.example"),
        ("BASE_URL", "https://orq..example"),
        ("BASE_URL", "https://.orq.example"),
        ("BASE_URL", "https://orq\0.example"),
        ("BASE_URL", "https://orq\r\n.example"),
        ("BASE_URL", None),
        ("BASE_URL", "my.orq.ai"),
        ("BASE_URL", "ftp://my.orq.ai"),
        ("BASE_URL", "https://"),
        ("BASE_URL", "https://my.orq.ai:port"),
        ("BASE_URL", "https://my.orq.ai:0"),
        ("BASE_URL", "https://someone@my.orq.ai"),
        ("BASE_URL", "https://my.orq.ai/?key=1"),
        ("BASE_URL", "https://my.orq.ai/#top"),
        ("API_STYLE", "Snake"),
        ("API_STYLE", None),
        ("API_STYLE", ["snake"]),
        ("PROJECT_ID", ""),
        ("PROJECT_ID", 7),
        ("CONNECT_TIMEOUT", 0),
        ("CONNECT_TIMEOUT", None),
        ("CONNECT_TIMEOUT", True),
        ("READ_TIMEOUT", -1),
        ("READ_TIMEOUT", "30"),
        ("READ_TIMEOUT", 86_400),
        ("READ_TIMEOUT", float("nan")),
        ("PAGE_SIZE", 0),
        ("PAGE_SIZE", 101),
        ("PAGE_SIZE", 10.0),
        ("PAGE_SIZE", True),
        ("RETRIES", 3),
        ("RETRIES", {"attempts": 0}),
        ("RETRIES", {"attempts": "3"}),
        ("RETRIES", {"attempts": 2.5}),
        ("RETRIES", {"attempts": True}),
        ("RETRIES", {"initial_interval": float("nan")}),
        ("RETRIES", {"max_interval": float("inf")}),
        ("RETRIES", {"connection_errors": "no"}),
        ("RETRIES", {"tries": 3}),
        ("RETRIES", {"max_elapsed": -1}),
        ("SLICE_SECONDS", 0),
        ("LEASE_SECONDS", "long"),
        ("MASS_DELETE_MIN", -1),
        ("MASS_DELETE_SHARE", 20),
        ("PLOT", 0),
        ("PLOT", None),
        ("CONVERSATION_URL", ""),
        ("CONVERSATION_URL", 7),
        ("CONVERSATION_URL", "https://my.orq.ai/conversations"),
        ("CONVERSATION_URL", "my.orq.ai/{id}"),
        ("CONVERSATION_URL", "javascript:alert('{id}')"),
        ("CONVERSATION_URL", "https://someone@my.orq.ai/{id}"),
    ],
)
def test_wrong_option_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"\['default'\]\['{name}'\]"):
        workspace(**{name: value})


def test_wrong_base_url_with_a_password_is_not_repeated() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        workspace(BASE_URL="https://someone:hidden@my.orq.ai")
    assert "hidden" not in str(caught.value)


def test_retries_come_in_capitals_too() -> None:
    options = {"ATTEMPTS": 5, "connection_errors": False}
    assert workspace(RETRIES=options).retries == RetryConfig(attempts=5, connection_errors=False)

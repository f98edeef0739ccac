"""The settings, read whenever they are used: one frozen ``Workspace`` for each alias in ``ORQ_WORKSPACES``.

``ORQ_WORKSPACES`` has the structure of ``CACHES``. For a single workspace ``ORQ_API_KEY``, as a setting or an
environment variable, is enough, with the setting ``ORQ_BASE_URL`` if the address is another one. Invalid settings
raise ``ImproperlyConfigured``, whose message says what to write.
"""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, NoReturn, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

__all__ = ["RetryConfig", "Workspace", "get_workspace", "workspace_aliases"]

DEFAULT_BASE_URL = "https://my.orq.ai"
DEFAULT_ALIAS = "default"
API_STYLES = ("snake", "camel")
SETTINGS = ("ORQ_API_KEY", "ORQ_BASE_URL", "ORQ_WORKSPACES")
MAX_ALIAS = 100
"""Characters. The alias is stored in each row of the workspace."""
MAX_PAGE_SIZE = 100
MAX_READERS = 16
MAX_LOOK_BACK = 1_000
MAX_AGE = 36_500
"""Days after which rows can be pruned at the latest."""
KEEP_CHANGES_DAYS = 730
TOTAL_SECONDS = 60.0
"""The time limit of one operation on Orq, including its retries."""
INTERACTIVE_SECONDS = 15.0
"""The time limit, in total, of the operations that a user is waiting for."""
MAX_SLEEP = 15.0
"""The longest time, in seconds, that a worker sleeps for REQUESTS_PER_MINUTE. A longer wait ends its slice."""


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether ``value`` is an integer; booleans don't count."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, float) or is_whole(value)


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """How often a request is attempted, and how long to pause between two attempts.

    A create or an update is attempted again only if nothing of it was sent.
    """

    attempts: int = 3
    """The maximum number of requests, including the first."""
    initial_interval: float = 0.5
    """Seconds before the second attempt; the interval doubles before each further one, with jitter."""
    max_interval: float = 8.0
    """The longest pause, in seconds."""
    max_elapsed: float = 30.0
    """No further attempt starts later than this number of seconds after the start of the first."""
    connection_errors: bool = True
    """Whether to retry after connection errors, and not only after 500, 502, 503 and 504."""

    def __post_init__(self) -> None:
        if not is_whole(self.attempts) or self.attempts < 1:
            raise ValueError("attempts must be a whole number, at least 1")
        intervals = (self.initial_interval, self.max_interval, self.max_elapsed)
        if not all(is_number(seconds) and 0 <= seconds < math.inf for seconds in intervals):
            raise ValueError("initial_interval, max_interval and max_elapsed must be numbers of seconds, 0 or more")
        if not isinstance(self.connection_errors, bool):
            raise ValueError("connection_errors must be True or False")  # noqa: TRY004 # as the others


class KeyCallableFailed(ImproperlyConfigured):
    """A callable raised an exception or returned no usable API key, but may return one later.

    The message names the type of the exception, without its text, which may contain the key.
    """

    @property
    def reason(self) -> str:
        """Why nothing was sent, as the ``reason`` of a ``TransportError``."""
        return f"there is no API key ({str(self).rstrip('.')})"


class ApiKey:
    """An API key, or a callable that returns it. Its repr hides the key, since debug pages show local variables."""

    def __init__(self, source: object, *, label: str = "API_KEY") -> None:
        self._source = source
        self.label = label

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key can't be pickled")

    @property
    def problem(self) -> str | None:
        """What is wrong with the key, or ``None``. A callable is not called."""
        return None if callable(self._source) else _problem_with_key(self._source)

    def read(self) -> str:
        """Return the current key.

        Raises ``ImproperlyConfigured`` if the key is missing or can't be sent in a header, or its subclass
        ``KeyCallableFailed`` if the source is a callable.
        """
        key = self._call(self._source) if callable(self._source) else self._source
        if problem := _problem_with_key(key):
            del key
            if callable(self._source):
                raise KeyCallableFailed(f"The key that the callable in {self.label} returned {problem}.")
            raise ImproperlyConfigured(f"{self.label} {problem}.")
        return str(key).strip()

    def _call(self, source: Callable[[], object]) -> object:
        """Call ``source``. Its error is replaced by one without the frames and the text, which may contain the key."""
        try:
            return source()
        except Exception as error:
            failure = type(error).__name__
        raise KeyCallableFailed(f"The callable in {self.label} raised {failure}.")


def _problem_with_key(key: object) -> str | None:
    if key is None or (isinstance(key, str) and not key.strip()):
        return "is empty; it must be the workspace's API key from Orq"
    if not isinstance(key, str):
        return f"must be a string, not {type(key).__name__}"
    is_plain = key.isascii() and key.strip().isprintable() and not {*key} & {*'"\\'}
    return None if is_plain else "has characters that are not allowed in an API key, such as quotes or line breaks"


def problem_with(option: str, value: object) -> str | None:
    """Return what is wrong with the value of a ``Workspace`` field, such as “must be a string”, or ``None``."""
    is_valid, expected = _CHECKS[option]
    return None if is_valid(value) else f"must be {expected}"


def _is_base_url(url: object) -> bool:
    try:
        site = urlsplit(url if isinstance(url, str) and url.isprintable() else "")
        has_host = site.port != 0 and not re.search(r"(^|\.)\.|\s", site.hostname or ".")
    except ValueError:
        return False
    return site.scheme in ("http", "https") and has_host and not ("@" in site.netloc or site.query or site.fragment)


def _is_conversation_url(url: object) -> bool:
    return isinstance(url, str) and "{id}" in url and _is_base_url(re.split("[?#]", url)[0])


def _option(default: object, is_valid: Callable[[Any], bool], expected: str, *, or_none: bool = False) -> Any:
    """Return a field with a default, a check of its value, and a description of valid values.

    ``None`` is valid too if it is the default.
    """
    if or_none or default is None:
        return field(default=default, metadata={"check": (lambda x: x is None or is_valid(x), f"{expected}, or None")})
    return field(default=default, metadata={"check": (is_valid, expected)})


def _whole(default: int, most: int, *, or_none: bool = False) -> Any:
    """Return a field for a whole number, at least 1."""
    expected = f"a whole number from 1 to {most:,}"
    return _option(default, lambda x: is_whole(x) and 1 <= x <= most, expected, or_none=or_none)


def _seconds(default: float) -> Any:
    return _option(default, lambda value: is_number(value) and 0 < value < 86_400, "above 0 and below 86,400 seconds")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """One Orq workspace, with its API key. Times are in seconds."""

    alias: str
    api_key: ApiKey = field(compare=False)
    """Validated when it is read. A callable is called each time, so keys can be rotated."""
    base_url: str = _option(
        DEFAULT_BASE_URL, _is_base_url, f"a URL like {DEFAULT_BASE_URL!r}, without user, password, query or fragment"
    )
    api_style: str = _option("snake", lambda value: value in API_STYLES, f"one of {', '.join(map(repr, API_STYLES))}")
    project_id: str | None = _option(None, lambda x: bool(x) and isinstance(x, str), "a string")
    connect_timeout: float = _seconds(5.0)
    read_timeout: float = _seconds(30.0)
    page_size: int = _whole(MAX_PAGE_SIZE, MAX_PAGE_SIZE)
    retries: RetryConfig = RetryConfig()
    slice_seconds: float = _seconds(20.0)
    lease_seconds: float = _seconds(120.0)
    readers: int = _whole(2, MAX_READERS)
    """The maximum number of requests of one run that are under way at the same time."""
    look_back_pages: int = _whole(1, MAX_LOOK_BACK)
    """How many of the newest pages each incremental run reads at least, so that their renames are found early."""
    requests_per_minute: float | None = _option(
        None, lambda x: is_number(x) and 12 <= x <= 1_000_000, "a number from 12 to 1,000,000"
    )
    """The limit for background work. Requests that a user waits for are not delayed."""
    mass_delete_min: int = _option(50, lambda value: is_whole(value) and value >= 0, "a whole number, 0 or more")
    """The number of missing rows that a full run may confirm without approval."""
    mass_delete_share: float = _option(0.2, lambda value: is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
    """The same limit as a share of the conversations that were mirrored and not deleted when the run began.

    The larger limit applies.
    """
    keep_changes_days: int | None = _whole(KEEP_CHANGES_DAYS, MAX_AGE, or_none=True)
    """After how many days ``orq_prune --changes`` deletes the record of a change; ``None`` keeps it for ever."""
    people: Mapping[str, str] | Callable[..., Any] | str | None = _option(  # noqa: RUF009 # a field, as the others
        None, lambda x: callable(x) or isinstance(x, (Mapping, str)), "a dict, a callable or the dotted path to one"
    )
    """The names of people by their ids in Orq, or a callable that takes a list of ids and returns such a dict."""
    plot: bool = _option(default=True, is_valid=lambda value: isinstance(value, bool), expected="True or False")
    """Whether the admin shows, above the list of conversations, how many were created on each of the last days."""
    conversation_url: str | None = _option(
        None, _is_conversation_url, "an http or https URL that contains {id}, without user and password"
    )
    """The address of a conversation's page in Orq, with ``{id}`` in place of its id. The admin links to it."""

    def __post_init__(self) -> None:
        problems = {name.upper(): problem_with(name, getattr(self, name)) for name in _CHECKS}
        if errors := [str(_invalid(self.alias, name, problem)) for name, problem in problems.items() if problem]:
            raise ImproperlyConfigured(" ".join(errors))


_CHECKS = {option.name: option.metadata["check"] for option in fields(Workspace) if option.metadata}
_OPTIONS = {option.name.upper(): option.name for option in fields(Workspace) if option.name != "alias"}


def workspace_aliases() -> list[str]:
    """Return the aliases of all configured workspaces, in the order of the setting.

    Raises ``ImproperlyConfigured`` if the setting is not a dictionary with valid aliases.
    """
    return list(_configured())


def get_workspace(alias: str = DEFAULT_ALIAS) -> Workspace:
    """Return the workspace called ``alias``.

    Raises ``ImproperlyConfigured`` if there is no such workspace, or if its settings are invalid.
    """
    if alias not in (configured := _configured()):
        known = ", ".join(map(repr, configured)) or "none"
        key_would_do = alias == DEFAULT_ALIAS and getattr(settings, "ORQ_WORKSPACES", None) is None
        advice = "Set ORQ_API_KEY, or add" if key_would_do else "Add"
        raise ImproperlyConfigured(
            f"There is no Orq workspace {alias!r} (configured: {known}). {advice} this alias to ORQ_WORKSPACES."
        )
    return configured[alias].read()


def _configured() -> dict[str, "_Options"]:
    if (configured := getattr(settings, "ORQ_WORKSPACES", None)) is None:
        return {DEFAULT_ALIAS: _Options(DEFAULT_ALIAS, {})} if _default_key() else {}
    if not isinstance(configured, dict):  # a debug page hides keys only in dictionaries
        del configured  # it may be the key, and debug pages show local variables
        raise ImproperlyConfigured("ORQ_WORKSPACES must be a dictionary of workspaces.")
    if wrong := [alias for alias in configured if not is_alias(alias)]:
        del configured  # as above
        expected = f"text of 1 to {MAX_ALIAS} printable characters"
        raise ImproperlyConfigured(f"ORQ_WORKSPACES: alias {wrong[0]!r} must be {expected}.")
    return {alias: _Options(alias, values) for alias, values in configured.items()}


def is_alias(alias: object) -> bool:
    """Return whether ``alias`` is valid as the alias of a workspace: 1 to 100 printable characters."""
    return isinstance(alias, str) and 1 <= len(alias) <= MAX_ALIAS and alias.isprintable()


def likely(name: str, known: Iterable[str]) -> str:
    """Return “Did you mean …?”, after a space, if one of the known names resembles this one."""
    found = get_close_matches(name.upper(), known, n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def default_base_url() -> Any:
    """The address of workspaces that name none: ``ORQ_BASE_URL``, or else Orq's own."""
    return _stripped(getattr(settings, "ORQ_BASE_URL", None)) or DEFAULT_BASE_URL


def _stripped(value: Any) -> Any:
    """A value without surrounding white space, which texts from files and environment variables often have."""
    return value.strip() if isinstance(value, str) else value


def _default_key() -> Any:
    return getattr(settings, "ORQ_API_KEY", None) or os.environ.get("ORQ_API_KEY", "")


class _Options:
    """One workspace's options as written in the settings, with a repr that does not show the key."""

    def __init__(self, alias: str, values: object) -> None:
        self._alias = alias
        self._values = values

    def read(self) -> Workspace:
        if not isinstance(self._values, dict):
            raise ImproperlyConfigured(f"ORQ_WORKSPACES[{self._alias!r}] must be a dictionary of options.")
        for name in self._values:
            if name not in _OPTIONS:
                known = f"is not an option; the options are {', '.join(_OPTIONS)}"
                raise ImproperlyConfigured(f"{_invalid(self._alias, str(name), known)}{likely(str(name), _OPTIONS)}")
        if "BASE_URL" not in self._values and (problem := problem_with("base_url", default_base_url())):
            raise ImproperlyConfigured(f"ORQ_BASE_URL {problem}.")
        is_default = "API_KEY" not in self._values and bool(_default_key())
        label = "ORQ_API_KEY" if is_default else f"ORQ_WORKSPACES[{self._alias!r}]['API_KEY']"
        key = ApiKey(self._values.get("API_KEY", _default_key()), label=label)
        options = {_OPTIONS[name]: _stripped(value) for name, value in self._values.items() if name != "API_KEY"}
        options.setdefault("base_url", default_base_url())
        if "retries" in options:
            options["retries"] = self._retries(options["retries"])
        return Workspace(alias=self._alias, api_key=key, **options)

    def _retries(self, value: object) -> RetryConfig:
        if isinstance(value, RetryConfig):
            return value
        if not isinstance(value, Mapping):
            raise _invalid(self._alias, "RETRIES", "must be a RetryConfig or a dictionary of its fields")
        try:
            return RetryConfig(**{str(name).lower(): each for name, each in value.items()})
        except (TypeError, ValueError) as error:
            raise _invalid(self._alias, "RETRIES", f"is invalid: {error}") from None


def _invalid(alias: str, name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"ORQ_WORKSPACES[{alias!r}][{name!r}] {problem}.")

"""Settings, read live: one frozen ``Workspace`` for each alias in ``ORQ_WORKSPACES``.

``ORQ_WORKSPACES`` is written in the manner of ``CACHES``. ``ORQ_API_KEY``, a setting or an environment variable,
is enough for a single workspace. Wrong settings raise ``ImproperlyConfigured``, which says what to write.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

__all__ = ["RetryConfig", "Workspace", "get_workspace", "workspace_aliases"]

DEFAULT_BASE_URL = "https://my.orq.ai"
DEFAULT_ALIAS = "default"
API_STYLES = ("snake", "camel")
MAX_ALIAS = 100
"""Characters; each row of the workspace holds them."""
MAX_PAGE_SIZE = 100
TOTAL_SECONDS = 60.0
"""That one operation on Orq may last, its repetitions included."""
INTERACTIVE_SECONDS = 15.0
"""That all operations for somebody who waits may last together."""
MAX_SLEEP = 15.0
"""Seconds that a worker sleeps at most to keep the pace; for longer it lets its work go."""


def is_whole(value: object) -> TypeGuard[int]:
    """``True`` is no number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, float) or is_whole(value)


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """How often a request that changes nothing when repeated is tried, and how long the pauses are."""

    attempts: int = 3
    """Requests at most, the first included."""
    initial_interval: float = 0.5
    """Seconds before the second attempt; it doubles each time, with jitter."""
    max_interval: float = 8.0
    """Seconds that one pause lasts at most."""
    max_elapsed: float = 30.0
    """Seconds since the first attempt after which no other is begun."""
    connection_errors: bool = True
    """Whether connection errors are tried again, as 500, 502, 503 and 504 are."""

    def __post_init__(self) -> None:
        if not is_whole(self.attempts) or self.attempts < 1:
            raise ValueError("attempts must be a whole number, at least 1")
        intervals = (self.initial_interval, self.max_interval, self.max_elapsed)
        if not all(is_number(seconds) and 0 <= seconds < math.inf for seconds in intervals):
            raise ValueError("intervals are seconds and can't be negative")
        if not isinstance(self.connection_errors, bool):
            raise ValueError("connection_errors must be True or False")  # noqa: TRY004 # as the others


class KeyCallableFailed(ImproperlyConfigured):
    """A callable gave no API key: it may do so another time. Names what it raised, whose text may hold the key."""


class ApiKey:
    """An API key, or a callable that gives it, which nothing prints: debug pages show the variables of each frame."""

    def __init__(self, source: object, *, called: str = "API_KEY") -> None:
        self._source = source
        self._called = called

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key can't be pickled")

    @property
    def problem(self) -> str | None:
        """What is wrong with it as far as can be told without calling it."""
        return None if callable(self._source) else _problem_with_key(self._source)

    def read(self) -> str:
        """The key of this moment; ``ImproperlyConfigured`` if there is none that a request can carry.

        ``KeyCallableFailed``, which is one, where it is a callable that gave none.
        """
        key = self._call(self._source) if callable(self._source) else self._source
        if problem := _problem_with_key(key):
            del key
            kind = KeyCallableFailed if callable(self._source) else ImproperlyConfigured
            raise kind(f"{self._called} {problem}.")
        return str(key).strip()

    def _call(self, source: Callable[[], object]) -> object:
        """Without the frames and the text of an error, since these may hold the key."""
        try:
            return source()
        except Exception as error:
            failure = type(error).__name__
        raise KeyCallableFailed(f"{self._called} is a callable that raised {failure}.")


def _problem_with_key(key: object) -> str | None:
    if key is None or (isinstance(key, str) and not key.strip()):
        return "is empty; give the workspace's API key from Orq"
    if not isinstance(key, str):
        return f"must be a string, and is of type {type(key).__name__}"
    is_plain = key.isascii() and key.strip().isprintable() and not {*key} & {*'"\\'}
    return None if is_plain else "has characters that no API key has, such as quotes or line breaks"


def problem_with(option: str, value: object) -> str | None:
    """Return what is wrong with the value of a ``Workspace``'s field, in words that follow its name, or ``None``."""
    is_right, expected = _CHECKS[option]
    return None if is_right(value) else f"must be {expected}"


def _is_base_url(url: object) -> bool:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_usable and not (parts.username or parts.password or parts.query or parts.fragment)


def _is_pace(value: object) -> bool:
    return value is None or (is_number(value) and 12 <= value <= 1_000_000)


def _option(default: object, is_right: Callable[[Any], bool], expected: str) -> Any:
    """A field with its default and with what it must be, as a predicate and in words."""
    return field(default=default, metadata={"check": (is_right, expected)})


def _seconds(default: float) -> Any:
    return _option(default, lambda value: is_number(value) and 0 < value < 86_400, "seconds, above 0 and below a day")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """One Orq workspace, which is one API key. Times are seconds."""

    alias: str
    api_key: ApiKey = field(compare=False)
    """Looked at when it is read."""
    base_url: str = _option(
        DEFAULT_BASE_URL,
        _is_base_url,
        f"a URL such as {DEFAULT_BASE_URL!r}, without user, password, query or fragment",
    )
    api_style: str = _option("snake", lambda value: value in API_STYLES, f"one of {', '.join(map(repr, API_STYLES))}")
    project_id: str | None = _option(
        None, lambda value: value is None or (isinstance(value, str) and value != ""), "a string, or None"
    )
    connect_timeout: float = _seconds(5.0)
    read_timeout: float = _seconds(30.0)
    page_size: int = _option(
        MAX_PAGE_SIZE, lambda value: is_whole(value) and 1 <= value <= MAX_PAGE_SIZE, f"a number, 1 to {MAX_PAGE_SIZE}"
    )
    retries: RetryConfig = RetryConfig()
    slice_seconds: float = _seconds(20.0)
    lease_seconds: float = _seconds(120.0)
    requests_per_minute: float | None = _option(None, _is_pace, "a number from 12 to 1,000,000, or None")
    """The pace of background work; people's own requests are not held up."""
    mass_delete_min: int = _option(50, lambda value: is_whole(value) and value >= 0, "a whole number, 0 or more")
    """How many missing rows a full run may always confirm by itself."""
    mass_delete_share: float = _option(0.2, lambda value: is_number(value) and 0 <= value <= 1, "a number, 0 to 1")
    """How many more, as a share of the rows that were there before."""

    def __post_init__(self) -> None:
        problems = {name.upper(): problem_with(name, getattr(self, name)) for name in _CHECKS}
        if wrong := [str(_wrong(self.alias, name, problem)) for name, problem in problems.items() if problem]:
            raise ImproperlyConfigured(" ".join(wrong))

    def read_key(self) -> str:
        """The API key of this moment (a callable is called each time, so keys can be rotated)."""
        return self.api_key.read()


_CHECKS = {option.name: option.metadata["check"] for option in fields(Workspace) if option.metadata}
_OPTIONS = {option.name.upper(): option.name for option in fields(Workspace) if option.name != "alias"}


def workspace_aliases() -> list[str]:
    """The aliases of all configured workspaces, in the settings' order.

    ``ImproperlyConfigured`` if the setting is no dictionary of them.
    """
    return list(_configured())


def get_workspace(alias: str = DEFAULT_ALIAS) -> Workspace:
    """The workspace called ``alias``; ``ImproperlyConfigured`` if there is none or its options are wrong."""
    configured = _configured()
    if alias not in configured:
        known = ", ".join(map(repr, configured)) or "none"
        raise ImproperlyConfigured(
            f"There is no Orq workspace {alias!r}. Set ORQ_API_KEY, or ORQ_WORKSPACES, which has {known}."
        )
    return configured[alias].read()


def _configured() -> dict[str, "_Options"]:
    configured = getattr(settings, "ORQ_WORKSPACES", None)
    if configured is None:
        return {DEFAULT_ALIAS: _Options(DEFAULT_ALIAS, {})} if _lone_key() else {}
    if not isinstance(configured, Mapping):
        del configured  # perhaps the key
        raise ImproperlyConfigured("ORQ_WORKSPACES must be a dictionary of workspaces.")
    for alias in configured:
        if not is_alias(alias):
            raise ImproperlyConfigured(f"ORQ_WORKSPACES: {alias!r} is not an alias of 1 to {MAX_ALIAS} characters.")
    return {alias: _Options(alias, values) for alias, values in configured.items()}


def is_alias(alias: object) -> bool:
    """Whether a workspace may be called that."""
    return isinstance(alias, str) and 1 <= len(alias) <= MAX_ALIAS and alias.isprintable()


def _lone_key() -> Any:
    return getattr(settings, "ORQ_API_KEY", None) or os.environ.get("ORQ_API_KEY", "")


class _Options:
    """One workspace's options as the settings have them, behind a repr that does not show the key among them."""

    def __init__(self, alias: str, values: object) -> None:
        self._alias = alias
        self._values = values

    def read(self) -> Workspace:
        if not isinstance(self._values, Mapping):
            raise ImproperlyConfigured(f"ORQ_WORKSPACES[{self._alias!r}] must be a dictionary of options.")
        for name in self._values:
            if name not in _OPTIONS:
                raise _wrong(self._alias, str(name), f"is no option; there are {', '.join(_OPTIONS)}")
        called = f"ORQ_WORKSPACES[{self._alias!r}]['API_KEY']"
        key = ApiKey(self._values.get("API_KEY", _lone_key()), called=called)
        options = {_OPTIONS[name]: value for name, value in self._values.items() if name != "API_KEY"}
        if "retries" in options:
            options["retries"] = self._retries(options["retries"])
        return Workspace(alias=self._alias, api_key=key, **options)

    def _retries(self, given: object) -> RetryConfig:
        if isinstance(given, RetryConfig):
            return given
        if not isinstance(given, Mapping):
            raise _wrong(self._alias, "RETRIES", "must be a RetryConfig or a dictionary of its fields")
        try:
            return RetryConfig(**{str(name).lower(): value for name, value in given.items()})
        except (TypeError, ValueError) as error:
            raise _wrong(self._alias, "RETRIES", f"is wrong: {error}") from None


def _wrong(alias: str, name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"ORQ_WORKSPACES[{alias!r}][{name!r}] {problem}.")

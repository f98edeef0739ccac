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
LONGEST_SLEEP = 15.0
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
    """A callable gave no API key: it may do so another time.

    ``failure`` names what it raised, for the text of that may hold the key; ``None`` if it gave what is no key.
    """

    def __init__(self, message: str, *, failure: str | None = None) -> None:
        super().__init__(message)
        self.failure = failure


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
        return None if callable(self._source) else check_api_key(self._source)

    def read(self) -> str:
        """The key of this moment; ``ImproperlyConfigured`` if there is none that a request can carry.

        ``KeyCallableFailed``, which is one, where it is a callable that gave none.
        """
        key = self._call(self._source) if callable(self._source) else self._source
        if problem := check_api_key(key):
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
        raise KeyCallableFailed(f"{self._called} is a callable that raised {failure}.", failure=failure)


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """One Orq workspace, which is one API key. Times are seconds."""

    alias: str
    api_key: ApiKey = field(compare=False)
    base_url: str = DEFAULT_BASE_URL
    api_style: str = "snake"
    project_id: str | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    page_size: int = MAX_PAGE_SIZE
    retries: RetryConfig = RetryConfig()
    slice_seconds: float = 20.0
    lease_seconds: float = 120.0
    requests_per_minute: float | None = None
    """The pace of background work; people's own requests are not held up."""
    mass_delete_min: int = 50
    """How many missing rows a full run may always confirm by itself."""
    mass_delete_share: float = 0.2
    """How many more, as a share of the rows that were there before."""

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise ImproperlyConfigured(" ".join(str(_wrong(self.alias, *problem)) for problem in problems))

    def read_key(self) -> str:
        """The API key of this moment (a callable is called each time, so keys can be rotated)."""
        return self.api_key.read()


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
        raise ImproperlyConfigured(_unknown(alias, configured))
    given = configured[alias].read()
    return Workspace(alias=alias, **given | _retries(alias, given))


class _Options:
    """One workspace's options as the settings have them, behind a repr that does not show the key among them."""

    def __init__(self, alias: str, values: object) -> None:
        self._alias = alias
        self._values = values

    def read(self) -> dict[str, Any]:
        """By the names of ``Workspace``'s fields, the key hidden."""
        if not isinstance(self._values, Mapping):
            raise ImproperlyConfigured(f"ORQ_WORKSPACES[{self._alias!r}] must be a dictionary of options.")
        for name in self._values:
            if name not in _OPTIONS:
                known = ", ".join(_OPTIONS)
                raise _wrong(self._alias, str(name), f"is no option; there are {known}")
        called = f"ORQ_WORKSPACES[{self._alias!r}]['API_KEY']"
        key = ApiKey(self._values.get("API_KEY", _lone_key()), called=called)
        return {_OPTIONS[name]: value for name, value in self._values.items() if name != "API_KEY"} | {"api_key": key}


def _configured() -> dict[str, _Options]:
    configured = getattr(settings, "ORQ_WORKSPACES", None)
    if configured is None:
        return {DEFAULT_ALIAS: _Options(DEFAULT_ALIAS, {})} if _lone_key() else {}
    if not isinstance(configured, Mapping):
        del configured  # perhaps the key
        raise ImproperlyConfigured("ORQ_WORKSPACES must be a dictionary of workspaces.")
    for alias in configured:
        if not is_alias(alias):
            raise ImproperlyConfigured(
                f"ORQ_WORKSPACES has the alias {alias!r}: write a string of 1 to {MAX_ALIAS} characters."
            )
    return {alias: _Options(alias, values) for alias, values in configured.items()}


def is_alias(alias: object) -> bool:
    """Whether a workspace may be called that."""
    return isinstance(alias, str) and 1 <= len(alias) <= MAX_ALIAS and alias.isprintable()


def _lone_key() -> Any:
    return getattr(settings, "ORQ_API_KEY", None) or os.environ.get("ORQ_API_KEY", "")


def _retries(alias: str, given: Mapping[str, Any]) -> dict[str, Any]:
    retries = given.get("retries", RetryConfig())
    if isinstance(retries, Mapping):
        try:
            retries = RetryConfig(**{str(name).lower(): value for name, value in retries.items()})
        except (TypeError, ValueError) as error:
            raise _wrong(alias, "RETRIES", f"is wrong: {error}") from None
    return {"retries": retries}


def _unknown(alias: str, configured: Mapping[str, Any]) -> str:
    if not configured:
        return "No Orq workspace is configured. Set ORQ_API_KEY, or ORQ_WORKSPACES for more than one."
    return f"There is no Orq workspace {alias!r}; ORQ_WORKSPACES has {', '.join(map(repr, configured))}."


def _wrong(alias: str, name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"ORQ_WORKSPACES[{alias!r}][{name!r}] {problem}.")


def _problems(workspace: Workspace) -> list[tuple[str, str]]:
    return [
        (name.upper(), problem)
        for name, problem in (
            ("base_url", check_base_url(workspace.base_url)),
            ("api_style", _check_choice(workspace.api_style, API_STYLES)),
            ("project_id", _check_text(workspace.project_id)),
            ("page_size", _check_page_size(workspace.page_size)),
            ("retries", _check_retries(workspace.retries)),
            ("requests_per_minute", _check_pace(workspace.requests_per_minute)),
            ("mass_delete_min", _check_count(workspace.mass_delete_min)),
            ("mass_delete_share", _check_share(workspace.mass_delete_share)),
            *(
                (name, _check_seconds(getattr(workspace, name)))
                for name in ("connect_timeout", "read_timeout", "slice_seconds", "lease_seconds")
            ),
        )
        if problem
    ]


def check_api_key(key: object) -> str | None:
    """What is wrong with an API key, or ``None``."""
    if key is None or (isinstance(key, str) and not key.strip()):
        return "is empty; give the workspace's API key from Orq"
    if not isinstance(key, str):
        return f"must be a string, and is of type {type(key).__name__}"
    if not (key.isascii() and key.strip().isprintable()):
        return "has characters that no HTTP header can carry"
    return "has a double quote or a backslash, which no key has; write it without" if {*key} & {*'"\\'} else None


def check_base_url(url: object) -> str | None:
    """What is wrong with a base URL, or ``None``."""
    if not isinstance(url, str):
        return f"must be a URL, for example {DEFAULT_BASE_URL!r}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        return f"must be a URL such as {DEFAULT_BASE_URL!r}"
    if parts.username or parts.password or parts.query or parts.fragment:
        return f"must be a plain URL such as {DEFAULT_BASE_URL!r}, without user, password, query or fragment"
    return None


def _check_choice(value: object, choices: tuple[str, ...]) -> str | None:
    return None if value in choices else f"must be one of {', '.join(map(repr, choices))}"


def _check_text(value: object) -> str | None:
    return None if value is None or (isinstance(value, str) and value) else "must be a string"


def _check_page_size(value: object) -> str | None:
    fits = is_whole(value) and 1 <= value <= MAX_PAGE_SIZE
    return None if fits else f"must be a whole number from 1 to {MAX_PAGE_SIZE}"


def _check_retries(value: object) -> str | None:
    return None if isinstance(value, RetryConfig) else "must be a RetryConfig or a dictionary of its fields"


def _check_pace(value: object) -> str | None:
    fits = is_number(value) and 12 <= value <= 1_000_000
    return None if value is None or fits else "must be a number from 12 to 1,000,000, or None"


def _check_count(value: object) -> str | None:
    fits = is_whole(value) and value >= 0
    return None if fits else "must be a whole number, 0 or more"


def _check_share(value: object) -> str | None:
    fits = is_number(value) and 0 <= value <= 1
    return None if fits else "must be a number from 0 to 1"


def _check_seconds(value: object) -> str | None:
    fits = is_number(value) and 0 < value < 86_400
    return None if fits else "must be a number of seconds above 0 and below a day"

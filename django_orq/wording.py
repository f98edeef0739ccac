"""Texts that are composed when they are shown: for people in the language of whoever reads, for logs in English.

What is raised or stored is a template of ours, in English, and the values that complete it. Some of these are
templates themselves, such as the reason why something failed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.utils.formats import number_format
from django.utils.functional import lazy
from django.utils.translation import gettext, pgettext_lazy

_OPERATIONS = {
    "list": pgettext_lazy("what Orq is asked to do", "list"),
    "create": pgettext_lazy("what Orq is asked to do", "create"),
    "retrieve": pgettext_lazy("what Orq is asked to do", "retrieve"),
    "update": pgettext_lazy("what Orq is asked to do", "update"),
    "delete": pgettext_lazy("what Orq is asked to do", "delete"),
}
MISFIT = (LookupError, ValueError)
"""What comes of composing a template of another version."""
_TEMPLATES = frozenset({"reason", "malformed", "said", "hint"})
"""Values that are templates of ours; never a text from elsewhere, for these can do more than stand there."""


class Words(Mapping[str, Any]):
    """The values of a text as they stand in it: the words among them translated, unless they are ``for_logs``."""

    def __init__(self, values: Mapping[str, Any], *, for_logs: bool = False) -> None:
        self._values = values
        # Where Django is not set up, as in a script that uses the service alone, there are no translations.
        self._translates = apps.ready and not for_logs

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        if name in _TEMPLATES and value:
            return self.complete(value)
        if name == "operation" and self._translates:
            return str(_OPERATIONS.get(value, value))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def compose(self, template: str) -> str:
        """One of ``MISFIT`` if it has a place for a value that is not there, or is of another kind."""
        return (gettext(template) if self._translates else template).format_map(self)

    def complete(self, template: str) -> str:
        """As ``compose``; a template that these values don't fit is left as it is."""
        try:
            return self.compose(template)
        except MISFIT:
            return template


def marked(text: str) -> str:
    """The text itself, marked for translation; Django's own ``gettext_noop`` asks the settings, at import."""
    return text


def for_reader(template: str, values: Mapping[str, Any]) -> str:
    return Words(values).complete(template)


def for_logs(template: str, values: Mapping[str, Any]) -> str:
    return Words(values, for_logs=True).complete(template)


def number(count: int) -> str:
    """With its thousands apart, as the reader's language has them."""
    return number_format(count, force_grouping=True)


number_lazy = lazy(number, str)

"""The forms for several conversations at once."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from ..exceptions import ConversationChanged
from ..mirror.orders import Order
from ..models import Conversation
from .forms import NameField, Renewable, TokenField, describe_change, name_widget, parse_moment

_KEY = re.compile(r"[0-9]{1,18}")
_NAME = "name-"
"""What the fields of new names begin with, before the primary key."""


class RenameSelectedForm(Renewable, forms.Form):
    """A new name for each of several conversations, the present one to begin with."""

    form_token = TokenField()
    seen = forms.CharField(widget=forms.HiddenInput, strip=False)
    """JSON, by primary key: the ``remote_updated_at`` and the name of each when the person saw it."""

    def __init__(self, conversations: Sequence[Conversation], data: Any = None) -> None:
        seen = {str(row.pk): [row.remote_updated_at.isoformat(), row.display_name] for row in conversations}
        super().__init__(data, initial={"seen": json.dumps(seen)})
        self.conversations = conversations
        for row in conversations:
            # Checked by ``clean``, and only if it was changed: what Orq has need not be what we would send.
            self.fields[f"{_NAME}{row.pk}"] = forms.CharField(
                label=str(row), initial=row.display_name, widget=name_widget(), required=False
            )

    @property
    def rows(self) -> list[tuple[Conversation, forms.BoundField]]:
        return [(row, self[f"{_NAME}{row.pk}"]) for row in self.conversations]

    def clean_seen(self) -> dict[str, tuple[datetime, str]]:
        try:
            seen = json.loads(self.cleaned_data["seen"])
            return {str(row.pk): _parse_seen(*seen[str(row.pk)]) for row in self.conversations}
        except (KeyError, TypeError, ValueError, RecursionError):
            message = gettext("This page is incomplete. Load it again before you save.")
            raise ValidationError(message, code="incomplete") from None

    def clean(self) -> dict[str, Any]:
        self.orders: list[Order] = []
        """For those whose name the person has changed."""
        if "seen" in self.cleaned_data:
            for row, field in self.rows:
                self._clean_name(row, field.name)
        return self.cleaned_data

    def _clean_name(self, row: Conversation, field: str) -> None:
        expected, name = self.cleaned_data["seen"][str(row.pk)]
        if self.cleaned_data.get(field, "") == _as_browsers_send(name):
            return
        try:
            wanted = NameField().clean(self.cleaned_data.get(field, ""))
        except ValidationError as error:
            self.add_error(field, error)
        else:
            self.orders.append(Order(conversation=row, wanted=wanted, expected_updated_at=expected))

    def ask_again(self, order: Order, change: ConversationChanged) -> None:
        """Say what one of them has become; sending the form once more replaces that name."""
        key = str(order.conversation.pk)
        self.add_error(f"{_NAME}{key}", ValidationError(describe_change(change), code=change.code))
        seen = {pk: [time.isoformat(), name] for pk, (time, name) in self.cleaned_data["seen"].items()}
        seen[key] = [change.updated_at.isoformat(), change.display_name]
        self.show_again(seen=json.dumps(seen))


def keys_to_rename(posted: Iterable[str]) -> list[int]:
    """Of the names of a sent form's fields, the primary keys of the conversations that it has a field for."""
    return _parse_keys(name.removeprefix(_NAME) for name in posted if name.startswith(_NAME))


def _parse_keys(texts: Iterable[str]) -> list[int]:
    """Those that are primary keys, as every database can compare with them."""
    return [int(text) for text in texts if _KEY.fullmatch(text)]


def _parse_seen(time: str, name: str) -> tuple[datetime, str]:
    moment = parse_moment(time)
    if moment is None or not isinstance(name, str):
        raise ValueError
    return moment, name


def _as_browsers_send(name: str) -> str:
    """What comes back of a name in a field of one line that nobody touched."""
    return name.replace("\r", "").replace("\n", "").strip()


class SelectionForm(forms.Form):
    """Conversations that a person has looked at once more before they confirm."""

    form_token = TokenField()
    selected = forms.CharField(widget=forms.HiddenInput)
    """Their primary keys, with commas: one field, for requests may have a thousand at most."""
    seen = forms.CharField(widget=forms.HiddenInput, required=False, strip=False)
    """A digest of the names that the person saw."""

    def clean_selected(self) -> list[int]:
        texts = self.cleaned_data["selected"].split(",")
        keys = _parse_keys(texts)
        if len(keys) < len(texts):
            raise ValidationError(gettext("This page is incomplete. Load it again."), code="incomplete")
        return keys


def digest_of_names(rows: Sequence[Conversation]) -> str:
    names = json.dumps(sorted((row.pk, row.display_name) for row in rows))
    return hashlib.sha256(names.encode()).hexdigest()

"""The forms for several conversations at once."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from ..exceptions import ConversationChanged
from ..models import Conversation
from ..orders import Order
from .forms import NameField, TokenField, describe_change

_KEY = re.compile(r"[0-9]{1,18}")


class RenameSelectedForm(forms.Form):
    """A new name for each of several conversations, the present one to begin with."""

    form_token = TokenField()
    seen = forms.JSONField(widget=forms.HiddenInput)
    """By primary key: the ``remote_updated_at`` and the name of each when the person saw it."""

    def __init__(self, conversations: Sequence[Conversation], data: Any = None) -> None:
        seen = {str(row.pk): [row.remote_updated_at.isoformat(), row.display_name] for row in conversations}
        super().__init__(data, initial={"seen": seen})
        self.conversations = conversations
        for row in conversations:
            self.fields[f"name-{row.pk}"] = NameField(label=str(row), initial=row.display_name)

    @property
    def rows(self) -> list[tuple[Conversation, forms.BoundField]]:
        return [(row, self[f"name-{row.pk}"]) for row in self.conversations]

    @property
    def orders(self) -> list[Order]:
        """For those whose name the person has changed."""
        return [order for row, field in self.rows if (order := self._order(row, field.name))]

    def _order(self, row: Conversation, field: str) -> Order | None:
        expected, name = self.cleaned_data["seen"][str(row.pk)]
        wanted = self.cleaned_data[field]
        return None if wanted == name.strip() else Order(conversation=row, wanted=wanted, expected_updated_at=expected)

    def clean_seen(self) -> dict[str, tuple[datetime, str]]:
        try:
            return {str(row.pk): _parse_seen(*self.cleaned_data["seen"][str(row.pk)]) for row in self.conversations}
        except (KeyError, TypeError, ValueError):
            message = gettext("This page is incomplete. Load it again before you save.")
            raise ValidationError(message, code="incomplete") from None

    def ask_again(self, order: Order, change: ConversationChanged) -> None:
        """Say what one of them has become; sending the form once more replaces that name."""
        key = str(order.conversation.pk)
        self.add_error(f"name-{key}", ValidationError(describe_change(change), code=change.code))
        seen = {pk: [time.isoformat(), name] for pk, (time, name) in self.cleaned_data["seen"].items()}
        seen[key] = [change.updated_at.isoformat(), change.display_name]
        self.data = {name: self.data[name] for name in self.data} | {"seen": json.dumps(seen)}


def _parse_seen(time: str, name: str) -> tuple[datetime, str]:
    moment = datetime.fromisoformat(time)
    if moment.tzinfo is None or not isinstance(name, str):
        raise ValueError
    return moment, name


class SelectionForm(forms.Form):
    """Conversations that a person has looked at once more before they confirm."""

    form_token = TokenField()
    selected = forms.CharField(widget=forms.HiddenInput)
    """Their primary keys, with commas: one field, for requests may have a thousand at most."""

    def clean_selected(self) -> list[int]:
        keys = self.cleaned_data["selected"].split(",")
        if not all(_KEY.fullmatch(key) for key in keys):
            raise ValidationError(gettext("This page is incomplete. Load it again."), code="incomplete")
        return [int(key) for key in keys]

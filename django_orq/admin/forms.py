"""The forms for one conversation and for several. None writes its instance: Orq's answers do."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..conf import DEFAULT_ALIAS
from ..exceptions import ConversationChanged, InvalidName
from ..mirror.operations import Order
from ..models import Conversation
from ..payloads import clean_display_name
from .base import known_aliases
from .texts import explain_conflict

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Conversation]
else:
    _ModelForm = forms.ModelForm

_KEY = re.compile(r"[0-9]{1,18}")
_NAME = "name-"
"""What the fields of new names begin with, before the primary key."""
_INCOMPLETE = _("This page is incomplete. Load it again before you save.")

# For a name in whichever direction it is written. No maxlength: browsers count some characters twice, and blanks
# around the name that don't count.
_name_widget = partial(AdminTextInputWidget, attrs={"dir": "auto"})


class TokenField(forms.UUIDField):
    """A form's own mark: what it requests is done once, however often it is sent."""

    def __init__(self) -> None:
        super().__init__(required=False, initial=uuid4, widget=forms.HiddenInput)

    def clean(self, value: Any) -> str | None:
        token: UUID | None = super().clean(value)
        return token.hex if token else None


def show_again(form: forms.BaseForm, **changed: str) -> None:
    """Have a form shown as it was sent, but for these fields."""
    form.data = {name: form.data[name] for name in form.data} | changed


class NameField(forms.CharField):
    """A conversation's name, as it is checked before anything is sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=_name_widget(), **options)

    def clean(self, value: Any) -> str:
        try:
            return clean_display_name(super().clean(value))
        except InvalidName as error:
            raise ValidationError(error.message, code=error.code) from None


class _NameForm(_ModelForm):
    display_name = NameField(label=_("Name"), help_text=_("1 to 100 characters, as it will be called in Orq."))

    class Meta:
        model = Conversation
        fields = ("display_name",)

    def _post_clean(self) -> None:
        """Where a stock form writes to its instance."""


class CreateForm(_NameForm):
    workspace = forms.ChoiceField(label=_("Workspace"))
    form_token = TokenField()

    field_order = ("workspace", "display_name")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        aliases = known_aliases()
        self.lone_workspace = aliases[0] if aliases else DEFAULT_ALIAS
        if len(aliases) > 1:
            self.fields["workspace"].choices = [(alias, alias) for alias in aliases]  # type: ignore[attr-defined] # of a ChoiceField
        else:
            del self.fields["workspace"]

    @property
    def order(self) -> Order:
        name = self.cleaned_data["display_name"]
        return Order(conversation=Conversation(workspace=self.chosen_workspace, display_name=name))

    @property
    def chosen_workspace(self) -> str:
        chosen: str = self.cleaned_data.get("workspace", self.lone_workspace)
        return chosen


class RenameForm(_NameForm):
    expected_updated_at = forms.CharField(widget=forms.HiddenInput, required=False)
    """The conversation's ``remote_updated_at`` when the person saw it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["expected_updated_at"] = self.instance.remote_updated_at.isoformat()

    def clean(self) -> dict[str, Any]:
        if _parse_moment(self.cleaned_data.get("expected_updated_at")) is None:
            raise ValidationError(_INCOMPLETE, code="incomplete")
        return self.cleaned_data

    @property
    def order(self) -> Order:
        wanted, seen = self.cleaned_data["display_name"], self.cleaned_data["expected_updated_at"]
        return Order(conversation=self.instance, wanted=wanted, expected_updated_at=_parse_moment(seen))

    def ask_again(self, change: ConversationChanged) -> None:
        """Say what the name has become; saving the same form once more replaces it."""
        self.add_error("display_name", ValidationError(explain_conflict(change), code=change.code))
        show_again(self, expected_updated_at=change.updated_at.isoformat())


class RenameSelectedForm(forms.Form):
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
                label=str(row), initial=row.display_name, widget=_name_widget(), required=False
            )

    @property
    def rows(self) -> list[tuple[Conversation, forms.BoundField]]:
        return [(row, self[f"{_NAME}{row.pk}"]) for row in self.conversations]

    def clean_seen(self) -> dict[str, tuple[datetime, str]]:
        try:
            seen = json.loads(self.cleaned_data["seen"])
            return {str(row.pk): _parse_seen(*seen[str(row.pk)]) for row in self.conversations}
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ValidationError(_INCOMPLETE, code="incomplete") from None

    def clean(self) -> dict[str, Any]:
        self.orders: list[Order] = []
        """For those whose name the person has changed."""
        for row, field in self.rows if "seen" in self.cleaned_data else ():
            self._clean_name(row, field.name)
        return self.cleaned_data

    def _clean_name(self, row: Conversation, field: str) -> None:
        expected, name = self.cleaned_data["seen"][str(row.pk)]
        typed = self.cleaned_data.get(field, "")
        if typed == name.replace("\r", "").replace("\n", "").strip():  # as browsers send a field that nobody touched
            return
        try:
            wanted = NameField().clean(typed)
        except ValidationError as error:
            self.add_error(field, error)
        else:
            self.orders.append(Order(conversation=row, wanted=wanted, expected_updated_at=expected))

    def ask_again(self, order: Order, change: ConversationChanged) -> None:
        """Say what one of them has become; sending the form once more replaces that name."""
        key = str(order.conversation.pk)
        self.add_error(f"{_NAME}{key}", ValidationError(explain_conflict(change), code=change.code))
        seen = json.loads(self.data["seen"]) | {key: [change.updated_at.isoformat(), change.display_name]}
        show_again(self, seen=json.dumps(seen))


class SelectionForm(forms.Form):
    """Conversations that a person has looked at once more before they confirm."""

    form_token = TokenField()
    selected = forms.CharField(widget=forms.HiddenInput)
    """Their primary keys, with commas: one field, for requests may have a thousand at most."""
    seen = forms.CharField(widget=forms.HiddenInput, required=False, strip=False)
    """A digest of the names that the person saw."""

    def clean_selected(self) -> list[int]:
        texts = self.cleaned_data["selected"].split(",")
        keys = parse_keys(texts)
        if len(keys) < len(texts):
            raise ValidationError(_INCOMPLETE, code="incomplete")
        return keys


def keys_to_rename(posted: Iterable[str]) -> list[int]:
    """Of the names of a sent form's fields, the primary keys of the conversations that it has a field for."""
    return parse_keys(name.removeprefix(_NAME) for name in posted if name.startswith(_NAME))


def parse_keys(texts: Iterable[str]) -> list[int]:
    """Those that are primary keys, as every database can compare with them."""
    return [int(text) for text in texts if _KEY.fullmatch(text)]


def digest_of_names(rows: Sequence[Conversation]) -> str:
    names = json.dumps(sorted((row.pk, row.display_name) for row in rows))
    return hashlib.sha256(names.encode()).hexdigest()


def _parse_seen(time: str, name: str) -> tuple[datetime, str]:
    moment = _parse_moment(time)
    if moment is None or not isinstance(name, str):
        raise ValueError
    return moment, name


def _parse_moment(text: Any) -> datetime | None:
    """An aware time that every database can compare with; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo and 1970 <= moment.year <= 9000 else None

"""The two forms of a conversation, and what others have in common with them.

None writes its instance: Orq's answers do.
"""

import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.timezone import now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..conf import DEFAULT_ALIAS
from ..exceptions import ConversationChanged, InvalidName
from ..mirror.orders import Order
from ..models import Conversation
from ..payloads import clean_display_name
from ..text import in_words
from .names import isolated
from .workspaces import known_aliases

if TYPE_CHECKING:
    _ModelForm = forms.ModelForm[Conversation]
else:
    _ModelForm = forms.ModelForm


_TOKEN = re.compile(r"[0-9a-f]{32}")


class MomentField(forms.Field):
    """An exact, aware time that a page carries for us, whatever the languages and time zones of its readers."""

    widget = forms.HiddenInput

    def prepare_value(self, value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    def to_python(self, value: Any) -> datetime | None:
        return parse_moment(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False  # nothing that a person changes


def parse_moment(text: Any) -> datetime | None:
    """An aware time that every database can compare with; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo and 1970 <= moment.year <= 9000 else None


class TokenField(forms.CharField):
    """A form's own mark: what it orders is done once, however often it is sent."""

    widget = forms.HiddenInput

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, "initial": new_token, **options})

    def to_python(self, value: Any) -> str:
        return value if isinstance(value, str) and _TOKEN.fullmatch(value) else new_token()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False  # nothing that a person changes


def new_token() -> str:
    return uuid.uuid4().hex


def posted_token(request: HttpRequest) -> str:
    """That of the form which was sent; a new one if it had none."""
    return TokenField().to_python(request.POST.get("form_token"))


class SelectionActionForm(ActionForm):
    """Above and below the list: what to do with the selected ones."""

    form_token = TokenField(label="")


def name_widget() -> AdminTextInputWidget:
    """For a name in whichever direction it is written."""
    # No maxlength: browsers count some characters twice, and blanks around the name that don't count.
    return AdminTextInputWidget(attrs={"dir": "auto"})


class NameField(forms.CharField):
    """A conversation's name, as it is checked before anything is sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"widget": name_widget(), **options})

    def clean(self, value: Any) -> str:
        try:
            return clean_display_name(super().clean(value))
        except InvalidName as error:
            raise ValidationError(error.message, code=error.code) from None


class Renewable:
    """A form with a ``form_token`` that may be shown again as it was sent."""

    data: Any

    def renew(self) -> None:
        """What this form ordered has failed: sent again, it orders anew."""
        self.show_again(form_token=new_token())

    def show_again(self, **changed: str) -> None:
        """As it was sent, but for these fields."""
        self.data = {name: self.data[name] for name in self.data} | changed


class _NameForm(Renewable, _ModelForm):
    display_name = NameField(label=_("Name"), help_text=_("1 to 100 characters, as it will be called in Orq."))
    form_token = TokenField()

    class Meta:
        model = Conversation
        fields = ("display_name",)

    def _post_clean(self) -> None:
        """Where a stock form writes to its instance."""


class CreateForm(_NameForm):
    workspace = forms.ChoiceField(label=_("Workspace"))

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
    expected_updated_at = MomentField(required=False)
    """The conversation's ``remote_updated_at`` when the person saw it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["expected_updated_at"] = self.instance.remote_updated_at

    def clean(self) -> dict[str, Any]:
        if self.cleaned_data.get("expected_updated_at") is None:
            raise ValidationError(_("This page is incomplete. Load it again before you save."), code="incomplete")
        return self.cleaned_data

    @property
    def order(self) -> Order:
        wanted, expected = self.cleaned_data["display_name"], self.cleaned_data["expected_updated_at"]
        return Order(conversation=self.instance, wanted=wanted, expected_updated_at=expected)

    def ask_again(self, change: ConversationChanged) -> None:
        """Say what the name has become; saving the same form once more replaces it."""
        self.add_error("display_name", ValidationError(describe_change(change), code=change.code))
        self.show_again(expected_updated_at=change.updated_at.isoformat())


def describe_change(change: ConversationChanged) -> str:
    ago = in_words(now() - change.updated_at)
    if change.updated_by_id:
        text = gettext(
            "It is now called “%(name)s” (changed %(ago)s ago by %(who)s). Save again to replace that name."
        )
    else:
        text = gettext("It is now called “%(name)s” (changed %(ago)s ago). Save again to replace that name.")
    return text % {"name": isolated(change.display_name), "ago": ago, "who": change.updated_by_id}

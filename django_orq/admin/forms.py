"""The forms for one conversation and for several. They save nothing: a row follows Orq's response."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any
from zlib import crc32

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.translation import gettext, gettext_lazy as _

from ..exceptions import ConversationChanged, InvalidName
from ..mirror.operations import MAX_ITEMS, ItemRequest
from ..models import Conversation
from ..payloads import MAX_NAME, clean_display_name
from ..text import number as localized
from .texts import explain_conflict

_BUTTONS = "admin/django_orq/conversation/includes/conflict.html"


class NameField(forms.CharField):
    """A conversation's name, validated by the same rules as before a request to Orq."""

    def __init__(self, **options: Any) -> None:
        # "auto" suits names in any writing direction. With "autocomplete", a browser's Back would restore the name
        # that was entered, but not the hidden fields that belong to it: what was seen, and the form's token. There is
        # no maxlength, because browsers count some characters twice, and also count blanks around the name.
        super().__init__(widget=AdminTextInputWidget({"dir": "auto", "autocomplete": "off"}), strip=False, **options)

    def clean(self, value: Any) -> str:
        try:
            return clean_display_name(super().clean(value))
        except InvalidName as error:
            raise ValidationError(error.message, code=error.code) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the user changed the name. Browsers remove line breaks from an input, which does not count."""
        return bool((data or "").strip() != initial and data != (initial or "").translate({10: None, 13: None}))


class _TextField(forms.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(widget=AdminTextInputWidget(attrs={"dir": "auto"}), required=False, strip=False, **options)


class _NameForm(forms.ModelForm):  # type: ignore[type-arg] # generic only in the stubs
    # A name from Orq may be one that we would not send, so a name is validated only if it was changed.
    display_name = NameField(
        label=_("Name"), help_text=_("1 to 100 characters. This is the name in Orq."), show_hidden_initial=True
    )

    class Meta:
        model = Conversation
        fields = ("display_name",)

    def _post_clean(self) -> None:
        """Do nothing. A stock form writes to its instance here."""

    def save_m2m(self) -> None:
        """Do nothing. The admin calls this before it saves the inlines of a project."""


def asks_workspace(workspaces: Sequence[str], data: Any) -> bool:
    """Whether a form asks for the workspace: there are several, or one was submitted that is not offered any more."""
    return [data.get("workspace", *workspaces[:1])] != [*workspaces]


class _CreatingForm(forms.Form):
    """A form that asks for the workspace if necessary."""

    workspace = forms.ChoiceField(label=_("Workspace"))

    def __init__(self, *args: Any, workspaces: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._workspaces = workspaces
        if asks_workspace(workspaces, self.data):
            self.fields["workspace"].choices = [(alias, alias) for alias in workspaces]  # type: ignore[attr-defined] # of a ChoiceField
        else:
            del self.fields["workspace"]

    def _request(self, name: str) -> ItemRequest:
        workspace = self.cleaned_data.get("workspace", self._workspaces[0])
        return ItemRequest(conversation=Conversation(workspace=workspace, display_name=name))


class CreateForm(_CreatingForm, _NameForm):
    field_order = ("workspace", "display_name")

    @property
    def item_request(self) -> ItemRequest:
        return self._request(self.cleaned_data["display_name"])


class SeveralForm(_CreatingForm):
    names = forms.CharField(label=_("Names"), strip=False, widget=AdminTextareaWidget({"dir": "auto", "rows": 15}))

    def clean_names(self) -> list[str]:
        """Return the names, one from each line that is not blank."""
        names, problems = [], []
        for number, line in enumerate(self.cleaned_data["names"].splitlines(), 1):
            try:
                names += [clean_display_name(line)] if line.strip() else []
            except InvalidName as error:
                problems.append(gettext("Line %(number)s: %(problem)s") % {"number": number, "problem": error.message})
        if not (1 <= len(names) + len(problems) <= MAX_ITEMS):
            problems.append(gettext("Write 1 to %(most)s names, one per line.") % {"most": localized(MAX_ITEMS)})
        if problems:
            raise ValidationError(problems, code="invalid")
        return names

    @property
    def item_requests(self) -> list[ItemRequest]:
        return [self._request(name) for name in self.cleaned_data["names"]]


class RenameForm(_NameForm):
    expected_updated_at = forms.CharField(widget=forms.HiddenInput, required=False)
    """The conversation's ``remote_updated_at`` when the page was rendered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"empty_permitted": True, "use_required_attribute": False}  # an unchanged name is not validated
        super().__init__(*args, **kwargs)
        self.initial["expected_updated_at"] = self.instance.remote_updated_at.isoformat()
        # The buttons of a conflict, which count more than the name in the field.
        if self.add_prefix("keep") in self.data:
            self.data, self.is_bound = {}, False
        elif mine := self.data.get(self.add_prefix("replace")):
            self._set({self.add_prefix("display_name"): mine})

    def has_changed(self) -> bool:
        return "display_name" in self.changed_data

    def clean(self) -> dict[str, Any]:
        if self.fields and _parse_moment(self.cleaned_data.get("expected_updated_at")) is None:
            raise ValidationError(_("This page is incomplete. Reload it before you save."), code="incomplete")
        return self.cleaned_data

    @property
    def item_request(self) -> ItemRequest:
        seen: Any = {"seen_name": self.data.get(self["display_name"].html_initial_name)}
        seen["expected_updated_at"] = _parse_moment(self.cleaned_data["expected_updated_at"])
        return ItemRequest(conversation=self.instance, new_name=self.cleaned_data["display_name"], **seen)

    def ask_again(self, change: ConversationChanged) -> None:
        """Show the name that Orq has now as an error, with buttons to keep it and to replace it.

        Saving the form again replaces it too, by the name that is then in the field.
        """
        problem = explain_conflict(change, self.instance.workspace)
        self.add_error("display_name", ValidationError(problem, code=change.code))
        seen = {
            self.add_prefix("expected_updated_at"): change.updated_at.isoformat(),
            self["display_name"].html_initial_name: change.display_name,
        }
        self._set(seen)
        buttons = {"keep": self.add_prefix("keep"), "replace": self.add_prefix("replace")}
        names = {"theirs": change.display_name, "mine": self["display_name"].value()}
        self["display_name"].help_text = render_to_string(_BUTTONS, buttons | names)

    def _set(self, posted: dict[str, str]) -> None:
        self.data = {name: self.data[name] for name in self.data} | posted


class ProposalForm(forms.Form):
    """How to change the names of several conversations."""

    find = _TextField(label=_("Find"))
    replace = _TextField(label=_("Replace with"))
    prepend = _TextField(label=_("Prefix (put in front)"))

    def propose(self, rows: Iterable[Conversation]) -> dict[str, str]:
        """The content of the forms for these conversations, with new names that are made from the current ones."""
        find, replace, prepended = (self[name].value() or "" for name in self.fields)
        proposed: dict[str, str] = {}
        for form in rename_forms(rows):
            name, field = form.instance.display_name, form["display_name"]
            new = prepended + (name.replace(find, replace) if find else name)
            if len(new) > 10 * MAX_NAME and new != name:
                # Blanks around it do not count. If it is too long without them, it stays so.
                new = new.strip() if len(new.strip()) <= MAX_NAME else f"{new.strip()[: 10 * MAX_NAME]}…"
            proposed |= {field.html_name: new, field.html_initial_name: name}
            proposed[form.add_prefix("expected_updated_at")] = form.initial["expected_updated_at"]
        return proposed


def rename_forms(rows: Iterable[Conversation], data: Any = None) -> list[RenameForm]:
    """A form for each conversation on one page; unchanged names are not validated."""
    return [RenameForm(data, instance=row, prefix=str(row.pk)) for row in rows]


def keys_to_rename(posted: Iterable[str]) -> list[int]:
    """The primary keys of the conversations in a submitted page, taken from the names of its fields."""
    return parse_keys(name.partition("-")[0] for name in posted if name.endswith("-display_name"))


def joined_keys(rows: Iterable[Conversation]) -> str:
    """The primary keys as a page sends them in its field ``selected``."""
    return ",".join(str(row.pk) for row in rows)


def posted_keys(request: HttpRequest) -> list[int]:
    """The primary keys of the conversations that were selected in a submitted page."""
    return parse_keys(request.POST.get("selected", "").split(","))


def parse_keys(texts: Iterable[str]) -> list[int]:
    """The texts that are valid primary keys on every database."""
    return [int(text) for text in texts if re.fullmatch("[0-9]{1,18}", text)]


def digest_of_names(rows: Sequence[Conversation]) -> str:
    return str(crc32(repr(sorted((row.pk, row.display_name) for row in rows)).encode(errors="replace")))


def posted_token(request: HttpRequest, content: object = "") -> str | None:
    """A token of the submitted form, so that it is processed once if it is submitted several times.

    With the ``content`` that counts, it is processed again if that was changed after the browser's Back button. If the
    page has a selection, that counts: some of its rows may have changed since.
    """
    token, content = request.POST.get("form_token", ""), request.POST.get("selected") or content
    digest = blake2b(f"{request.user.pk} {token}{content}".encode(errors="replace"), digest_size=16).hexdigest()
    return digest if re.fullmatch("[0-9a-f]{32}", token) else None


def _parse_moment(text: Any) -> datetime | None:
    """Parse an aware time that every database supports; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(text or "")
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo and 1970 <= moment.year <= 9000 else None

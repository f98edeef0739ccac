"""Every text for people is marked, in both catalogues, and wholly translated into German."""

import gettext
import os
import re
import shutil
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polib
import pytest

from .marked import (
    PACKAGE,
    Message,
    marked_in_python,
    marked_in_template,
    python_files,
    scripts,
    template_files,
    unmarked_in_python,
    unmarked_in_script,
    unmarked_in_template,
)

LANGUAGES = ("de", "en")
PROGRAM = shutil.which("xgettext")
MAKEMESSAGES = ("makemessages", "--no-obsolete", "--add-location", "file")
ELSEWHERE = {
    "checks.py": "Django shows the messages of system checks in English",
    "logs.py": "the log is in English",
    "service.py": "reasons of errors are in English",
    "transport/http.py": "reasons of errors are in English",
    "transport/responses.py": "reasons of errors are in English",
    "conf.py": "what is wrong with settings is told to developers, as Django's ImproperlyConfigured",
}
"""Modules whose texts are not for people."""
NOT_FOR_PEOPLE = {
    "DisallowedModelAdminToField": "a forged address; Django answers without the text",
    "OSError": "of connections, and told in other words",
    "Refused": "reasons of errors are in English",
    "StrayWrite": "for developers",
    "TimeoutError": "of connections, and told in other words",
    "TypeError": "for developers",
    "_take": "reasons of errors are in English",
    "add_argument": "beside Django's own options, which --help has in English",
    "format_html": "markup",
    "help": "beside Django's own options, which --help has in English",
    "log": "the log is in English",
    "log_change": "the history is stored, in English as by Django",
}
"""Calls and attributes whose texts are not for people."""
PLAIN = {
    "Refreshed from Orq.": "the history is stored, in English as by Django",
    "an operation is about 1 to {} conversations, not {}": "for developers: the admin counts before",
    "nested too deeply to be shown": "in the place of a payload, and stored",
    "sync run": "a word of the log",
    "use strict": "JavaScript's own",
}
"""Other texts of several words that are not for people, or not in any language."""


def catalogue(language: str) -> polib.POFile:
    return polib.pofile(str(PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"))


def message_of(entry: polib.POEntry) -> Message:
    return entry.msgctxt, entry.msgid, entry.msgid_plural or None


def content_of(entry: polib.POEntry) -> tuple[object, ...]:
    return *message_of(entry), entry.msgstr, entry.msgstr_plural, entry.fuzzy


def places(text: str) -> Counter[str]:
    """Its placeholders, of both kinds."""
    braces = [f"{{{name}!{how}:{form}}}" for _, name, form, how in string.Formatter().parse(text) if name is not None]
    return Counter([*re.findall(r"%\(\w+\)[a-z]|%(?!\()[a-z]", text), *braces])


def translated(language: str) -> list[tuple[str, str]]:
    """Each text, in the singular and in the plural, with its translation."""
    entries = catalogue(language).translated_entries()
    singular = [(entry.msgid, entry.msgstr or entry.msgstr_plural[0]) for entry in entries]
    return singular + [(entry.msgid_plural, entry.msgstr_plural[1]) for entry in entries if entry.msgid_plural]


@pytest.fixture(scope="module")
def sources() -> set[Message]:
    marked: set[Message] = set()
    for path in python_files():
        marked.update(marked_in_python(path.read_text()))
    for path in template_files():
        marked.update(marked_in_template(path.read_text()))
    return marked


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_has_the_texts_of_the_sources_and_no_others(language, sources):
    known = {message_of(entry) for entry in catalogue(language)}

    assert sources - known == set(), "make messages"
    assert known - sources == set(), "make messages"


def test_english_catalogue_is_left_to_the_sources():
    assert [entry.msgid for entry in catalogue("en") if entry.msgstr or any(entry.msgstr_plural.values())] == []


def test_german_is_whole_and_certain():
    german = catalogue("de")

    assert [entry.msgid for entry in german.untranslated_entries()] == []
    assert [entry.msgid for entry in german.fuzzy_entries()] == []
    assert [entry.msgid for entry in german.obsolete_entries()] == []


def test_german_keeps_the_placeholders():
    for english, german in translated("de"):
        assert places(german) == places(english)


def test_german_begins_and_ends_as_the_english_does():
    """So that it joins what stands before and after it."""
    for english, german in translated("de"):
        assert [german[0].isspace(), german[-1].isspace()] == [english[0].isspace(), english[-1].isspace()], german
        assert german.endswith((".", "?", ":", "…")) == english.endswith((".", "?", ":", "…")), german


def test_placeholders_of_both_kinds_are_found():
    assert places("%(count)s of {total}, %d and {style!r}") == Counter(
        ["%(count)s", "{total!None:}", "%d", "{style!r:}"]
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_compiled_catalogue_is_of_the_same_texts(language):
    with (PACKAGE / "locale" / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)

    for entry in catalogue(language).translated_entries():
        if entry.msgid_plural:
            found = [compiled.ngettext(entry.msgid, entry.msgid_plural, count) for count in (1, 2)]
            assert found == [entry.msgstr_plural[0], entry.msgstr_plural[1]], "make messages"
        elif entry.msgctxt:
            assert compiled.pgettext(entry.msgctxt, entry.msgid) == entry.msgstr, "make messages"
        else:
            assert compiled.gettext(entry.msgid) == entry.msgstr, "make messages"


@pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("ORQ_GETTEXT"), reason="needs xgettext, of Debian's package gettext"
)
def test_makemessages_would_change_nothing(tmp_path):
    assert PROGRAM is not None, "xgettext is not installed"
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "django_orq"))
    languages = [argument for language in LANGUAGES for argument in ("--locale", language)]
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "django", *MAKEMESSAGES, *languages]
    subprocess.run(command, cwd=copy, env=environ, check=True)  # noqa: S603 # our own words

    for language in LANGUAGES:
        made = polib.pofile(str(copy / "locale" / language / "LC_MESSAGES" / "django.po"))
        assert list(map(content_of, made)) == list(map(content_of, catalogue(language))), "make messages"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_for_people_is_unmarked(path):
    if str(path.relative_to(PACKAGE)) in ELSEWHERE:
        return
    found = unmarked_in_python(path.read_text())

    assert [one for one in found if one.of not in NOT_FOR_PEOPLE and one.text not in PLAIN] == []


@pytest.mark.parametrize("path", template_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_of_a_template_is_unmarked(path):
    assert list(unmarked_in_template(path.read_text())) == []


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_scripts_have_no_texts_but_those_of_their_pages(path):
    assert [one.text for one in unmarked_in_script(path.read_text()) if one.text not in PLAIN] == []


@pytest.mark.parametrize(
    "source",
    [
        'self.message_user(request, "It was deleted.")',
        'self.message_user(request, f"{name} was deleted")',
        'raise ValidationError(message="This page is incomplete.")',
        'label = "Name"',
        'field = CharField(help_text="Name")',
        'raise CommandError("There is no run " + number)',
        'text = {"update": "The name may have changed"}',
        'template = "Orq answered {status}"',
    ],
)
def test_unmarked_text_is_found(source):
    assert len(list(unmarked_in_python(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring of several words."""',
        'from django.utils.translation import gettext_lazy as _\nlabel = _("Name of it")',
        'from django.utils.translation import ngettext\ntext = ngettext("one page", "many pages", 2)',
        'logger.info("run %s has ended", 1)',
        'template = "{reason}"',
        'def given(self: "Task[[int, str], None]"): ...',
    ],
)
def test_marked_text_is_not_found(source):
    assert list(unmarked_in_python(source)) == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>Load it again</p>", "Load it again"),
        ('<a href="{{ url }}">Here</a>', "Here"),
        ('<section aria-label="How fresh">{{ it }}</section>', "How fresh"),
        ("{% if it %}{{ it }} pages{% endif %}", "pages"),
    ],
)
def test_unmarked_text_of_a_template_is_found(source, text):
    assert [one.text for one in unmarked_in_template(source)] == [text]


def test_unmarked_text_of_a_script_is_found():
    assert len(list(unmarked_in_script('write(element, "The server is out of reach");'))) == 1

"""The public API's page names exactly what the modules export; `docs/tables.py` writes its tables."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import django_orq

PAGE = Path(__file__).parents[1] / "docs" / "python-api.md"
NAMES = [module.name for module in walk_packages(django_orq.__path__, "django_orq.")]
MODULES = [import_module(name) for name in NAMES if not name.startswith("django_orq.testing.")]
PUBLIC = [module for module in MODULES if hasattr(module, "__all__")]


def test_page_has_every_module_that_says_what_is_public():
    headings = re.findall(r"^## `(django_orq\..+)`$", PAGE.read_text(), re.M)
    assert sorted(headings) == sorted(module.__name__ for module in PUBLIC)


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_page_has_the_public_names_of_the_module_and_no_others(module):
    section = PAGE.read_text().partition(f"\n## `{module.__name__}`\n")[2].partition("\n## ")[0]
    table = section.partition("| name |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `(\w+)", table, re.M)

    assert {*named} == {*module.__all__}
    assert all(hasattr(module, name) for name in module.__all__)

"""In the matrix it is the built wheel that is tested, with what the name of the environment says."""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution, version
from pathlib import Path

import django
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import django_orq

FOLDER = Path(__file__).parents[2]
MATRIX = os.environ.get("ORQ_MATRIX", "")

pytestmark = pytest.mark.skipif(not MATRIX, reason="is about what tox installs: make matrix")


def test_package_is_imported_from_where_it_was_installed():
    assert Path(django_orq.__file__).parent == Path(sysconfig.get_path("purelib"), "django_orq")


@pytest.mark.parametrize("words", [("-c", "import django_orq"), ("-m", "django_orq.testing", "--help")])
def test_processes_of_the_tests_import_the_same(words):
    command = [sys.executable, "-v", *words]
    outcome = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)  # noqa: S603 # ours

    imported = re.findall(r"import 'django_orq\b.*SourceFileLoader", outcome.stderr)
    assert imported
    assert set(re.findall(r"\S+/django_orq/__init__.py", outcome.stderr)) == {django_orq.__file__}


def test_installed_is_the_wheel_that_was_built():
    origin = json.loads(distribution("django-orq").read_text("direct_url.json"))
    (wheel,) = Path(os.environ["ORQ_WHEELS"]).glob("*.whl")

    assert origin["archive_info"]["hashes"]["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_python_and_django_are_those_of_the_name():
    python, rest = MATRIX.split("-")

    assert python == f"py{sys.version_info.major}{sys.version_info.minor}"
    assert rest in ("oldest", "django{}{}".format(*django.VERSION))


@pytest.mark.skipif(not MATRIX.endswith("oldest"), reason="the others have the newest")
def test_oldest_is_the_oldest_that_the_wheel_allows():
    required = [Requirement(line) for line in distribution("django-orq").requires]
    ours = [requirement for requirement in required if requirement.marker is None]

    assert ours
    for requirement in ours:
        (allowed,) = requirement.specifier
        assert allowed.operator == ">="
        assert Version(allowed.version) == Version(version(requirement.name))

"""In the matrix the tests run against the installed wheel, with the versions in the environment's name."""

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import requires, version
from pathlib import Path

import django
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import django_orq

ENVIRONMENT = os.environ.get("TOX_ENV_NAME", "")
INSTALLED = Path(sysconfig.get_path("purelib"), "django_orq", "__init__.py")

pytestmark = pytest.mark.skipif(not ENVIRONMENT, reason="is about what tox installs: make matrix")


def test_installed_package_is_imported_and_not_the_checkout():
    command = [sys.executable, "-c", "import django_orq; print(django_orq.__file__)"]
    root = Path(__file__).parents[1]
    outcome = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603 # ours

    assert Path(django_orq.__file__) == Path(outcome.stdout.strip()) == INSTALLED


def test_versions_are_those_of_the_name():
    python, rest, *_database = ENVIRONMENT.split("-")

    assert python == "py{}{}".format(*sys.version_info)
    assert rest in ("oldest", "django{}{}".format(*django.VERSION))


@pytest.mark.skipif(not ENVIRONMENT.endswith("oldest"), reason="the others have the newest")
def test_oldest_is_the_oldest_that_the_wheel_allows():
    required = [Requirement(line) for line in requires("django-orq") or ()]
    oldest = {each.name: str(each.specifier) for each in required if each.marker is None}

    assert oldest
    for name, specifier in oldest.items():
        assert Version(specifier.removeprefix(">=")) == Version(version(name))

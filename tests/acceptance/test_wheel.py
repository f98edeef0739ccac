"""What the wheel holds: the package and its metadata, all of it and nothing else."""

import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from django_orq import __version__

METADATA = f"django_orq-{__version__}.dist-info"
PACKAGE = Path(__file__).parents[2] / "django_orq"


@pytest.fixture
def archive(wheel):
    with zipfile.ZipFile(wheel) as archive:
        yield archive


def test_wheel_is_for_every_platform_and_named_after_the_project(wheel):
    assert wheel.name == f"django_orq-{__version__}-py3-none-any.whl"


def test_wheel_holds_the_package_alone(archive):
    assert {name.split("/")[0] for name in archive.namelist()} == {"django_orq", METADATA}


def test_wheel_holds_every_file_of_the_package(archive):
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in archive.namelist() if name.startswith("django_orq/")} == ours
    assert {"django_orq/py.typed", "django_orq/migrations/0001_initial.py"} < ours
    assert any(name.endswith(".html") for name in ours)


def test_metadata_names_what_is_required(archive):
    metadata = message_from_bytes(archive.read(f"{METADATA}/METADATA"))
    assert (metadata["Name"], metadata["License"] or metadata["License-Expression"]) == ("django-orq", "MIT")
    assert metadata["Requires-Python"] == ">=3.11"
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(line.split(">=")[0].lower() for line in required) == [
        "celery",
        "django",
        "djangorestframework",
        "requests",
    ]

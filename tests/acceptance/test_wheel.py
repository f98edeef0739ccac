"""The wheel contains the package and its metadata alone; the sdist has everything that git has."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from django_orq import __version__

METADATA = f"django_orq-{__version__}.dist-info"
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "django_orq"
OF_EACH_KIND = {
    "django_orq/py.typed",
    "django_orq/migrations/0001_initial.py",
    "django_orq/static/django_orq/admin.css",
    "django_orq/templates/admin/django_orq/conversation/list.html",
    "django_orq/management/commands/orq_sync.py",
    "django_orq/testing/plugin.py",
}

pytestmark = pytest.mark.skipif(not PACKAGE.is_dir(), reason="needs the sources: make acceptance")


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
    assert ours >= OF_EACH_KIND


def test_wheel_by_way_of_the_sdist_is_the_same_as_of_the_sources(archive, tmp_path):
    sources = tmp_path / "sources"
    shutil.copytree(PACKAGE, sources / "django_orq", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, sources]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)  # noqa: S603 # the above

    (direct,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(direct) as other:
        assert _checksums(other) == _checksums(archive)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a checkout")
def test_sdist_holds_the_tests_and_everything_else_that_is_tracked_and_nothing_more(wheel):
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607 # the developer's git

    generated = {name for name in held if name == "PKG-INFO" or name.startswith("django_orq.egg-info/")}
    assert held - generated == {*tracked.splitlines()} - {".gitignore"}


def _checksums(archive: zipfile.ZipFile) -> dict[str, int]:
    return {entry.filename: entry.CRC for entry in archive.infolist()}


@pytest.fixture
def metadata(archive):
    return message_from_bytes(archive.read(f"{METADATA}/METADATA"))


def test_addresses_of_the_project_are_complete_and_in_one_place(metadata):
    names = ["Homepage", "Source", "Issues", "Security"]
    addresses = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    if not addresses:  # the owner has not filled them in yet
        assert re.findall(r"^#     (\w+) =$", (ROOT / "setup.cfg").read_text(), re.M) == names
        return

    assert [*addresses] == names
    assert all(address.startswith(("https://", "mailto:")) for address in addresses.values())
    pages = "".join((ROOT / name).read_text() for name in ("CONTRIBUTING.md", "README.md", "SECURITY.md"))
    assert [address for address in addresses.values() if address in pages] == []


def test_metadata_names_what_is_required(metadata):
    assert (metadata["Name"], metadata["License"] or metadata["License-Expression"]) == ("django-orq", "MIT")
    assert metadata["Requires-Python"] == ">=3.11"
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(line.split(">=")[0].lower() for line in required) == [
        "celery",
        "django",
        "djangorestframework",
        "requests",
        "urllib3",  # which requests brings along: only its oldest version is named
    ]

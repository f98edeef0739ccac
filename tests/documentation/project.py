"""A project as a page has its reader make it: what `startproject` gives, and the page's own files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from django.core.management import call_command

from .blocks import PROJECT, Block

SETTINGS = f"{PROJECT}/settings.py"
# After what the page says: where it is followed there is no server.
REST_OF_SETTINGS = """
INSTALLED_APPS = list(dict.fromkeys([*INSTALLED_APPS, "rest_framework", "django_orq", *{apps!r}]))
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}}}
CELERY_BROKER_URL = "memory://"
"""
URLS = """
from django.urls import include

urlpatterns += [path("orq/", include("django_orq.rest.urls"))]
"""
CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""


def make(folder: Path) -> None:
    """A new project in that folder."""
    call_command("startproject", PROJECT, str(folder))


def write(folder: Path, blocks: Sequence[Block]) -> list[str]:
    """The page's files, and what completes them; returns the files of tests."""
    tests = []
    for number, block in enumerate(blocks):
        if block.is_marked:
            continue
        name = block.file or (f"test_{number}.py" if block.has_tests else None)
        if name:
            _append(folder / name, block.text)
            if block.has_tests:
                tests.append(name)
    _complete(folder, [block for block in blocks if not block.is_marked])
    return list(dict.fromkeys(tests))


def _complete(folder: Path, blocks: Sequence[Block]) -> None:
    apps = sorted(set(_apps(blocks)))
    for app in apps:
        (folder / app / "__init__.py").touch()
    _append(folder / SETTINGS, REST_OF_SETTINGS.format(apps=apps))
    files = {block.file for block in blocks}
    if f"{PROJECT}/urls.py" not in files:
        _append(folder / PROJECT / "urls.py", URLS)
    if f"{PROJECT}/celery.py" not in files:
        _append(folder / PROJECT / "celery.py", CELERY)
    if f"{PROJECT}/__init__.py" not in files:
        _append(folder / PROJECT / "__init__.py", "from .celery import app as celery_app\n")


def _apps(blocks: Sequence[Block]) -> Iterator[str]:
    """The packages, beside the project's own, that the page has files in."""
    for block in blocks:
        package, slash, _name = (block.file or "").partition("/")
        if slash and package != PROJECT:
            yield package


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n{text}")

"""A new Django project with the built wheel, used as its owner would: through commands."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..programs import Program, environment, program, run

README = Path(__file__).parents[2] / "README.md"
# In addition to the README: Orq's address, and a broker that needs no server. Its messages are
# stored when processed, because otherwise they pass through the system's temporary folder.
SETTINGS = """
ORQ_WORKSPACES = {{"default": {{"BASE_URL": {base_url!r}}}}}  # the key is in the environment
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"  # not what django_orq has
CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS = {{
    "data_folder_in": str(BASE_DIR / "queue"),
    "data_folder_out": str(BASE_DIR / "queue"),
    "control_folder": str(BASE_DIR / "control"),
    "processed_folder": str(BASE_DIR / "processed"),
    "store_processed": True,
}}
"""
CELERY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
app = Celery("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
DEPRECATIONS = "error::DeprecationWarning,error::PendingDeprecationWarning"


class Project:
    """Created by `django-admin startproject` in `folder`; `programs` is the environment's `bin` folder."""

    def __init__(self, folder: Path, *, programs: Path, api_key: str, base_url: str) -> None:
        self.folder = folder
        self._programs = programs
        self._environment = environment() | {"ORQ_API_KEY": api_key, "PYTHONWARNINGS": DEPRECATIONS}
        self._run("django-admin", "startproject", "project", ".")
        self.append("settings.py", from_readme("mysite/settings.py"), SETTINGS.format(base_url=base_url))
        self.append("urls.py", from_readme("mysite/urls.py"))
        (folder / "project" / "celery.py").write_text(CELERY)
        (folder / "project" / "__init__.py").write_text("from .celery import app as celery_app\n")
        for name in ("queue", "control", "processed"):
            (folder / name).mkdir()

    def python(self, *words: str) -> str:
        """Run Python in the project's folder; return its standard output."""
        return self._run("python", *words)

    def manage(self, *words: str) -> str:
        return self.python("manage.py", *words)

    def send(self, task: str, arguments: str) -> None:
        """Put a task into the broker's queue; `arguments` are JSON."""
        self._run("celery", "-A", "project", "call", task, f"--kwargs={arguments}")

    @contextmanager
    def worker(self) -> Iterator[Program]:
        """Run a Celery worker in its own process group; it is stopped with SIGTERM at the end of the block."""
        command = (self._programs / "celery", "-A", "project", "worker", "--concurrency=2", "--loglevel=INFO")
        with program("worker", *command, folder=self.folder, environment=self._environment, cwd=self.folder) as worker:
            yield worker
        assert worker.process.returncode == 0, worker.text

    def tables(self) -> set[str]:
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def rows(self, model: str) -> list[dict[str, Any]]:
        """The rows in SQLite, read without the ORM; the newest conversation, or the latest run, first."""
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            order = "remote_id" if model == "conversation" else "id"
            found = connection.execute(f"SELECT * FROM django_orq_{model} ORDER BY {order} DESC")  # noqa: S608 # ours
            return [dict(row) for row in found]

    def append(self, name: str, *texts: str) -> None:
        """Append to one of the project's files, creating it if necessary."""
        with (self.folder / "project" / name).open("a") as file:
            file.writelines(texts)

    def _run(self, program: str, *words: str) -> str:
        return run(self._programs / program, *words, cwd=self.folder, environment=self._environment)


def from_readme(name: str) -> str:
    """The code that the README says to add to this file."""
    block = re.search(rf"^```python\n# {re.escape(name)}.*?\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert block, f"the README has no lines for {name}"
    return block[1]

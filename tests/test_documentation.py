"""README and docs/: every block of code is run or parsed; see `tests/documentation.py`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from .documentation import PROJECT, ROOT
from .programs import environment

PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if "```" in path.read_text()
]


@pytest.fixture(scope="session")
def new_project(tmp_path_factory) -> Path:
    """A project with tables, to be copied."""
    folder, tried = tmp_path_factory.mktemp("new"), tmp_path_factory.mktemp("tried")
    call_command("startproject", PROJECT, str(folder))
    (tried / "empty.md").touch()
    assert follow(tried / "empty.md", shutil.copytree(folder, tried, dirs_exist_ok=True)) == ""
    shutil.copy(tried / "db.sqlite3", folder)
    return folder


@pytest.fixture
def project(new_project, tmp_path) -> Path:
    return shutil.copytree(new_project, tmp_path / "project")


def follow(page: str | Path, folder: Path) -> str:
    """Follow a page; return what is wrong with it, or nothing."""
    done = subprocess.run(  # noqa: S603 # our own module
        [sys.executable, "-W", "error", "-m", "tests.documentation", str(page)],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return f"{page} ended with {done.returncode}:\n{done.stdout}" if done.returncode else ""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_holds(page, project):
    complaint = follow(page, project)
    assert not complaint, complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nassert 1 == 2\n```", 'page.md", line 2'),
        ("```python\n# settings.py\nORQ_WORKSPACES = {'default': {'API_KEI': 'k'}}\n```", "API_KEI"),
        ("```python\n# shop/models.py\nfrom nowhere import models\n```", "nowhere"),
        ("```pycon\n>>> 1 + 1\n3\n```", "Expected"),
        ("```console\n$ python manage.py orq_sync --workspace nowhere\n```", "ended with 2"),
        ("```console\n$ python manage.py check\nAll is lost.\n```", "no issues"),
        ("```console\n$ rm important\n```", "can't be run here"),
        ("<!-- not run: slow -->\n```console\n$ sleep 9; python manage.py orq_sync --slowly\n```", "--slowly"),
        ("```json\n{1: 2}\n```", "JSONDecodeError"),
        ("```rust\nfn main() {}\n```", "'rust'"),
    ],
)
def test_block_that_does_not_hold_is_reported(text, complaint, project, tmp_path):
    (tmp_path / "page.md").write_text(f"{text}\n")
    assert complaint in follow(tmp_path / "page.md", project)

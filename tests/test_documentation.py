"""README and docs/: every block of code is run or read; `tests/documentation/__init__.py` says how."""

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from .documentation import formats, project
from .documentation.__main__ import run_code, run_session
from .documentation.blocks import ROOT, Block, WrongPage, blocks_of, pages
from .documentation.console import check_commands, commands_of, run_commands
from .programs import environment

NOT_RUN = {
    "README.md": 4,
    "docs/how-it-works.md": 1,
    "docs/quick-start.md": 10,
    "docs/scheduling.md": 3,
    "docs/testing.md": 1,
}
"""How many blocks of a page carry a comment that keeps them from being run here; none where nothing is said."""


@pytest.fixture(scope="session")
def new_project(tmp_path_factory) -> Path:
    """A project with tables, to be copied."""
    if connection.vendor != "sqlite":
        pytest.skip("the pages' projects are on SQLite wherever the tests are, so they are followed once")
    folder, tried = tmp_path_factory.mktemp("new"), tmp_path_factory.mktemp("tried")
    project.make(folder)
    shutil.copytree(folder, tried, dirs_exist_ok=True)
    assert follow("docs/nothing.md", "# Nothing\n", tried) == ""
    shutil.copy(tried / "db.sqlite3", folder)
    return folder


@pytest.fixture
def follow_page(new_project, tmp_path) -> Callable[[str, str], str]:
    """What is wrong with a page of this text; nothing if nothing is."""
    return lambda page, text: follow(page, text, shutil.copytree(new_project, tmp_path / "project"))


def follow(page: str, text: str | None, folder: Path) -> str:
    done = subprocess.run(  # noqa: S603 # our own module
        [sys.executable, "-W", "error", "-m", "tests.documentation", page],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        input=text or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return f"{page} ended with {done.returncode}:\n{done.stdout}" if done.returncode else ""


@pytest.fixture(scope="session")
def complaints(new_project, tmp_path_factory, request) -> Iterator[dict[str, Future[str]]]:
    """What is wrong with each page that a test asks for; as many are followed at once as there are processors."""
    asked_for = [item.callspec.params["page"] for item in request.session.items if item.name.startswith(EVERY_BLOCK)]

    def follow_in_copy(page: str) -> str:
        return follow(page, None, shutil.copytree(new_project, folder / page))

    folder = tmp_path_factory.mktemp("pages")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {page: pool.submit(follow_in_copy, page) for page in asked_for}


@pytest.mark.parametrize("page", [page for page in pages() if "```" in (ROOT / page).read_text()])
def test_every_block_of_the_page_holds(page, complaints):
    complaint = complaints[page].result()
    assert not complaint, complaint


EVERY_BLOCK = test_every_block_of_the_page_holds.__name__


def test_what_is_not_run_is_counted_and_says_why():
    marked = {page: sum(block.is_marked for block in blocks_of(page)) for page in pages()}
    assert {page: count for page, count in marked.items() if count} == NOT_RUN


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```rust\nfn main() {}\n```", "'rust' is no language"),
        ("```\nno language\n```", "'' is no language"),
        ("```text\na picture\n```", "a comment must say why"),
        ("<!-- not run: -->\n```text\na picture\n```", "“not run” says nothing"),
        ("<!-- not run: it is gone -->\n\nwords", "belongs to no block"),
        ("<!-- not run: it is gone -->", "belongs to no block"),
        ("<!-- terminal: ready -->\n```json\n{}\n```", "only a console block"),
        ("```json\n{}", "this block has no end"),
    ],
)
def test_page_that_nobody_can_follow_is_refused(text, complaint):
    with pytest.raises(WrongPage, match=complaint):
        blocks_of("docs/some.md", text)


def test_marks_and_files_are_found_in_lists_too():
    text = """
1. Like this:

   <!-- not run: it takes
   too long -->
   ```console
   $ sleep 1000
   ```

2. And this:

   ```python
   # shop/models.py, beside the others
   from django.db import models
   ```
"""
    first, second = blocks_of("docs/some.md", text)
    assert (first.line, first.text, first.not_run) == (7, "$ sleep 1000\n", "it takes too long")
    assert (second.line, second.file, second.is_marked) == (13, "shop/models.py", False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\ndef test_one():\n    assert 1 == 2\n```", "1 failed"),
        ("```python\n# settings.py\nORQ_WORKSPACES = {'default': {'API_KEI': 'k'}}\n```", "API_KEI"),
        ("```python\n# shop/models.py\nfrom nowhere import models\n```", "nowhere"),
        ("```console\n$ python manage.py orq_sync --workspace nowhere\n```", "ended with 2"),
        ("```console\n$ python manage.py orq_sync\nSync run 1 failed\n```", "instead of\nSync run 1 failed"),
    ],
)
def test_block_that_does_not_hold_is_reported(text, complaint, follow_page):
    assert complaint in follow_page("docs/some.md", text)


def test_code_that_does_not_hold_is_reported_with_its_line():
    (block,) = blocks_of("docs/some.md", "```python\nassert 1 == 2\n```")
    with pytest.raises(AssertionError) as failure:
        run_code(block, {})

    assert 'docs/some.md", line 2' in "".join(traceback.format_exception(failure.value))


def test_session_that_does_not_hold_is_reported():
    (block,) = blocks_of("docs/some.md", "```pycon\n>>> 1 + 1\n3\n```")
    with pytest.raises(WrongPage, match="Expected"):
        run_session(block, {})


def test_command_of_another_program_is_not_run(tmp_path):
    (block,) = blocks_of("docs/some.md", "```console\n$ rm important\n```")
    with pytest.raises(WrongPage, match="can't be run here"):
        run_commands(block, folder=str(tmp_path))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```cron\n* * * *  python manage.py orq_sync\n```", "no cron"),
        ("```cron\n* * * * *  python manage.py orq_sync --slowly\n```", "--slowly"),
        ("```http\nGET /orq/conversation/ HTTP/1.1\n```", "leads to no view"),
        ("```http\nHTTP/1.1 299\n```", "no http"),
        ("```json\n{1: 2}\n```", "no json"),
        ("```toml\na = b\n```", "no toml"),
        ("```ini\na\n```", "no ini"),
        ("```yaml\na: b: c\n```", "no yaml"),
    ],
)
def test_block_that_makes_no_sense_is_reported(text, complaint):
    (block,) = blocks_of("docs/some.md", text)
    with pytest.raises(WrongPage, match=complaint):
        formats.read(block)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("python manage.py orq_sink", "no command 'orq_sink'"),
        ("sleep 9 && python manage.py orq_sync --slowly | cat", "--slowly"),
        ("python manage.py orq_sync --max-pages", "--max-pages"),
    ],
)
def test_command_that_is_not_there_is_reported_though_it_is_not_run(command, complaint):
    (block,) = blocks_of("docs/some.md", f"<!-- not run: slow -->\n```console\n$ {command}\n```")
    with pytest.raises(WrongPage, match=complaint):
        check_commands(block)


def test_progress_of_a_slow_sync_is_no_part_of_what_it_is_to_say():
    (command,) = commands_of(Block(page="docs/some.md", line=1, language="console", text="$ sync\nSync run 1 …\n"))
    assert command.is_answered_by("1,200 conversations, 12 pages, 5 s\nSync run 1 succeeded\n")
    assert not command.is_answered_by("1,200 conversations were lost\nSync run 1 succeeded\n")


def test_page_is_followed_in_one_project_from_its_files_to_its_tests(follow_page):
    text = """
```python
# settings.py
ORQ_WORKSPACES = {"default": {"API_KEY": "a real one"}, "research": {"API_KEY": "another", "PAGE_SIZE": 50}}
```

```python
# shop/models.py
from django.db import models


class Ticket(models.Model):
    conversation = models.ForeignKey("django_orq.Conversation", on_delete=models.PROTECT)
```

<!-- run first:
newest = sandbox.conversations[0]["_id"]
-->

```console
$ python manage.py orq_sync --max-pages 1 --workspace research; echo $?
Sync run 1 waiting: 50 conversations in 1 page and 1 request; …
…
4
$ python manage.py orq_sync
Sync run 2 succeeded: 2,500 conversations …
```

```python
from shop.models import Ticket

from django_orq.models import Conversation

ticket = Ticket.objects.create(conversation=Conversation.objects.get(workspace="default", remote_id=newest))
```

```pycon
>>> ticket.conversation.remote_id == newest
True
>>> ticket.conversation.workspace
'de…'
```

```ini
# pytest.ini
[pytest]
DJANGO_SETTINGS_MODULE = mysite.settings
```

```python
from shop.models import Ticket


def test_there_is_no_ticket(db):
    assert not Ticket.objects.exists()
```
"""
    assert follow_page("docs/some.md", text) == ""

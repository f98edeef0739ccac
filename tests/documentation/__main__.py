"""Follows one page, in a process of its own: `python -m tests.documentation PAGE`, in the folder of a new project.

A process, because pages make Celery's current app, define models and connect receivers. Prints what is wrong, and ends
with code 1 then.
"""

import doctest
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

from django_orq.testing import OrqSandbox

from . import formats, project
from .blocks import PROJECT, Block, WrongPage, blocks_of
from .console import check_commands, pytest, run_commands

CONVERSATIONS = 2_500


class _AnythingGoes(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want.replace("…", "..."), got, optionflags | doctest.ELLIPSIS)


def main(page: str, text: str | None = None) -> int:
    folder = Path.cwd()
    try:
        blocks = blocks_of(page, text)
        tests = project.write(folder, blocks)
        sys.path.insert(0, str(folder))
        os.environ["DJANGO_SETTINGS_MODULE"] = f"{PROJECT}.settings"
        django.setup()
        with sandboxes() as found:
            follow(blocks, folder=folder, sandbox=found["default"])
        if tests and not any(_runs_pytest(block) for block in blocks):
            run_tests(page, tests, folder)
    except WrongPage as wrong:
        sys.stdout.write(f"{wrong}\n")
        return 1
    except Exception:  # whatever a page's code may raise
        sys.stdout.write(f"{page}:\n{traceback.format_exc()}")
        return 1
    return 0


@contextmanager
def sandboxes() -> Iterator[dict[str, OrqSandbox]]:
    """Each configured workspace is one, whatever key and address the page gives it."""
    from django.conf import settings  # noqa: PLC0415 # of the project, which is set up by now

    from django_orq.conf import workspace_aliases  # noqa: PLC0415

    given = getattr(settings, "ORQ_WORKSPACES", None) or {}
    with ExitStack() as stack:
        found = {
            alias: stack.enter_context(OrqSandbox(conversations=CONVERSATIONS))
            for alias in {"default", *workspace_aliases()}
        }
        settings.ORQ_WORKSPACES = {
            alias: {**given.get(alias, {}), **sandbox.settings()["default"]} for alias, sandbox in found.items()
        }
        yield found


def follow(blocks: Sequence[Block], *, folder: Path, sandbox: OrqSandbox) -> None:
    call_command("migrate", verbosity=0, run_syncdb=True)
    call_command("check", fail_level="WARNING", stdout=StringIO())
    names: dict[str, Any] = {"__name__": "__page__", "sandbox": sandbox, "call_command": call_command}
    for block in blocks:
        if block.language == "console":
            check_commands(block)
        if block.is_marked:
            continue
        if block.language in formats.READERS:
            formats.read(block)
        elif block.language == "console":
            run_commands(block, folder=str(folder))
        elif block.language == "pycon":
            run_session(block, names)
        elif block.file is None and not block.has_tests:
            run_code(block, names)


def run_code(block: Block, names: dict[str, Any]) -> None:
    """With the page's own line numbers in tracebacks."""
    code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
    exec(code, names)  # noqa: S102 # our own pages


def run_session(block: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, block.place, block.page, block.line - 1)
    said: list[str] = []
    runner = doctest.DocTestRunner(checker=_AnythingGoes(), verbose=False)
    if not test.examples or runner.run(test, out=said.append, clear_globs=False).failed:
        raise WrongPage(f"{block.place}: {''.join(said) or 'no example'}")
    names.update(test.globs)


def _runs_pytest(block: Block) -> bool:
    return block.language == "console" and not block.is_marked and "-m pytest" in block.text


def run_tests(page: str, tests: Sequence[str], folder: Path) -> None:
    output, code = pytest(["-q", *tests], folder=str(folder))
    if code:
        raise WrongPage(f"{page}: its tests failed:\n{output}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin.read() or None))

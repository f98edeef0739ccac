"""Blocks of a terminal: the commands, what they are to say, and running those of ``manage.py``."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from django.core.management import CommandError, call_command, get_commands, load_command_class

from .blocks import PROJECT, Block, WrongPage

EXIT_CODE = "; echo $?"
_ASSIGNMENT = re.compile(r"([A-Z_]+)=(.*)", re.S)
_PROGRESS = re.compile(r"[\d,]+ conversations?, [\d,]+ pages?.*, \d+ s")
_PYTEST = ("python", "-m", "pytest")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a block, with what the block shows below it."""

    text: str
    shown: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """As a shell takes them; ``ValueError`` for a quote without its other half."""
        return shlex.split(self.text.removesuffix(EXIT_CODE), comments=True)

    def is_answered_by(self, output: str) -> bool:
        """Whether the output has what is shown, line for line, where ``…`` stands for anything."""
        wanted = "\n".join(line.rstrip() for line in self.shown).strip()
        pattern = re.escape(wanted).replace("…", ".*")
        return not wanted or re.fullmatch(pattern, _plain(output).strip(), re.S) is not None


def commands_of(block: Block) -> list[Command]:
    return list(_commands(block))


def _commands(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    if not lines or not lines[0].startswith("$ "):
        raise WrongPage(f"{block.place}: a console block begins with “$ ” and a command")
    text, shown = "", []
    for line in lines:
        if line.startswith("$ "):
            if text:
                yield Command(text=text, shown=tuple(shown))
            text, shown = line.removeprefix("$ "), []
        elif line.startswith("> ") and not shown:
            text = _joined(text, line.removeprefix("> "))
        else:
            shown.append(line)
    yield Command(text=text, shown=tuple(shown))


def _joined(text: str, more: str) -> str:
    """A command with its next line."""
    return text.removesuffix("\\") + more.lstrip() if text.endswith("\\") else f"{text}\n{more}"


def check_commands(block: Block) -> None:
    """Whether the commands of ``manage.py`` are there with these options, run or not."""
    for command in commands_of(block):
        if arguments := manage_arguments(command.text):
            check_arguments(arguments, block.place)


def manage_arguments(command: str) -> list[str]:
    """What follows ``manage.py`` in a line that may have more before and after it."""
    found = re.search(r"\bmanage\.py ([^|;&>]*)", command)
    return shlex.split(found[1], comments=True) if found else []


def check_arguments(arguments: Sequence[str], place: str) -> None:
    name, *options = arguments
    if name not in get_commands():
        raise WrongPage(f"{place}: manage.py has no command {name!r}")
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    try:
        parser.parse_args(options)
    except (CommandError, SystemExit) as error:
        raise WrongPage(f"{place}: manage.py {shlex.join(arguments)} is refused: {error}") from None


def run_commands(block: Block, *, folder: str) -> None:
    for command in commands_of(block):
        output, code = run(command, block.place, folder=folder)
        if command.text.endswith(EXIT_CODE):
            output, code = f"{output.rstrip()}\n{code}\n", 0
        if code:
            raise WrongPage(f"{block.place}: {command.text} ended with {code}:\n{output}")
        if not command.is_answered_by(output):
            raise WrongPage(f"{block.place}: {command.text} said\n{output}\ninstead of\n" + "\n".join(command.shown))


def run(command: Command, place: str, *, folder: str) -> tuple[str, int]:
    """What the command said, and its exit code."""
    words = command.words
    assignments = _take_assignments(words)
    if words[:2] == ["python", "manage.py"]:
        check_arguments(words[2:], place)
        return _manage(words[2:], assignments)
    if words[:1] == ["export"] and all(map(_ASSIGNMENT.fullmatch, words[1:])):
        os.environ.update(dict(word.split("=", 1) for word in words[1:]))
        return "", 0
    if tuple(words[:3]) == _PYTEST:
        return pytest(words[3:], folder=folder)
    raise WrongPage(f"{place}: {command.text} can't be run here; a comment before the block must say why")


def pytest(words: Sequence[str], *, folder: str) -> tuple[str, int]:
    """With the settings that the page's own ``pytest.ini`` names, if it has one."""
    own = () if Path(folder, "pytest.ini").exists() else (f"--ds={PROJECT}.settings",)
    done = subprocess.run(  # noqa: S603 # what the pages say
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *own, *words],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout, done.returncode


def _take_assignments(words: list[str]) -> dict[str, str]:
    taken = {}
    while words and (found := _ASSIGNMENT.fullmatch(words[0])):
        taken[found[1]] = found[2]
        del words[0]
    return taken


def _manage(words: Sequence[str], assignments: dict[str, str]) -> tuple[str, int]:
    """In this process, with the checks and the exit code of the command line."""
    output, before, code = StringIO(), dict(os.environ), 0
    os.environ.update(assignments)
    try:
        with redirect_stdout(output), redirect_stderr(output):
            command = load_command_class(get_commands()[words[0]], words[0])
            checks = {"skip_checks": False} if command.requires_system_checks else {}
            call_command(command, *words[1:], no_color=True, **checks)
    except CommandError as error:
        output.write(f"CommandError: {error}\n")
        code = error.returncode
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return output.getvalue(), code


def _plain(output: str) -> str:
    """Without what a sync says in between where it takes long."""
    return "\n".join(line.rstrip() for line in output.splitlines() if not _PROGRESS.fullmatch(line))

"""Tests README and docs/ with Sybil: every fenced block is run or parsed, depending on its language.

| language | what is done with the block |
|---|---|
| `python`, `ini` that begins with `# some/file.py` | becomes that file of a new project `mysite`, or is added to it |
| `python`, other | is run; all blocks of a page share a namespace |
| `pycon` | is run as a doctest in the same namespace; `...` stands for anything |
| `console` | is typed into a shell and must print the output shown (`…`: anything) |
| `cron`, `http`, `json`, `yaml` | is parsed: commands and their options must exist, paths must resolve to views |

A comment before a block may say why it is not run, or what a command that runs until Ctrl-C prints when it is ready;
`tests/acceptance/test_quick_start.py` runs both kinds in the quick start. Another contains code to be run first:

    <!-- not run: it needs PostgreSQL -->
    <!-- terminal: ready. -->
    <!-- run first:
    call_command("orq_sync", full=True)
    -->

`python -m tests.documentation PAGE`, in the folder of a new project, follows one page: it adds the page's files,
creates the tables in SQLite, and uses one sandbox with 2,500 conversations, called `sandbox`, for all workspaces. Each
page has its own process, because pages set Celery's current app, define models and connect receivers.
"""

import doctest
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import django
import yaml
from celery.schedules import crontab
from django.core.management import call_command, get_commands, load_command_class
from django.urls import resolve
from sybil import Document, Example, Lexeme, Region
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser
from sybil.parsers.abstract.lexers import LexerCollection
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, FencedCodeBlockLexer

from django_orq.testing import OrqSandbox

from .acceptance.project import CELERY, environment
from .acceptance.terminals import Terminal

ROOT = Path(__file__).parents[1]
PROJECT = "mysite"
# Appended to the page's settings: the test has no database server.
SETTINGS = """
INSTALLED_APPS = list(dict.fromkeys([*INSTALLED_APPS, "rest_framework", "django_orq", *{apps!r}]))
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}}}
CELERY_BROKER_URL = "memory://"
ORQ_WORKSPACES = {{
    alias: {{**options, **{sandbox!r}}}
    for alias, options in {{"default": {{}}, **globals().get("ORQ_WORKSPACES", {{}})}}.items()
}}
"""
# Used if the page does not define them.
FILES = {
    f"{PROJECT}/celery.py": CELERY.replace("project", PROJECT),
    f"{PROJECT}/__init__.py": "from .celery import app as celery_app\n",
}
_LEXERS = LexerCollection([FencedCodeBlockLexer("[^{\n]*"), DirectiveInHTMLCommentLexer("not run|terminal|run first")])
_PROGRESS = re.compile(r"[\d,]+ conversations?, [\d,]+ pages?.*, \d+ s")
"""The progress that a long sync prints."""
_RUNNABLE = re.compile(r"([A-Z_]+=\S+ )*(python|export) ")


# The blocks of a page


@dataclass(frozen=True, kw_only=True)
class Block:
    language: str
    text: str
    region: Region
    mark: str = ""
    """``not run`` or ``terminal``, if a comment before it says so."""
    reason: str = ""
    """Why it is not run, or what a command that runs until Ctrl-C prints when it is ready."""

    @property
    def file(self) -> str | None:
        """The path of the project's file that the block is for."""
        found = re.match(r"# ((?:[\w-]+/)*[\w.-]+\.(?:py|ini))\b", self.text)
        if found is None or self.language not in ("python", "ini"):
            return None
        return f"{PROJECT}/{found[1]}" if found[1] in ("settings.py", "urls.py", "celery.py") else found[1]


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    return list(_blocks(Document.parse(str(ROOT / page))))


def _blocks(document: Document) -> Iterator[Block]:
    mark = reason = ""
    for region in sorted(_LEXERS(document), key=lambda region: region.start):
        directive, text = region.lexemes.get("directive"), region.lexemes["source"]
        if directive in ("not run", "terminal"):
            mark, reason = directive, f"{region.lexemes['arguments']} {text}".strip()
        else:
            language = region.lexemes.get("language", "python")
            yield Block(language=language, text=text, region=region, mark=mark, reason=reason)
            mark = reason = ""


# Commands


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a console block, with the output that is shown below it."""

    text: str
    shown: str

    def is_answered_by(self, output: str) -> bool:
        """Whether the output equals what is shown, where ``…`` stands for anything."""
        said = "\n".join(line.rstrip() for line in output.splitlines() if not _PROGRESS.fullmatch(line))
        pattern = re.escape(self.shown.strip()).replace("…", ".*")
        return not pattern or re.fullmatch(pattern, said.strip(), re.S) is not None


def commands_of(text: str) -> list[Command]:
    """Each command begins with ``$`` and continues on lines that begin with ``>``."""
    found = re.findall(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", text, re.M)
    return [
        Command(text=re.sub(r"^> ", "", command, flags=re.M).rstrip("\n"), shown=shown) for command, shown in found
    ]


def check_commands(text: str) -> None:
    """Check that the ``manage.py`` commands and their options exist, whether they are run or not."""
    for arguments in re.findall(r"\bmanage\.py ([^|;&>\n]*)", text):
        name, *options = shlex.split(arguments, comments=True)
        load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(options)


# What is done with a block


def _type(example: Example) -> None:
    for command in commands_of(example.parsed):
        if not _RUNNABLE.match(command.text):
            raise ValueError(f"{command.text} can't be run here; a comment before the block must say why")
        output = example.namespace["terminal"].run(command.text)
        assert command.is_answered_by(output), f"{command.text} said\n{output}"


def _read_cron(example: Example) -> None:
    for line in example.parsed.splitlines():
        if not re.match(r"[A-Z_]+=", line):
            crontab.from_string(" ".join(line.split()[:5]))
    check_commands(example.parsed)


def _read_request(example: Example) -> None:
    _method, path, _version = example.parsed.splitlines()[0].split()
    resolve(path.partition("?")[0])


EVALUATORS: dict[str, Callable[[Example], object]] = {
    "console": _type,
    "cron": _read_cron,
    "http": _read_request,
    "json": lambda example: json.loads(example.parsed) and None,
    "python": PythonEvaluator(),
    "yaml": lambda example: yaml.safe_load(example.parsed) and None,
}
_SESSIONS = DocTestStringParser(DocTestEvaluator(doctest.ELLIPSIS))


def parser(document: Document) -> Iterator[Region]:
    """What Sybil is to run, once Django is set up; ``KeyError`` for a language that cannot be run."""
    for block in _blocks(document):
        source: Lexeme = block.region.lexemes["source"]
        if block.mark:
            check_commands(block.text)
        elif block.language == "pycon":
            for example in _SESSIONS(source, document.path):
                example.adjust(block.region, source)
                yield example
        elif block.file is None:
            yield Region(block.region.start, block.region.end, source, EVALUATORS[block.language])


# A project as the pages tell readers to create it


def follow(page: str) -> None:
    """Follow the page in the working folder, which has a new project; raises whatever the page's code raises."""
    folder = Path.cwd()
    with ExitStack() as stack:
        sandbox = stack.enter_context(OrqSandbox(conversations=2_500))
        _write(folder, [block for block in blocks_of(page) if block.file and not block.mark], sandbox)
        sys.path.insert(0, str(folder))
        os.environ["DJANGO_SETTINGS_MODULE"] = f"{PROJECT}.settings"
        django.setup()
        call_command("migrate", verbosity=0, run_syncdb=True)
        call_command("check", fail_level="WARNING", stdout=StringIO())
        document = Document.parse(str(ROOT / page), parser)
        terminal = _terminal(folder)
        stack.callback(terminal.kill)
        document.namespace.update(__name__="__page__", sandbox=sandbox, call_command=call_command, terminal=terminal)
        for example in document.examples():
            example.evaluate()


def _terminal(folder: Path) -> Terminal:
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own = environment() | path | {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}
    return Terminal("terminal", folder=folder, environment=own, logs=folder, transcript=StringIO())


def _write(folder: Path, blocks: Sequence[Block], sandbox: OrqSandbox) -> None:
    """Write the page's files, and those that they need."""
    texts = [(block.file or "", block.text) for block in blocks]
    names = {name for name, _text in texts}
    apps = sorted({name.partition("/")[0] for name in names if "/" in name} - {PROJECT})
    texts += [(name, text) for name, text in FILES.items() if name not in names]
    texts += [(f"{app}/__init__.py", "") for app in apps]
    texts.append((f"{PROJECT}/settings.py", SETTINGS.format(apps=apps, sandbox=sandbox.settings()["default"])))
    for name, text in texts:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"\n{text}")


if __name__ == "__main__":
    follow(sys.argv[1])

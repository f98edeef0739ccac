"""The fenced blocks of a page, and the comments before them that say how they are to be taken."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = "mysite"
LANGUAGES = ("console", "cron", "http", "ini", "json", "pycon", "python", "text", "toml", "yaml")
"""Those that there is a way to run or to read; `text` is for what must be marked."""
_FENCE = re.compile(r"^( *)(`{3,})(\S*)")
_COMMENT = re.compile(r"<!-- *(not run|terminal|run first):(.*?)-->", re.S)
_DIRECTIVES = ("{toctree}",)


class WrongPage(Exception):
    """What a page has and nobody can run or read; the text begins with the place."""


@dataclass(frozen=True, kw_only=True)
class Block:
    page: str
    """Its path from the root of the repository."""
    line: int
    """Of its first line within the page."""
    language: str
    text: str
    not_run: str = ""
    """Why it is not run, if so."""
    terminal: str = ""
    """What a command that goes on until Ctrl-C says when it is ready, if this is one."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_marked(self) -> bool:
        return bool(self.not_run or self.terminal)

    @property
    def file(self) -> str | None:
        """The path, in the project, of the file that the block is for."""
        found = re.match(r"# ((?:[\w-]+/)*[\w.-]+\.(?:py|ini|toml))\b", self.text)
        if found is None or self.language not in ("python", "ini", "toml"):
            return None
        return f"{PROJECT}/{found[1]}" if found[1] in ("settings.py", "urls.py", "celery.py") else found[1]

    @property
    def has_tests(self) -> bool:
        return self.language == "python" and re.search(r"^(async )?def test_", self.text, re.M) is not None


def pages() -> list[str]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found if "_build" not in path.parts]


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """In the page's order; ``WrongPage`` for a language that is unknown, and a comment that belongs to no block."""
    return list(_Reading(page, (ROOT / page).read_text() if text is None else text).blocks())


class _Reading:
    """One page, line by line."""

    def __init__(self, page: str, text: str) -> None:
        self._page = page
        self._lines = text.splitlines()
        self._at = 0
        self._marks: dict[str, str] = {}

    def blocks(self) -> Iterator[Block]:
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if fence := _FENCE.match(line):
                yield from self._take_fence(indent=fence[1], fence=fence[2], language=fence[3])
            elif line.lstrip().startswith("<!--"):
                yield from self._take_comment()
            elif line.strip() and self._marks:
                raise WrongPage(f"{self._place}: the comment before this line belongs to no block")
            self._at += 1
        if self._marks:
            raise WrongPage(f"{self._page}: the last comment belongs to no block")

    def _take_fence(self, *, indent: str, fence: str, language: str) -> Iterator[Block]:
        place, first = self._place, self._at + 1
        self._go_to(lambda line: line.strip() == fence, f"{place}: this block has no end", first=first)
        if language not in _DIRECTIVES:
            text = "".join(f"{line.removeprefix(indent)}\n" for line in self._lines[first : self._at])
            block = Block(page=self._page, line=first + 1, language=language, text=text, **self._marks)
            _check(block)
            self._marks = {}
            yield block

    def _take_comment(self) -> Iterator[Block]:
        place, first = self._place, self._at
        self._go_to(lambda line: "-->" in line, f"{place}: this comment has no end", first=first)
        found = _COMMENT.search("\n".join(self._lines[first : self._at + 1]))
        if found is None:  # it is for readers of the source alone
            return
        kind, text = found.groups()
        if not text.strip():
            raise WrongPage(f"{place}: “{kind}” says nothing")
        if kind == "run first":
            yield Block(page=self._page, line=first + 1, language="python", text=f"{text}\n")
        else:
            self._marks = {kind.replace(" ", "_"): " ".join(text.split())}

    @property
    def _place(self) -> str:
        return f"{self._page}:{self._at + 1}"

    def _go_to(self, is_it: Callable[[str], bool], complaint: str, *, first: int) -> None:
        """To the first line, from there on, that is it."""
        numbers = range(first, len(self._lines))
        self._at = next((number for number in numbers if is_it(self._lines[number])), -1)
        if self._at < 0:
            raise WrongPage(complaint)


def _check(block: Block) -> None:
    if block.language not in LANGUAGES:
        raise WrongPage(f"{block.place}: {block.language!r} is no language that this page's tests know")
    if block.language == "text" and not block.is_marked:
        raise WrongPage(f"{block.place}: text can't be run; a comment must say why it is there")
    if block.terminal and block.language != "console":
        raise WrongPage(f"{block.place}: only a console block can have a terminal of its own")

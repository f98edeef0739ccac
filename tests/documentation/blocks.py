"""The fenced blocks of a page, and the comments before them that say how they are to be taken."""

import re
from collections.abc import Iterator, Sequence
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
    lines = (ROOT / page).read_text().splitlines() if text is None else text.splitlines()
    return list(_read(page, lines))


def _read(page: str, lines: Sequence[str]) -> Iterator[Block]:
    number, marks = 0, {}
    while number < len(lines):
        line = lines[number]
        if fence := _FENCE.match(line):
            end = _end(lines, number, fence[2], f"{page}:{number + 1}")
            body = "\n".join(text.removeprefix(fence[1]) for text in lines[number + 1 : end]) + "\n"
            if fence[3] not in _DIRECTIVES:
                block = Block(page=page, line=number + 2, language=fence[3], text=body, **marks)
                _check(block)
                yield block
                marks = {}
            number = end + 1
            continue
        if line.lstrip().startswith("<!--"):
            end = next((n for n in range(number, len(lines)) if "-->" in lines[n]), number)
            kind, text = _comment("\n".join(lines[number : end + 1]), f"{page}:{number + 1}")
            if kind == "run first":
                yield Block(page=page, line=number + 1, language="python", text=text)
            elif kind:
                marks = {kind.replace(" ", "_"): " ".join(text.split())}
            number = end + 1
            continue
        if line.strip() and marks:
            raise WrongPage(f"{page}:{number + 1}: the comment before this line belongs to no block")
        number += 1
    if marks:
        raise WrongPage(f"{page}: the last comment belongs to no block")


def _end(lines: Sequence[str], start: int, fence: str, place: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].strip() == fence:
            return number
    raise WrongPage(f"{place}: this block has no end")


def _comment(comment: str, place: str) -> tuple[str, str]:
    """What kind of comment it is, and what it says; no kind if it is for readers of the source alone."""
    found = _COMMENT.search(comment)
    if found is None:
        return "", ""
    if not found[2].strip():
        raise WrongPage(f"{place}: “{found[1]}” says nothing")
    return found[1], found[2].strip() if found[1] != "run first" else found[2] + "\n"


def _check(block: Block) -> None:
    if block.language not in LANGUAGES:
        raise WrongPage(f"{block.place}: {block.language!r} is no language that this page's tests know")
    if block.language == "text" and not block.is_marked:
        raise WrongPage(f"{block.place}: text can't be run; a comment must say why it is there")
    if block.terminal and block.language != "console":
        raise WrongPage(f"{block.place}: only a console block can have a terminal of its own")

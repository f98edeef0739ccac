"""Tables of a Markdown page, as tests compare them with the code."""

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
Row = dict[str, str]
_CELL_ENDS = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"``(?:(?!``).)+``|`[^`]+`")


def rows(page: str, heading: str = "") -> list[Row]:
    """Of all tables below a heading of a page in ``docs``, or of the whole page, by the names of their columns."""
    return list(_rows(section(page, heading).splitlines()))


def section(page: str, heading: str = "") -> str:
    """What stands below a heading, down to the next one of its level or a higher one."""
    text = _prose(page)
    if not heading:
        return text
    begin = re.search(rf"^(#+) {re.escape(heading)}$", text, re.M)
    assert begin, f"{page} has no heading {heading!r}"
    rest = text[begin.end() :]
    end = re.search(rf"^#{{1,{len(begin[1])}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", _prose(page), re.M)


def spans(cell: str) -> list[str]:
    """What is set as code in a cell, in order."""
    return [span.strip("`").strip().replace("\\|", "|") for span in _CODE.findall(cell)]


def code(cell: str) -> str:
    """The first of them."""
    return spans(cell)[0]


def numbers(cell: str) -> set[int]:
    return {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", cell)}


def _prose(page: str) -> str:
    """A page without its blocks, which may hold lines that look like headings."""
    return re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.M | re.S)


def _rows(lines: list[str]) -> Iterator[Row]:
    columns: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("|"):
            columns = []
        elif re.fullmatch(r"\|[-| ]+\|", following):
            columns = _cells(line)
        elif columns and not re.fullmatch(r"\|[-| ]+\|", line):
            cells = _cells(line)
            assert len(cells) == len(columns), f"{line!r} has not the columns {columns}"
            yield dict(zip(columns, cells, strict=True))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL_ENDS.split(line.strip().removeprefix("|").removesuffix("|"))]

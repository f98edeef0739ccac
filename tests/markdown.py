"""The tables of the pages in `docs`, so that tests can compare their names with the code."""

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_CELL_ENDS = re.compile(r"(?<!\\)\|")


def rows(page: str, heading: str) -> Iterator[dict[str, str]]:
    """The rows of all tables below a heading, by column name."""
    columns: list[str] = []
    prose = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(), flags=re.M | re.S)
    text = prose.partition(f"# {heading}\n")[2]
    for line in re.split(r"^##? ", text, maxsplit=1, flags=re.M)[0].splitlines():
        cells = [cell.strip() for cell in _CELL_ENDS.split(line)[1:-1]]
        if cells and columns and not set(line) <= set("|- "):
            yield dict(zip(columns, cells, strict=True))
        elif not columns or not cells:
            columns = cells


def spans(cell: str) -> list[str]:
    """The code spans of a cell, in order."""
    return re.findall(r"`([^`]+)`", cell)


def code(cell: str) -> str:
    """The first code span of a cell."""
    return spans(cell)[0]

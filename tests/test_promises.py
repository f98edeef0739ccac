"""The table of docs/promises.md has each promise of the README, and names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text()
TABLE = PAGE.partition("## Which test proves what")[2]
ROWS = re.findall(r"^\| (\d+) \| .+ \| `([^`]+?)::([^`]+)` \|$", TABLE, re.M)


@cache
def names_in(path: Path) -> set[str]:
    """The names of a file's tests as in pytest, without parameters."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return {name for name in found if name.rpartition("::")[2].startswith("test_")}


def test_every_promise_of_the_readme_is_proved():
    promises = (ROOT / "README.md").read_text().partition("## What it promises")[2].partition("\n## ")[0]
    numbers = re.findall(r"^(\d+)\. ", promises, re.M)
    assert numbers == re.findall(r"^### (\d+)\. ", PAGE, re.M)
    assert numbers == list(dict.fromkeys(number for number, _path, _name in ROWS))


def test_every_test_of_the_table_is_there():
    assert len(ROWS) == TABLE.count("`tests/") - 1  # the text before it names a folder
    assert not [f"{path}::{name}" for _number, path, name in ROWS if name not in names_in(ROOT / path)]

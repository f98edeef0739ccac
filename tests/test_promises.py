"""The table of docs/promises.md: each promise of the README, and tests that are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "promises.md").read_text().partition("## Which test proves what")[2]
ROWS = re.findall(r"^\| (\d+) \| (.+) \|$", TABLE, re.M)


def names_in(path: Path) -> set[str]:
    """The names of a file's tests, as pytest has them but for parameters."""
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
    assert numbers == [number for number, _tests in ROWS]
    assert numbers == re.findall(r"^### (\d+)\. ", (ROOT / "docs" / "promises.md").read_text(), re.M)


def test_every_test_of_the_table_is_there():
    for number, cell in ROWS:
        named = re.findall(r"`([^`:]+)::([^`]+)`", cell)
        assert len(named) == cell.count("`") // 2 > 2, f"promise {number}"
        for path, name in named:
            assert name in names_in(ROOT / path), f"promise {number}: {path}::{name}"

"""What the page on troubleshooting quotes against what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import django_orq

from .markdown import rows

SOURCE = Path(django_orq.__file__).parent
QUOTED = [row["message"] for row in rows("troubleshooting.md") if "message" in row]
_VARIABLE = re.compile(r"%\(\w+\)[sd]|%[sd]|%\.\df|\{[\w.!:]*\}|\{\{.*?\}\}|…")
_TRANSLATED = re.compile(r'{% translate "(.*?)" %}|{% blocktranslate.*?%}(.*?){% endblocktranslate %}', re.S)


def said_by_code(path: Path) -> Iterator[str]:
    """All texts of a module; those that are put together in place as one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def said_by_template(path: Path) -> Iterator[str]:
    for literal, block in _TRANSLATED.findall(path.read_text()):
        yield from (literal or block).split("{% plural %}")


def plain(text: str) -> str:
    return " ".join(_VARIABLE.sub("…", text).split())


@pytest.fixture(scope="module")
def texts() -> list[str]:
    said = [text for path in SOURCE.rglob("*.py") for text in said_by_code(path)]
    said += [text for path in SOURCE.rglob("*.html") for text in said_by_template(path)]
    return [plain(text) for text in said]


@pytest.mark.parametrize("message", QUOTED)
def test_message_is_one_of_the_codes(message, texts):
    assert any(plain(message) in text for text in texts)

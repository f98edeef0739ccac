"""The messages on the troubleshooting page, for which users search, exist in the code."""

import re
from pathlib import Path

import pytest

import django_orq

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
MESSAGES = [
    line.split(" | ")[0].removeprefix("| ")
    for table in PAGE.read_text().split("| message |")[1:]
    for line in table.partition("\n\n")[0].splitlines()[2:]
]
_SOURCES = [path for suffix in ("py", "html") for path in Path(django_orq.__file__).parent.rglob(f"*.{suffix}")]
_TEXT = "\n".join(path.read_text() for path in _SOURCES)
SAID = " ".join(re.sub(r'"\s+f?"', "", _TEXT).replace(r"\n", " ").split())
"""The sources, with string literals that continue on the next line joined, and both lines of a message in one."""


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_one_of_the_codes(message):
    parts = [re.escape(part.strip()) for part in message.split("…")]
    assert re.search(".{0,80}".join(parts), SAID)

"""Writes what the tables of these pages take from the code; with `--check` it reports which tables are outdated.

The code determines the rows of a table, by the names in the first column, and the contents of the columns that are
generated below. All other cells, and the order of the rows, are written by hand. A new row is added at the end, with
“TODO” in the cells that need text; `--check` fails while one is left.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from configparser import ConfigParser
from dataclasses import fields
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from pkgutil import iter_modules, walk_packages
from typing import Any

import django
from django.core.management import BaseCommand, load_command_class
from django.db.models import QuerySet

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))
Row = dict[str, str]
_CELL_ENDS = re.compile(r"(?<!\\)\|")
_TODO = "TODO"


# Tables of a page


def rewritten(text: str, *, heading: str, rows: Sequence[Row]) -> str:
    """The page with these rows in the first table below the heading whose first column has the same name."""
    first = next(iter(rows[0]))
    found = re.search(rf"^#+ {re.escape(heading)}$.*?^(\| ?{re.escape(first)} ?\|)", text, re.M | re.S)
    if found is None:
        raise SystemExit(f"No table below {heading!r} begins with the column {first!r}.")
    table = "".join(takewhile(lambda line: line.startswith("|"), text[found.start(1) :].splitlines(keepends=True)))
    return text[: found.start(1)] + _table(table.splitlines(), rows) + text[found.start(1) + len(table) :]


def _table(lines: Sequence[str], rows: Sequence[Row]) -> str:
    columns = _cells(lines[0])
    old = {_name(cells[0]): dict(zip(columns, cells, strict=True)) for cells in map(_cells, lines[2:])}
    new = {_name(row[columns[0]]): row for row in rows}
    merged = [old.get(name, dict.fromkeys(columns, _TODO)) | new[name] for name in {**old, **new} if name in new]
    return "".join(f"{line}\n" for line in [*lines[:2], *(_line(row.values()) for row in merged)])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in _CELL_ENDS.split(line)[1:-1]]


def _line(cells: Any) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|"


def _name(cell: str) -> str:
    """Without a signature."""
    return cell.strip("`").partition("(")[0]


def code(value: object) -> str:
    """As inline code, with Python strings in double quotes."""
    return f"`{value}`".replace("'", '"')


# Rows from the code


def signature(callable_: Any) -> str:
    """Without annotations, and without the instance that a method is bound to."""
    found = inspect.signature(callable_)
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()]
    return str(
        found.replace(
            parameters=[each for each in plain if each.name != "self"], return_annotation=inspect.Signature.empty
        )
    )


def public_modules() -> dict[str, Any]:
    """The modules that define `__all__`, by name."""
    import django_orq  # noqa: PLC0415 # after Django is set up

    names = [module.name for module in walk_packages(django_orq.__path__, "django_orq.")]
    modules = {name: import_module(name) for name in names if not name.startswith("django_orq.testing.")}
    return {name: module for name, module in modules.items() if hasattr(module, "__all__")}


def names_of(module: Any, page: str) -> Iterator[Row]:
    """Functions with their signatures; those of classes and their methods where the page shows them."""
    for name in module.__all__:
        value = getattr(module, name)
        told = inspect.isfunction(value) or f"`{name}(" in page
        row = {"name": code(f"{name}{signature(value)}" if told else name)}
        if inspect.isclass(value) and issubclass(value, Exception):
            row["base class"] = code(value.__base__.__name__)
        yield row
        if re.search(rf"`{name}\.\w+\(", page):
            for method in vars(value):
                if not method.startswith("_"):
                    yield {"name": code(f"{name}.{method}{signature(getattr(value, method))}")}


def options_of(command: str) -> list[Row]:
    stock = {action.dest for action in BaseCommand().create_parser("manage.py", command)._actions}
    parser = load_command_class("django_orq", command).create_parser("manage.py", command)
    return [
        {"option": code(action.option_strings[0])} | default_of(action.default)
        for action in parser._actions
        if action.dest not in stock
    ]


def default_of(value: object) -> Row:
    """Nothing if the page describes in words what happens without the option."""
    if value is None or value is False:
        return {}
    return {"default": code(f"{value:g}" if isinstance(value, float) else value)}


def fields_of(kind: Any, column: str, *, write: Callable[[str], str] = str) -> list[Row]:
    """The fields of a dataclass of settings, with the defaults that are plain values."""
    return [
        {column: code(write(field.name))}
        | ({"default": code(repr(field.default))} if isinstance(field.default, int | float | str | None) else {})
        for field in fields(kind)
        if field.name != "alias"
    ]


def limits() -> dict[str, str]:
    from django_orq import conf, payloads  # noqa: PLC0415
    from django_orq.admin.bulk import MAX_RENAMES  # noqa: PLC0415
    from django_orq.mirror import operations  # noqa: PLC0415
    from django_orq.models import searching  # noqa: PLC0415
    from django_orq.store import rate_limits  # noqa: PLC0415
    from django_orq.sync import runs, slices  # noqa: PLC0415
    from django_orq.transport.http import MAX_BODY  # noqa: PLC0415

    hours = {slices.MAX_TROUBLE, operations.MAX_TROUBLE}
    return {
        "one call to Orq, including retries and reading the body": f"{conf.TOTAL_SECONDS:g} s",
        "all calls to Orq of a function with `interactive=True`": f"{conf.INTERACTIVE_SECONDS:g} s",
        "the longest time that the app waits because Orq asks for it": (
            f"{rate_limits.MAX_WAIT.total_seconds() / 3600:g} h"
        ),
        "the waiting time of a run if Orq has problems and names no waiting time; doubles each time, with jitter": (
            f"{slices._FIRST_BACKOFF:g} to {slices._MAX_BACKOFF:g} s"
        ),
        "the time without progress after which a run or an operation fails": " or ".join(
            f"{each.total_seconds() / 3600:g} h" for each in hours
        ),
        "the body of a response, after decompression": f"{MAX_BODY:,} bytes",
        "the nesting of a conversation's JSON": f"{payloads.MAX_DEPTH} levels",
        "a name": f"{payloads.MAX_NAME} characters",
        "conversations in one operation of the admin": f"{operations.MAX_ITEMS:,}",
        "conversations in one operation that renames": f"{MAX_RENAMES}",
        "the newest conversations that a search by name looks at": f"{searching.MAX_SEARCHED:,}",
        "finished runs that are kept per workspace": f"{runs.KEPT}",
        "of these, runs that changed nothing": f"{runs.KEPT_UNCHANGED}",
    }


def oldest() -> dict[str, str]:
    config = ConfigParser()
    config.read(DOCS.parent / "setup.cfg")
    wanted = dict(line.split(">=") for line in config["options"]["install_requires"].strip().splitlines())
    names = {"Django": "Django", "Celery": "celery", "Django REST framework": "djangorestframework"}
    found = {
        name: wanted[package] for name, package in {**names, "requests": "requests", "urllib3": "urllib3"}.items()
    }
    return {"Python": config["options"]["python_requires"].removeprefix(">="), **found}


def tables() -> Iterator[tuple[str, str, Sequence[Row]]]:
    """For each table: its page, the heading above it, and the rows from the code."""
    from django_orq import checks, conf, models, tasks  # noqa: PLC0415
    from django_orq.management import commands  # noqa: PLC0415
    from django_orq.rest import serializers  # noqa: PLC0415

    yield "settings.md", "Workspaces", fields_of(conf.Workspace, "option", write=str.upper)
    yield "settings.md", "Retries", fields_of(conf.RetryConfig, "field")
    yield "settings.md", "Fixed limits", [{"what": what, "value": value} for what, value in limits().items()]
    ids = sorted(set(re.findall(r"django_orq\.[EW]\d+", inspect.getsource(checks))))
    yield "settings.md", "Checks", [{"id": code(each)} for each in ids]
    for command in iter_modules(commands.__path__):
        yield "commands.md", code(command.name), options_of(command.name)
    found = [getattr(tasks, name) for name in tasks.__all__]
    arguments = {task.name: signature(task.run)[1:-1].split(", ") for task in found}
    rows = [{"task": code(name), "arguments": ", ".join(map(code, each))} for name, each in arguments.items()]
    yield "commands.md", "Tasks", rows
    for column, kind in (
        ("of a conversation", serializers.ConversationSerializer),
        ("of a run", serializers.SyncRunDetailSerializer),
    ):
        yield "rest-api.md", "Fields", [{column: code(name)} for name in kind.Meta.fields]
    page = (DOCS / "python-api.md").read_text()
    for name, module in public_modules().items():
        yield "python-api.md", code(name), list(names_of(module, page))
    filters = [name for name in vars(models.ConversationQuerySet) if not name.startswith("_")]
    ours = [{"filter": code(f"{name}()")} for name in filters if not hasattr(QuerySet, name)]
    yield "python-api.md", "`django_orq.models`", ours
    for state, values in (
        ("Conversation", models.ConversationState),
        ("SyncRun", models.SyncRun.State),
        ("OperationItem", models.OperationItem.State),
    ):
        yield "python-api.md", "States", [{code(f"{state}.state"): code(value)} for value in values.values]
    versions = [{"": name, "oldest": version} for name, version in oldest().items()]
    yield "maintenance.md", "Support policy", [*versions, {"": "databases"}]


def main(*, check: bool) -> int:
    """1 if a table is outdated and was not rewritten, or if a cell has no text yet."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    django.setup()
    pages = {path.name: path.read_text() for path in DOCS.glob("*.md")}
    new = dict(pages)
    for page, heading, rows in tables():
        new[page] = rewritten(new[page], heading=heading, rows=rows)
    changed = [name for name, text in new.items() if text != pages[name]]
    left = [name for name, text in new.items() if f"| {_TODO} |" in text]
    for name in changed:
        sys.stdout.write(f"docs/{name} {'has outdated tables' if check else 'was written'}\n")
        if not check:
            (DOCS / name).write_text(new[name])
    for name in left:
        sys.stdout.write(f"docs/{name} has cells to fill in: {_TODO}\n")
    return int(bool(left or (check and changed)))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))

"""The tables of the reference pages against the code, in both directions: neither has more than the other."""

import inspect
import json
import logging
import os
import pkgutil
import re
import subprocess
import sys
from ast import literal_eval
from collections import defaultdict
from configparser import ConfigParser
from dataclasses import MISSING, Field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.core.exceptions import ImproperlyConfigured
from django.core.management import load_command_class
from django.core.management.base import BaseCommand
from rest_framework import exceptions as rest_framework
from rest_framework.exceptions import APIException

from django_orq import checks, logs, payloads, signals
from django_orq import exceptions as orq
from django_orq.conf import RetryConfig, Workspace
from django_orq.management import commands
from django_orq.mirror import operations, orders
from django_orq.models import Conversation, searching
from django_orq.rest import errors as rest
from django_orq.rest.serializers import ConversationSerializer, SyncRunDetailSerializer
from django_orq.rest.views import ConversationViewSet, SyncRunViewSet
from django_orq.service import INTERACTIVE_SECONDS, TOTAL_SECONDS
from django_orq.store import rate_limits
from django_orq.sync import health, retention, runs, slices
from django_orq.tasks import sync_conversations
from django_orq.transport.http import MAX_BODY

from .markdown import code, headings, numbers, rows, section, spans
from .rest.test_rest_permissions import demanded, rows_patterns
from .test_exceptions import ERRORS
from .walking import full_run

ROOT = Path(__file__).parent.parent


# Settings

LIMITS: dict[str, tuple[float, ...]] = {
    "an operation on Orq, its repetitions and its body included": (TOTAL_SECONDS,),
    "all operations of a call with `interactive=True`": (INTERACTIVE_SECONDS,),
    "a wait that Orq asks for, at most": (rate_limits.LONGEST.total_seconds() / 3600,),
    "the pause of a run when Orq is in trouble and does not say how long: doubling, with jitter": (
        slices._FIRST_BACKOFF,
        slices._LONGEST_BACKOFF,
    ),
    "how long a run or an operation may come no further until it fails": (
        slices.LONGEST_TROUBLE.total_seconds() / 3600,
        operations.LONGEST_TROUBLE.total_seconds() / 3600,
    ),
    "an answer's body, decompressed": (MAX_BODY,),
    "the nesting of a conversation's JSON": (payloads.MAX_DEPTH,),
    "a name": (payloads.MAX_NAME,),
    "conversations in one operation of the admin": (orders.MOST_ITEMS,),
    "names that a search looks through, the newest first": (searching.MAX_SEARCHED,),
    "finished runs that are kept of each workspace": (retention.KEPT,),
    "of those, that changed nothing": (retention.KEPT_UNCHANGED,),
    "finished operations that are kept": (orders.KEPT,),
}


def defaults(of: type) -> dict[str, Any]:
    return {field.name: _default(field) for field in fields(of)}


def _default(field: "Field[Any]") -> Any:
    return None if field.default is MISSING else field.default


def test_each_option_of_a_workspace_is_listed_with_its_default():
    listed = {code(row["option"]): row["default"] for row in rows("settings.md", "Workspaces") if "option" in row}
    expected = {name.upper(): value for name, value in defaults(Workspace).items() if name != "alias"}

    assert code(listed.pop("API_KEY")) == "ORQ_API_KEY"
    assert expected.pop("API_KEY") is None
    values = {name: literal_eval(code(cell)) for name, cell in listed.items()}
    assert values | {"RETRIES": RetryConfig(**values["RETRIES"])} == expected


def test_each_field_of_retries_is_listed_with_its_default():
    listed = {code(row["field"]): literal_eval(code(row["default"])) for row in rows("settings.md", "Retries")}

    assert listed == defaults(RetryConfig)


def test_limits_that_are_listed_are_those_of_the_code():
    listed = {row["what"]: numbers(row["value"]) for row in rows("settings.md", "What can't be set")}

    assert listed == {what: set(values) for what, values in LIMITS.items()}


def test_each_system_check_is_listed():
    listed = {code(row["id"]) for row in rows("settings.md", "Checks")}

    assert listed == {*re.findall(r'id="(django_orq\.\w+)"', inspect.getsource(checks))}


# Errors

NOT_OVER_REST = {
    "orq_error",  # never raised itself
    "cursor_ignored",  # while walking
    "internal_error",  # recorded with runs
    "pace_kept",  # background work
    "row_deleted",  # recorded with items of operations
    "walkers_died",
    "workspace_doubted",
}
TRANSPORT_ERRORS = [
    orq.TransportError(operation="list", reason="it broke", sent=sent, timed_out=timed_out)
    for sent, timed_out in ((False, False), (False, True), (True, False), (True, True))
]
DOUBTS = [
    orq.ServerError(operation="delete", status=502, headers={}),
    orq.MalformedResponse(operation="delete", reason="it broke", status=200),
    orq.TransportError(operation="delete", reason="it broke", sent=True),
]


def statuses_over_rest() -> dict[str, set[int]]:
    """By the code of an error, whatever else tells errors of one code apart."""
    found: dict[str, set[int]] = defaultdict(set)
    for error in (*ERRORS, *TRANSPORT_ERRORS, *DOUBTS):
        answer = rest.answer_error(error, {})
        assert answer is not None
        found[error.code].add(answer.status_code)
    misconfigured = rest.answer_error(ImproperlyConfigured("no workspace"), {})
    assert misconfigured is not None
    return found | {"not_configured": {misconfigured.status_code}}


def test_each_error_is_listed_with_its_code_and_whether_it_is_retryable():
    listed = {code(row["code"]): (code(row["class"]), row["retryable"] == "yes") for row in rows("errors.md", "Codes")}

    assert listed == {error.code: (type(error).__name__, error.retryable) for error in ERRORS}


def test_each_error_is_listed_with_its_status_over_rest():
    listed = {code(row["code"]): numbers(row["REST"]) for row in rows("errors.md", "Codes")}

    assert listed == {
        name: set() if name in NOT_OVER_REST else statuses for name, statuses in statuses_over_rest().items()
    }


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_each_error_has_the_attributes_that_are_listed(error):
    assert [name for row in rows("errors.md") if "attribute" in row for name in spans(row["attribute"])]
    assert all(hasattr(error, code(row["attribute"])) for row in rows("errors.md") if "attribute" in row)


# Signals


@pytest.fixture
def heard():
    """What the receivers of each signal get: the sender's name, and the names of the arguments."""
    found: dict[str, tuple[str, list[str]]] = {}
    receivers = {}
    for name in signals.__all__:

        def receive(sender: type, signal: Any, name: str = name, **arguments: object) -> None:
            found[name] = (sender.__name__, list(arguments))

        receivers[name] = receive
        getattr(signals, name).connect(receive, weak=False)
    yield found
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


@pytest.mark.django_db(transaction=True)
def test_signals_are_sent_as_listed(remote, heard):
    remote.add("One that stays")
    remote_id = remote.add("A")["_id"]
    full_run()
    lost = remote.rename(remote_id, "B")
    full_run()
    remote.remove(remote_id)
    full_run()
    remote.add(lost.pop("displayName"), **lost)
    full_run()

    assert heard == {
        code(row["signal"]): (code(row["sender"]), spans(row["arguments"])) for row in rows("signals.md", "Signals")
    }


# Tasks


def test_each_task_is_listed_with_its_arguments():
    listed = {code(row["task"]): spans(row["arguments"]) for row in rows("tasks.md") if "task" in row}

    assert listed == {
        name: [_plain(parameter) for parameter in inspect.signature(task.run).parameters.values()]
        for name, task in current_app.tasks.items()
        if name.startswith("django_orq.")
    }


def test_each_argument_of_the_task_to_schedule_is_explained():
    explained = [name for row in rows("tasks.md", "`sync_conversations`") for name in spans(row["argument"])]

    assert explained == list(inspect.signature(sync_conversations.run).parameters)


def _plain(parameter: inspect.Parameter) -> str:
    """``name="default"``, without its annotation."""
    return str(parameter.replace(annotation=inspect.Parameter.empty)).replace("'", '"')


# Commands

COMMANDS = [module.name for module in pkgutil.iter_modules(commands.__path__)]
EXIT_CODES: dict[str, tuple[str, ...]] = {
    "orq_sync": ("FAILED", "WRONG_USAGE", "PARTIAL", "UNFINISHED", "BUSY"),
    "orq_health": ("HEALTHY", "FAILED", "WRONG_USAGE", "LOOK"),
    "orq_prune": ("FAILED", "WRONG_USAGE", "STOPPED"),
}
"""What the commands' modules call them; one that is not here has Django's own: 0, 1, and 2 for wrong usage."""

each_command = pytest.mark.parametrize("command", COMMANDS)


def test_each_command_is_listed():
    assert {heading.strip("`") for heading in headings("commands.md") if heading.startswith("`")} == {*COMMANDS}


@each_command
def test_each_option_of_the_command_is_listed_with_its_default(command):
    stock = {action.dest for action in BaseCommand().create_parser("manage.py", command)._actions}
    parser = load_command_class("django_orq", command).create_parser("manage.py", command)
    own = {action.option_strings[0]: action.default for action in parser._actions if action.dest not in stock}

    assert {
        code(row["option"]): spans(row["default"]) for row in rows("commands.md", f"`{command}`") if "option" in row
    } == {
        option: [] if default in (None, False) else [f"{default:g}" if isinstance(default, float) else str(default)]
        for option, default in own.items()
    }


@each_command
def test_each_exit_code_of_the_command_is_listed(command):
    module = import_module(f"{commands.__name__}.{command}")
    own = {getattr(module, name) for name in EXIT_CODES.get(command, ())}

    listed = {int(row["exit code"]) for row in rows("commands.md", f"`{command}`") if "exit code" in row}
    assert listed == ({0} | own if own else {0, 1, 2})


# Log events


def test_each_event_is_listed_with_its_level_meaning_and_fields():
    listed = {
        code(row["event"]): (row["level"], row["means"], tuple(spans(row["fields"])))
        for row in rows("monitoring.md", "Log events")
        if "event" in row
    }

    assert listed == {
        event.name: (logging.getLevelName(event.level), event.means, event.fields) for event in logs.EVENTS.values()
    }


def test_each_field_of_events_is_listed():
    listed = {code(row["field"]): row["meaning"] for row in rows("monitoring.md", "Log events") if "field" in row}

    assert listed == logs.FIELDS


# Health


def findings_listed() -> dict[str, list[str]]:
    """The numbers of each finding, by its code."""
    listed = [row for row in rows("monitoring.md", "The health command") if "numbers" in row]
    return {code(row["code"]): spans(row["numbers"]) for row in listed}


def test_each_kind_of_finding_is_listed():
    source = inspect.getsource(health)
    named = re.findall(r'(?:code=|_tell_run\(\s*)"(\w+)"', source)

    assert {*findings_listed()} == {*named, *health._AGES}


@pytest.mark.django_db
def test_findings_have_the_numbers_that_are_listed(remote):
    remote.transform_list = lambda answer: answer | {"data": ["no conversation", *answer["data"]]}
    remote.add("A")
    full_run()
    runs.open_run("default", "incremental")
    found = {finding.code: list(finding.numbers) for finding in health.examine()}

    assert found.keys() == {"new", "everything", "last_run", "unfinished_run", "rejected"}
    assert found == {name: numbers for name, numbers in findings_listed().items() if name in found}


# REST

EVERYWHERE = {400, 401, 403, 404, 406, 429, 500, 503}
"""Statuses that every endpoint may answer with."""


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """What the views' OpenAPI description has of each endpoint."""
    environ = os.environ | {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DEMO_DIR": str(tmp_path_factory.mktemp("demo")),
        "ORQ_API_KEY": "key",
    }
    command = [sys.executable, "manage.py", "spectacular", "--format=openapi-json"]
    outcome = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)  # noqa: S603 # ours
    return {
        f"{method.upper()} {path.removeprefix('/orq/')}": operation
        for path, operations in json.loads(outcome.stdout)["paths"].items()
        for method, operation in operations.items()
    }


def endpoints() -> dict[str, dict[str, str]]:
    return {code(row["endpoint"]): row for row in rows("rest-api.md", "Endpoints")}


def test_each_endpoint_is_listed_with_its_permission():
    listed = {endpoint: code(row["permission"]) for endpoint, row in endpoints().items()}

    assert listed == {
        f"{method.upper()} {_template(pattern)}": demanded(pattern, method)
        for pattern in rows_patterns
        for method in pattern.callback.actions
        if method != "head"  # which a view adds to its own once it was asked
    }


def _template(pattern: Any) -> str:
    """``conversations/{remote_id}/``."""
    route = str(pattern.pattern).lstrip("^").removesuffix(r"\Z").removesuffix("$")
    return re.sub(r"\(\?P<(\w+)>.*?\)", r"{\1}", route).replace("{pk}", "{id}")


def test_each_endpoint_is_listed_with_its_statuses(described):
    listed = {endpoint: numbers(row["statuses"]) for endpoint, row in endpoints().items()}

    assert listed == {
        endpoint: {int(status) for status in operation["responses"]} - EVERYWHERE
        for endpoint, operation in described.items()
    }
    assert all({int(status) for status in operation["responses"]} >= EVERYWHERE for operation in described.values())


def test_each_parameter_is_listed_with_its_endpoint(described):
    listed = [(code(row["endpoint"]), code(row["parameter"])) for row in rows("rest-api.md", "Query")]
    everywhere = {"workspace"}

    assert sorted(listed) == sorted(
        (endpoint, parameter["name"])
        for endpoint, operation in described.items()
        for parameter in operation["parameters"]
        if parameter["in"] == "query" and parameter["name"] not in everywhere
    )


@pytest.mark.parametrize(
    ("column", "serializer"),
    [("of a conversation", ConversationSerializer), ("of a run", SyncRunDetailSerializer)],
)
def test_each_field_is_listed(column, serializer):
    assert [code(row[column]) for row in rows("rest-api.md", "Fields") if column in row] == [*serializer.Meta.fields]


def test_python_has_two_columns_more_than_rest():
    columns = {field.name for field in Conversation._meta.concrete_fields if not field.primary_key}
    more = columns - {*ConversationSerializer.Meta.fields}

    assert more == {"previous_name", "indexed_state"}
    assert more < {*spans(section("python-api.md", "`django_orq.models`"))}


def test_each_code_that_is_rests_own_is_listed_with_its_status():
    """``error`` is what classes without a code of their own inherit."""
    kinds = [kind for kind in _family(APIException) if kind.__module__ in (rest_framework.__name__, rest.__name__)]
    expected: dict[str, set[int]] = defaultdict(set)
    for kind in kinds:
        expected[kind.default_code].add(kind.status_code)
    for name in rest._CODES.values():
        expected[name].add(502)
    del expected["error"]

    listed = {code(row["code"]): numbers(row["status"]) for row in rows("rest-api.md", "Errors") if "code" in row}
    assert {name: statuses - {403} or statuses for name, statuses in listed.items()} == expected


def _family(kind: type[APIException]) -> set[type[APIException]]:
    return {kind}.union(*map(_family, kind.__subclasses__()))


def test_each_rate_is_listed():
    scopes = {*ConversationViewSet.throttle_scopes.values(), *SyncRunViewSet.throttle_scopes.values()}

    assert {code(row["rate"]) for row in rows("rest-api.md", "Throttling")} == scopes


# Contributing


def test_each_target_of_make_is_listed():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony

    listed = {code(row["target"]).removeprefix("make ") for row in rows("contributing.md", "Set up")}
    assert listed == {*phony[1].split()} - {"help"}


def test_files_that_the_pages_name_are_there():
    named = re.findall(
        r"`([A-Z]+\.md)`", section("contributing.md") + section("security.md") + section("upgrading.md")
    )

    assert {*named} == {"CHANGELOG.md", "SECURITY.md"}
    assert all((ROOT / name).is_file() for name in named)


def test_each_layer_is_listed_with_its_modules():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    layers = config["importlinter:contract:layers"]["layers"].strip().splitlines()

    listed = [spans(row["modules and packages"]) for row in rows("contributing.md", "Where things are")]
    assert listed == [layer.split(" | ") for layer in layers]


# Upgrading


def test_what_it_runs_on_is_what_the_package_says():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = dict(line.split(">=") for line in config["options"]["install_requires"].strip().splitlines())
    classifiers = config["metadata"]["classifiers"]
    listed = {
        row[""]: [row["oldest"], *re.findall(r"[\d.]+", row["and"])] for row in rows("upgrading.md", "What it runs on")
    }

    def later(of: str) -> list[str]:
        return re.findall(rf"^{of} :: (\d+\.\d+)$", classifiers, re.M)[1:]

    assert listed.pop("databases") == [""]
    assert listed == {
        "Python": [config["options"]["python_requires"].removeprefix(">="), *later("Programming Language :: Python")],
        "Django": [wanted["Django"], *later("Framework :: Django")],
        "Celery": [wanted["celery"]],
        "Django REST framework": [wanted["djangorestframework"]],
        "requests": [wanted["requests"]],
        "urllib3": [wanted["urllib3"]],
    }

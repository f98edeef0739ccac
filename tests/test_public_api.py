"""The page of the public API against the code: a name is public if both have it."""

import inspect
import pkgutil
from dataclasses import fields
from importlib import import_module
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import QuerySet

import django_orq
from django_orq.models import ConversationQuerySet, ConversationState, OperationItem, SyncRun
from django_orq.service import ConversationService

from .markdown import code, headings, rows, spans

PAGE = "python-api.md"
MODULES = [heading.strip("`") for heading in headings(PAGE) if heading.startswith("`django_orq.")]

each_module = pytest.mark.parametrize("module", MODULES)


def listed(module: str) -> list[str]:
    """What the page lists below the module's heading, with its signature where it gives one."""
    return [code(row["name"]) for row in rows(PAGE, f"`{module}`") if "name" in row]


def resolve(module: str, path: str) -> Any:
    value = import_module(module)
    for name in path.split("."):
        value = getattr(value, name)
    return value


def signature_of(callable_: Any) -> str:
    """Without annotations, and without the instance that a method is bound to."""
    signature = inspect.signature(callable_)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)).replace("'", '"')


def test_page_has_every_module_that_says_what_is_public():
    names = [module.name for module in pkgutil.walk_packages(django_orq.__path__, "django_orq.")]
    modules = [import_module(name) for name in names if not name.startswith("django_orq.testing.")]

    assert sorted(MODULES) == sorted(module.__name__ for module in modules if hasattr(module, "__all__"))


@each_module
def test_page_lists_what_the_module_offers(module):
    assert {name.partition("(")[0].partition(".")[0] for name in listed(module)} == {*import_module(module).__all__}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in MODULES for name in listed(module)])
def test_name_is_there_with_the_signature_that_the_page_gives(module, name):
    path, opened, rest = name.partition("(")
    found = resolve(module, path)

    assert not opened or opened + rest == signature_of(found)


def test_page_lists_all_operations_of_the_service():
    operations = {f"ConversationService.{name}" for name in vars(ConversationService) if not name.startswith("_")}

    assert operations | {"ConversationService"} == {name.partition("(")[0] for name in listed("django_orq.service")}


def test_page_lists_the_filters_of_conversations():
    ours = {name for name in vars(ConversationQuerySet) if not name.startswith("_") and not hasattr(QuerySet, name)}

    listed = [row["filter"] for row in rows(PAGE, "`django_orq.models`") if "filter" in row]
    assert {code(cell).removesuffix("()") for cell in listed} == ours


def test_page_lists_what_the_services_values_hold():
    for row in rows(PAGE, "`django_orq.payloads`"):
        kind = resolve("django_orq.payloads", code(row["name"]))
        properties = {name for name, member in vars(kind).items() if isinstance(member, property)}
        assert {*spans(row["fields"])} == {field.name for field in fields(kind)} | properties


def test_page_has_the_tree_of_errors():
    for row in rows(PAGE, "`django_orq.exceptions`"):
        error = resolve("django_orq.exceptions", code(row["name"]))
        assert error.__base__.__name__ == code(row["base class"])


def test_page_tells_which_model_each_class_of_the_admin_manages():
    managed = {code(row["name"]): code(row["what it manages"]) for row in rows(PAGE, "`django_orq.admin`")}

    ours = {type(ours).__name__: model.__name__ for model, ours in admin.site._registry.items()}
    assert managed == {name: model for name, model in ours.items() if name in managed}


@pytest.mark.parametrize(
    ("column", "states"),
    [
        ("`Conversation.state`", ConversationState),
        ("`SyncRun.state`", SyncRun.State),
        ("`OperationItem.state`", OperationItem.State),
    ],
)
def test_page_has_each_state(column, states):
    assert [code(row[column]) for row in rows(PAGE, "States") if column in row] == states.values

"""Blocks that are read, not run."""

import configparser
import json
import re
import tomllib
from collections.abc import Callable
from http import HTTPStatus

import yaml
from django.urls import Resolver404, resolve

from .blocks import Block, WrongPage
from .console import check_arguments, manage_arguments

_CRON_FIELD = r"(?:\*|\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)(?:/\d+)?"
_CRON_LINE = re.compile(rf"(?:{_CRON_FIELD}\s+){{5}}(?P<command>\S.*)|@(?:hourly|daily|weekly)\s+(?P<short>\S.*)")
_REQUEST = re.compile(r"(GET|POST|PATCH|DELETE) (/\S*)(?: HTTP/1\.1)?")
_ANSWER = re.compile(r"HTTP/1\.1 (\d{3})(?: (.*))?")


def read(block: Block) -> None:
    """``WrongPage`` if it is not what it says that it is."""
    try:
        READERS[block.language](block)
    except (ValueError, configparser.Error, yaml.YAMLError) as error:
        raise WrongPage(f"{block.place}: this is no {block.language}: {error}") from None


def read_cron(block: Block) -> None:
    for line in block.text.splitlines():
        if not line.strip() or line.startswith("#") or re.match(r"[A-Z_]+=", line):
            continue
        entry = _CRON_LINE.fullmatch(line)
        if entry is None:
            raise ValueError(line)
        if arguments := manage_arguments(entry["command"] or entry["short"]):
            check_arguments(arguments, block.place)


def read_http(block: Block) -> None:
    head, _blank, body = block.text.partition("\n\n")
    first, *headers = head.splitlines()
    if request := _REQUEST.fullmatch(first):
        _check_path(request[2], block)
    elif answer := _ANSWER.fullmatch(first):
        HTTPStatus(int(answer[1]))
    else:
        raise ValueError(first)
    for header in headers:
        if not re.fullmatch(r"[\w-]+: .+", header):
            raise ValueError(header)
    if body.strip():
        json.loads(body)


def _check_path(path: str, block: Block) -> None:
    if path.startswith("/v2/"):  # Orq's own
        return
    try:
        resolve(path.partition("?")[0])
    except Resolver404:
        raise WrongPage(f"{block.place}: {path} leads to no view") from None


def _read_yaml(block: Block) -> None:
    list(yaml.safe_load_all(block.text))


READERS: dict[str, Callable[[Block], object]] = {
    "cron": read_cron,
    "http": read_http,
    "ini": lambda block: configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text),
    "json": lambda block: json.loads(block.text),
    "toml": lambda block: tomllib.loads(block.text),
    "yaml": _read_yaml,
}

"""Requests that can't be read: refused as the caller's mistake, whichever parsers the project has."""

from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request


def check_charset(request: Request) -> None:
    """Django takes any codec of Python's for a charset, ``hex`` too; query and body are then no text."""
    try:
        "".encode(request.encoding or settings.DEFAULT_CHARSET)
    except (LookupError, UnicodeError):
        raise ParseError(_("The charset that the request names is none that text can be in.")) from None


def careful(parser: BaseParser) -> BaseParser:
    """The parser, which now refuses what is nested too deeply for it, as it does what it can't read."""
    read = parser.parse

    def parse(*args: Any, **options: Any) -> Any:
        try:
            return read(*args, **options)
        except RecursionError:
            raise ParseError(_("The body is nested too deeply.")) from None

    parser.parse = parse  # type: ignore[method-assign] # a subclass would not be what REST framework looks for
    return parser

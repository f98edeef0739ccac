"""Requests that can't be read: refused as the caller's mistake, whichever parsers the project has."""

from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, FileUploadParser, MultiPartParser
from rest_framework.request import Request


def check_charset(request: Request) -> None:
    """Django takes any codec of Python's for a charset, ``hex`` too; query and body are then no text."""
    try:
        "".encode(request.encoding or settings.DEFAULT_CHARSET)
    except (LookupError, UnicodeError):
        raise ParseError(_("The charset that the request names is none that text can be in.")) from None


def careful(parser: BaseParser) -> BaseParser:
    """The parser, which now refuses what is too large or nested too deeply, as it does what it can't read."""
    read = parser.parse

    def parse(stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        if not isinstance(parser, (MultiPartParser, FileUploadParser)):  # files have limits of their own
            _check_size(parser_context["request"])
        try:
            return read(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError(_("The body is nested too deeply.")) from None

    parser.parse = parse  # type: ignore[method-assign] # a subclass would not be what REST framework looks for
    return parser


def _check_size(request: Request) -> None:
    """As Django does where a body is read as a whole; REST framework 3.16 reads it past that."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = request.META.get("CONTENT_LENGTH") or "0"
    if limit is not None and length.isdecimal() and int(length) > limit:
        raise RequestDataTooBig

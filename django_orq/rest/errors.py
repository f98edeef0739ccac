"""Every error of these views in one shape: ``{"code", "message", "remote_status"}``, and what else helps.

``code`` is stable, ``message`` is for people, ``remote_status`` is the HTTP status of Orq's own answer, or null where
there is none.
"""

import math
from typing import Any

from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ParseError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

from .. import exceptions as orq
from .. import logs
from ..store import rate_limits
from ..store.database import DATABASE_TROUBLE
from .serializers import CurrentConversationSerializer

SECONDS_TO_WAIT = 5
"""What ``Retry-After`` says where nobody said how long."""
_MAX_WAIT = int(rate_limits.MAX_WAIT.total_seconds())
_CODES = {"authentication_failed": "remote_authentication_failed"}
"""Where REST framework has the same word for something else: here it is the server's key that was refused."""
_STATUSES = {
    "mirror_behind": status.HTTP_202_ACCEPTED,  # done in Orq: an error would have programs do it again
    "invalid_name": status.HTTP_400_BAD_REQUEST,
    "conversation_not_found": status.HTTP_404_NOT_FOUND,
    "conversation_changed": status.HTTP_409_CONFLICT,
    "rate_limited": status.HTTP_429_TOO_MANY_REQUESTS,
    "must_wait": status.HTTP_429_TOO_MANY_REQUESTS,
    "not_configured": status.HTTP_500_INTERNAL_SERVER_ERROR,
    "server_error": status.HTTP_503_SERVICE_UNAVAILABLE,
    "mirror_contended": status.HTTP_503_SERVICE_UNAVAILABLE,
    "database_trouble": status.HTTP_503_SERVICE_UNAVAILABLE,
}
"""By code; errors that are not here are 502: Orq's answer was of no use."""
_HINTS = {
    "create": _("The conversation may exist in Orq all the same. Look for it before you create it again."),
    "update": _("The name may have changed all the same; the next full sync shows it. Renaming again does no harm."),
    "delete": _("It may be deleted all the same. Deleting it again does no harm."),
}


class UnknownWorkspace(NotFound):
    default_detail = _("There is no such workspace. Leave ?workspace= out for the default one.")
    default_code = "unknown_workspace"


class InvalidCursor(NotFound):
    default_detail = _("There is no such page. Begin with the first one, and follow next and previous.")
    default_code = "invalid_cursor"


class RunConflict(APIException):
    """Something that can't be done with a run; the answer shows the run."""

    status_code: int = status.HTTP_409_CONFLICT

    def __init__(self, run: dict[str, Any], detail: str, code: str) -> None:
        super().__init__(detail, code)
        self.more = {"run": run}


class BrokerUnreachable(RunConflict):
    status_code: int = status.HTTP_503_SERVICE_UNAVAILABLE
    wait = SECONDS_TO_WAIT


class NotSetUp(APIException):
    """Settings that can't be used; what is wrong with them is for the log."""

    status_code = status.HTTP_500_INTERNAL_SERVER_ERROR
    default_detail = _("Orq is not set up for this workspace. This site's log and manage.py check say why.")
    default_code = "not_configured"


class Failure(APIException):
    """An ``OrqError``, as REST framework answers it."""

    def __init__(self, error: orq.OrqError) -> None:
        super().__init__(error.message, _CODES.get(error.code, error.code))
        self.status_code = _status(error)
        if self.status_code in (status.HTTP_429_TOO_MANY_REQUESTS, status.HTTP_503_SERVICE_UNAVAILABLE):
            seconds = SECONDS_TO_WAIT if error.retry_after is None else error.retry_after
            self.wait = max(1, math.ceil(min(seconds, _MAX_WAIT)))
        is_answered = not isinstance(error, orq.MustWait)  # for which nothing was sent
        self.more = {"remote_status": getattr(error, "status", None) if is_answered else None, **_more(error)}


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """The views' exception handler; ``None`` for a defect, which is left to Django."""
    ours = _as_api_exception(error)
    if isinstance(error, (*DATABASE_TROUBLE, SuspiciousOperation, BadRequest)) and "request" in context:
        # A page for people would read the body and the database once more.
        request = context["request"]
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    response = exception_handler(ours, context)
    if response is not None:
        response.data = _shape(response.data, ours)
    return response


def _as_api_exception(error: Exception) -> Exception:
    if isinstance(error, orq.OrqError):
        return Failure(error)
    if isinstance(error, ImproperlyConfigured):
        # In the words of conf, which hold no key.
        logs.log(logs.REST_FAILED, error_code=NotSetUp.default_code, problem=str(error))
        return NotSetUp()
    if isinstance(error, DATABASE_TROUBLE):
        trouble = orq.Problem("database_trouble", error=type(error).__name__)
        logs.log(logs.REST_FAILED, error_code=trouble.code, problem="the database is in trouble", exc_info=True)
        return Failure(trouble)
    if isinstance(error, (SuspiciousOperation, BadRequest)):  # what Django would answer with a page of its own
        return ParseError(_("The request can't be read: it is too large, has too many fields, or is not well formed."))
    return error


def _shape(data: Any, error: Exception) -> dict[str, Any]:
    """What REST framework would answer, in our shape."""
    errors = data if isinstance(data, dict) else {"non_field_errors": data}
    detail = errors.get("detail")
    if isinstance(detail, ErrorDetail):
        code, message, more = str(detail.code), str(detail), getattr(error, "more", {})
    else:
        code, message, more = getattr(error, "default_code", "invalid"), _summary(errors), {"errors": errors}
    return {"code": code, "message": message, "remote_status": None, **more}


def _summary(errors: dict[str, Any]) -> str:
    return " ".join(
        f"{name}: {problem}" if name != "non_field_errors" else str(problem)
        for name, problems in errors.items()
        for problem in (problems if isinstance(problems, list) else [problems])
    )


def _status(error: orq.OrqError) -> int:
    if error.leaves_doubt and not isinstance(error, orq.MirrorBehind):
        return status.HTTP_504_GATEWAY_TIMEOUT
    if isinstance(error, orq.TransportError) and not error.sent:
        return status.HTTP_503_SERVICE_UNAVAILABLE
    if isinstance(error, orq.TransportError) and error.timed_out:
        return status.HTTP_504_GATEWAY_TIMEOUT
    return _STATUSES.get(error.code, status.HTTP_502_BAD_GATEWAY)


def _more(error: orq.OrqError) -> dict[str, Any]:
    """What helps beside the message, by the kind of error."""
    match error:
        case orq.ConversationChanged():
            return {"current": dict(CurrentConversationSerializer(error).data)}
        case orq.InvalidName():
            return {"errors": {"display_name": [error.message]}}
        case orq.MirrorBehind():
            return {"remote_id": error.remote_id, "replaced": error.replaced}
    hint = _HINTS.get(getattr(error, "operation", "")) if error.leaves_doubt else None
    return {} if hint is None else {"hint": str(hint)}

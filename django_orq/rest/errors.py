"""Errors in one shape: ``{"code", "message", "remote_status"}``, with more fields for some of them.

``code`` is stable, ``message`` is a text for users, and ``remote_status`` is the HTTP status of Orq's response, or
null if there was none. With a project's own ``EXCEPTION_HANDLER``, only the errors of this app have this shape.
"""

import math
from typing import Any

from django.core.exceptions import BadRequest, ImproperlyConfigured, SuspiciousOperation
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ParseError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import exception_handler

from .. import exceptions as orq, logs
from ..store import rate_limits
from ..store.database import DATABASE_TROUBLE
from .serializers import CurrentConversationSerializer

SECONDS_TO_WAIT = 5
"""The ``Retry-After`` of an error for which Orq did not send one."""
_MAX_WAIT = int(rate_limits.MAX_WAIT.total_seconds())
_CODES = {"authentication_failed": "remote_authentication_failed"}
"""REST framework uses the code for a client's wrong credentials; here Orq rejected the server's API key."""
_STATUSES = {
    "mirror_behind": status.HTTP_202_ACCEPTED,  # carried out in Orq; clients would repeat it after an error
    "invalid_name": status.HTTP_400_BAD_REQUEST,
    "conversation_not_found": status.HTTP_404_NOT_FOUND,
    "conversation_changed": status.HTTP_409_CONFLICT,
    "rate_limited": status.HTTP_429_TOO_MANY_REQUESTS,
    "must_wait": status.HTTP_429_TOO_MANY_REQUESTS,
    "not_configured": status.HTTP_500_INTERNAL_SERVER_ERROR,
    "row_refused": status.HTTP_500_INTERNAL_SERVER_ERROR,
    "server_error": status.HTTP_503_SERVICE_UNAVAILABLE,
    "mirror_contended": status.HTTP_503_SERVICE_UNAVAILABLE,
    "database_trouble": status.HTTP_503_SERVICE_UNAVAILABLE,
}
"""The statuses by code, where ``_status`` finds nothing more specific. All other errors are 502."""
_HINTS = {
    "create": _("The conversation may have been created in Orq. Look for it before you create it again."),
    "update": _("The conversation may have been renamed. A full sync shows its name. It is safe to rename it again."),
    "delete": _("The conversation may have been deleted. It is safe to delete it again."),
}


class UnknownWorkspace(NotFound):
    default_detail = _("There is no such workspace. Add ?workspace= and the alias of a workspace to the URL.")
    default_code = "unknown_workspace"


class InvalidCursor(NotFound):
    default_detail = _("There is no such page. Start at the first page, and follow the URLs in next and previous.")
    default_code = "invalid_cursor"


class RunConflict(APIException):
    """The state of a run does not allow the request; the response shows the run."""

    status_code: int = status.HTTP_409_CONFLICT

    def __init__(self, run: dict[str, Any], detail: str, code: str) -> None:
        super().__init__(detail, code)
        self.more = {"run": run}


class BrokerUnreachable(RunConflict):
    status_code: int = status.HTTP_503_SERVICE_UNAVAILABLE
    wait = SECONDS_TO_WAIT


class Failure(APIException):
    """An ``OrqError`` as an exception of REST framework."""

    def __init__(self, error: orq.OrqError) -> None:
        super().__init__(orq.explain(error.code, error.params, for_operator=False), _CODES.get(error.code, error.code))
        self.status_code = _status(error)
        if self.status_code in (status.HTTP_429_TOO_MANY_REQUESTS, status.HTTP_503_SERVICE_UNAVAILABLE):
            seconds = SECONDS_TO_WAIT if error.retry_after is None else error.retry_after
            self.wait = max(1, math.ceil(min(seconds, _MAX_WAIT)))
        has_response = not isinstance(error, orq.MustWait)  # which is raised before anything is sent
        self.more = {"remote_status": getattr(error, "status", None) if has_response else None, **_more(error)}


_OURS = (Failure, RunConflict, UnknownWorkspace, InvalidCursor)
"""The errors that keep our shape in a project with its own ``EXCEPTION_HANDLER``."""


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """The views' exception handler. Returns ``None`` for an unexpected exception, which Django then handles."""
    raised = _as_api_exception(error)
    request = context.get("request")
    is_csv = getattr(getattr(request, "accepted_renderer", None), "format", "") == "csv"
    if request and (is_csv or isinstance(error, (*DATABASE_TROUBLE, SuspiciousOperation, BadRequest))):
        # The browsable API would read the body and the database again.
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
    handler: Any = api_settings.EXCEPTION_HANDLER
    is_ours = isinstance(raised, _OURS) or handler is exception_handler
    response: Response | None = (exception_handler if is_ours else handler)(raised, context)
    if response is not None and is_ours:
        response.data = _shape(response.data, raised)
    return response


def _as_api_exception(error: Exception) -> Exception:
    if isinstance(error, orq.OrqError):
        return Failure(error)
    if isinstance(error, ImproperlyConfigured):
        wrong = orq.Problem("not_configured", problem=str(error))  # the texts of conf do not contain the key
        logs.log(logs.REST_FAILED, error_code=wrong.code, problem=str(error))
        return Failure(wrong)
    if isinstance(error, DATABASE_TROUBLE):
        trouble = orq.Problem("database_trouble", error=type(error).__name__)
        logs.log(logs.REST_FAILED, error_code=trouble.code, problem="the database failed", exc_info=True)
        return Failure(trouble)
    if isinstance(error, (SuspiciousOperation, BadRequest)):  # Django would return an HTML page
        return ParseError(_("The request is too large, has too many fields, or is malformed."))
    return error


def _shape(data: Any, error: Exception) -> dict[str, Any]:
    """Convert the body that REST framework would return to our shape."""
    errors = data if isinstance(data, dict) else {api_settings.NON_FIELD_ERRORS_KEY: data}
    detail = errors.get("detail")
    if isinstance(detail, ErrorDetail):
        code, message, more = str(detail.code), str(detail), getattr(error, "more", {})
    else:
        code, message, more = getattr(error, "default_code", "invalid"), _summary(errors), {"errors": errors}
    return {"code": code, "message": message, "remote_status": None, **more}


def _summary(errors: dict[str, Any]) -> str:
    return " ".join(
        f"{name}: {problem}" if name != api_settings.NON_FIELD_ERRORS_KEY else str(problem)
        for name, problems in errors.items()
        for problem in (problems if isinstance(problems, list) else [problems])
    )


def _status(error: orq.OrqError) -> int:
    if isinstance(error, orq.TransportError) and not error.sent:
        return status.HTTP_503_SERVICE_UNAVAILABLE
    is_late = isinstance(error, orq.TransportError) and error.timed_out
    if is_late or (error.leaves_doubt and not isinstance(error, orq.MirrorBehind)):
        return status.HTTP_504_GATEWAY_TIMEOUT
    return _STATUSES.get(error.code, status.HTTP_502_BAD_GATEWAY)


def _more(error: orq.OrqError) -> dict[str, Any]:
    """Return the additional fields for this kind of error."""
    match error:
        case orq.ConversationChanged():
            return {"current": dict(CurrentConversationSerializer(error).data)}
        case orq.InvalidName():
            return {"errors": {"display_name": [error.message]}}
        case orq.MirrorBehind():
            return {"remote_id": error.remote_id, "replaced": error.replaced}
    hint = _HINTS.get(getattr(error, "operation", "")) if error.leaves_doubt else None
    return {} if hint is None else {"hint": str(hint)}

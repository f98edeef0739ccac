"""Every error of these views in one shape: ``{"code", "message", "remote_status"}``, and what else helps.

``code`` is stable, ``message`` is for people, ``remote_status`` is the HTTP status of Orq's own answer, or null where
there is none.
"""

import math
from typing import Any

from django.core.exceptions import BadRequest, ImproperlyConfigured, RequestDataTooBig, SuspiciousOperation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ParseError, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

from .. import exceptions as orq
from .. import logs
from ..exceptions import OrqError
from ..store import rate_limits
from ..store.database import DATABASE_TROUBLE
from .serializers import CurrentSerializer

SECONDS_TO_WAIT = 5
"""What ``Retry-After`` says where nobody said how long."""
_LONGEST = int(rate_limits.LONGEST.total_seconds())
_UNREADABLE = (SuspiciousOperation, BadRequest)
_CODES = {orq.AuthenticationFailed.code: "remote_authentication_failed"}
"""Where REST framework has the same word for something else: here it is the server's key that was refused."""
_HINTS = {
    "create": _(
        "The conversation may exist in Orq all the same; the next sync shows it. Look for it before you create it "
        "again, or there may be two."
    ),
    "update": _("The name may have changed all the same; the next full sync shows it. Renaming again does no harm."),
    "delete": _("It may be deleted all the same. Deleting it again does no harm."),
}


class UnknownWorkspace(NotFound):
    default_detail = _("There is no such workspace. Leave ?workspace= out for the default one.")
    default_code = "unknown_workspace"


class NotInMirror(NotFound):
    default_detail = _("The mirror has no such conversation. If Orq has it, POST its id to conversations/fetch/.")
    default_code = "not_found"


class NotAmongThese(NotFound):
    default_detail = _("There is no such conversation among those that are shown here.")
    default_code = "not_found"


class NoSuchRun(NotFound):
    default_detail = _("There is no such sync run in this workspace. Old runs are removed in time.")
    default_code = "not_found"


class InvalidCursor(NotFound):
    default_detail = _("There is no such page. Begin with the first one, and follow next and previous.")
    default_code = "invalid_cursor"


class RequestTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The body is larger than this site reads.")
    default_code = "request_too_large"


class RunError(APIException):
    """Something that can't be done with a run; the answer shows the run."""

    def __init__(self, run: dict[str, Any], detail: str) -> None:
        super().__init__(detail)
        self.more = {"run": run}


class RunUnfinished(RunError):
    status_code = status.HTTP_409_CONFLICT
    default_code = "sync_run_unfinished"


class RunFinished(RunError):
    status_code = status.HTTP_409_CONFLICT
    default_code = "sync_run_finished"


class BrokerUnreachable(RunError):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "broker_unreachable"
    wait = SECONDS_TO_WAIT


def answer_error(error: Exception, context: dict[str, Any]) -> Response | None:
    """The views' exception handler; ``None`` for a defect, which is left to Django."""
    if isinstance(error, (*DATABASE_TROUBLE, *_UNREADABLE)):
        _show_no_page(context.get("request"))
    answer = _answer(error, context)
    if answer is not None:
        answer.data = _printable(answer.data)
    return answer


def _answer(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, OrqError):
        return _answer_orq(error)
    if isinstance(error, ImproperlyConfigured):
        # In the words of conf, which hold no key.
        logs.log(logs.REST_FAILED, error_code="not_configured", problem=str(error))
        return _answer_not_configured()
    if isinstance(error, DATABASE_TROUBLE):
        logs.log(logs.REST_FAILED, error_code="database_trouble", problem="the database is in trouble", exc_info=True)
        return _answer_orq(orq.Problem("database_trouble", error=type(error).__name__))
    if isinstance(error, _UNREADABLE):
        error = _refused(error)
    return _reshape(exception_handler(error, context), error)


def _refused(error: Exception) -> APIException:
    """What Django refuses by itself, and would answer with a page of its own."""
    if isinstance(error, RequestDataTooBig):
        return RequestTooLarge()
    return ParseError(gettext("The request can't be read: it has too many fields or files, or is not well formed."))


def _show_no_page(request: Any) -> None:
    """A page for people would read the body and the database once more."""
    if request is not None:
        request.accepted_renderer, request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type


def _printable(value: Any) -> Any:
    """The same without halves of surrogate pairs, which an error may quote and no answer can hold."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _printable(one) for name, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list) else value


def _reshape(response: Response | None, error: Exception) -> Response | None:
    """REST framework's own answer, in our shape."""
    if response is None:
        return None
    detail = response.data.get("detail") if isinstance(response.data, dict) else None
    if isinstance(detail, ErrorDetail):
        response.data = _shape(str(detail.code), str(detail)) | getattr(error, "more", {})
    else:
        errors = response.data if isinstance(response.data, dict) else {"non_field_errors": response.data}
        code = error.default_code if isinstance(error, APIException) else ValidationError.default_code
        response.data = _shape(str(code), _summary(errors)) | {"errors": errors}
    return response


def _summary(errors: dict[str, Any]) -> str:
    return " ".join(
        f"{name}: {problem}" if name != "non_field_errors" else str(problem)
        for name, problems in errors.items()
        for problem in (problems if isinstance(problems, list) else [problems])
    )


def _shape(code: str, message: str, remote_status: int | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "remote_status": remote_status}


def _answer_not_configured() -> Response:
    message = gettext(
        "Orq is not set up for this workspace, so nothing was done. The log of this site says what is missing, and "
        "so does manage.py check."
    )
    return Response(_shape("not_configured", message), status=status.HTTP_500_INTERNAL_SERVER_ERROR)


def _answer_orq(error: OrqError) -> Response:
    body = _shape(_CODES.get(error.code, error.code), error.message, _remote_status(error)) | _more(error)
    status_code = _status(error)
    return Response(body, status=status_code, headers=_headers(error, status_code))


def _status(error: OrqError) -> int:
    if isinstance(error, orq.MirrorBehind):  # done in Orq: an error would have programs do it again
        return status.HTTP_202_ACCEPTED
    if error.leaves_doubt:
        return status.HTTP_504_GATEWAY_TIMEOUT
    match error:
        case orq.InvalidName():
            return status.HTTP_400_BAD_REQUEST
        case orq.ConversationNotFound():
            return status.HTTP_404_NOT_FOUND
        case orq.ConversationChanged():
            return status.HTTP_409_CONFLICT
        case orq.RateLimited():
            return status.HTTP_429_TOO_MANY_REQUESTS
        case orq.ServerError() | orq.MirrorContended() | orq.Problem():
            return status.HTTP_503_SERVICE_UNAVAILABLE
        case orq.TransportError(sent=False):
            return status.HTTP_503_SERVICE_UNAVAILABLE
        case orq.TransportError(timed_out=True):
            return status.HTTP_504_GATEWAY_TIMEOUT
    return status.HTTP_502_BAD_GATEWAY


def _remote_status(error: OrqError) -> int | None:
    if isinstance(error, orq.MustWait):  # nothing was sent
        return None
    return error.status if isinstance(error, (orq.APIError, orq.MalformedResponse)) else None


def _more(error: OrqError) -> dict[str, Any]:
    match error:
        case orq.ConversationChanged():
            return {"current": dict(CurrentSerializer(error).data)}
        case orq.InvalidName():
            return {"errors": {"display_name": [error.message]}}
        case orq.MirrorBehind():
            return {"remote_id": error.remote_id, "replaced": error.replaced}
    hint = _HINTS.get(getattr(error, "operation", "")) if error.leaves_doubt else None
    return {} if hint is None else {"hint": str(hint)}


def _headers(error: OrqError, status_code: int) -> dict[str, str]:
    if status_code not in (status.HTTP_429_TOO_MANY_REQUESTS, status.HTTP_503_SERVICE_UNAVAILABLE):
        return {}
    seconds = SECONDS_TO_WAIT if error.retry_after is None else error.retry_after
    return {"Retry-After": str(max(1, math.ceil(min(seconds, _LONGEST))))}

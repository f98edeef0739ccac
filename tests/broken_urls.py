from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_orq.conf import get_workspace
from django_orq.exceptions import ServerError
from django_orq.service import ConversationService


def broken(request: HttpRequest) -> HttpResponse:
    """Has the workspace and the service among its local variables, which the debug page shows."""
    workspace = get_workspace("default")
    with ConversationService.for_workspace(workspace.alias) as service:
        service.list()
        raise ServerError(operation="list", status=500, headers={})


urlpatterns = [path("broken/", broken)]

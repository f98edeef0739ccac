"""A project that has changed what REST framework lets projects change."""

from tests.settings import *  # noqa: F403 # all of it, but for what follows

ROOT_URLCONF = "tests.rest.project_cases"
_STOCK = ("AllowAny", "IsAuthenticated", "IsAuthenticatedOrReadOnly", "DjangoModelPermissionsOrAnonReadOnly")
_RULES = [*(f"rest_framework.permissions.{name}" for name in _STOCK), "tests.rest.project.Rule"]
REST_FRAMEWORK = {
    "ALLOWED_VERSIONS": ["v1"],
    "COERCE_BIGINT_TO_STRING": True,
    "DATETIME_FORMAT": "%d.%m.%Y",
    "DATETIME_INPUT_FORMATS": ["%d.%m.%Y"],
    "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.OrderingFilter"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "DEFAULT_PERMISSION_CLASSES": _RULES,
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "NON_FIELD_ERRORS_KEY": "__all__",
    "PAGE_SIZE": 2,
    "SEARCH_PARAM": "q",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}

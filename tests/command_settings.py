"""Settings for commands in separate processes, which take Orq's address and LOGGING from the environment too."""

import json
import os

from .settings import *  # noqa: F403 # all of them

ORQ_WORKSPACES = {
    "default": {"API_KEY": "sandbox-key", "BASE_URL": os.environ["ORQ_BASE_URL"], "RETRIES": {"attempts": 1}}
}
LOGGING = json.loads(os.environ.get("LOGGING", "{}"))

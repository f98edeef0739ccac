"""Celery's filesystem broker, made safe for workers that read the folder while a message is being written."""

import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override] # two names in kombu
        """Write the message to a temporary file and rename it, so that workers never see part of it.

        The stock channel creates the file and then writes to it; a worker that reads it in between crashes.
        """
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}"
        unfinished = Path(self.data_folder_out, f"{name}.unfinished")
        unfinished.write_text(dumps(payload))
        unfinished.rename(Path(self.data_folder_out, f"{name}.{queue}.msg"))


class Transport(filesystem.Transport):
    Channel = Channel

"""Terminals as a reader uses them: shells into which commands are typed."""

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import TextIO

from ..programs import GRACE, end_group, group_exists, wait_until

PATIENCE = 300.0
"""Seconds after which a command has timed out."""


def _heed_control_c() -> None:
    """Restore SIGINT, which a shell started in the background ignores, and its children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A shell in a folder. Its input and output are also written to the transcript."""

    def __init__(
        self, name: str, *, folder: Path, environment: dict[str, str], logs: Path, transcript: TextIO
    ) -> None:
        self._name = name
        self._transcript = transcript
        self._log = logs / f"{name}.log"
        self._read = 0
        with self._log.open("wb") as log:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],  # noqa: S607 # as people find it
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_heed_control_c,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def run(self, command: str) -> str:
        """Run a command and return its output; AssertionError if it fails."""
        before, end = len(self.said), uuid.uuid4().hex
        self._type(command, f"echo {end} $?")
        assert wait_until(lambda: f"{end} " in self.said, within=PATIENCE), f"{command}\n{self.said[before:]}"
        wait_until(lambda: self.said.endswith("\n"), within=1)
        output, _, code = self.said[before:].rpartition(f"{end} ")
        self._note(command, output)
        assert code.strip() == "0", f"{command} ended with {code}:\n{output}"
        return output

    def start(self, command: str, *, ready: str) -> None:
        """Type a command that runs until Ctrl-C, and wait until it says that it is ready."""
        self._read = len(self.said)
        self._type(command)
        assert wait_until(lambda: ready in self.said[self._read :]), f"{command}\n{self.said}"
        self._note(command, f"… {ready} …")

    def press_control_c(self) -> None:
        """Stop the running command and close the terminal; no process may be left."""
        os.killpg(self._shell.pid, signal.SIGINT)
        self.close()
        self._note("^C", f"What it had said:\n{self.said[self._read :]}")

    def close(self) -> None:
        assert self._shell.stdin
        self._shell.stdin.close()
        self._shell.wait(GRACE)
        gone = wait_until(lambda: not group_exists(self._shell), within=GRACE)
        assert gone, f"processes of {self._name} are left\n{self.said}"

    def kill(self) -> None:
        end_group(self._shell)
        if self._shell.stdin:
            self._shell.stdin.close()

    def _type(self, command: str, *more: str) -> None:
        """Type a command. The shell reads line by line, so no command may read the next one as its input."""
        assert self._shell.stdin
        lines = [f"{{ {command}", "} </dev/null", *more]
        self._shell.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._shell.stdin.flush()

    def _note(self, command: str, output: str) -> None:
        ending = "\n" if output.strip() else ""
        self._transcript.write(f"[{time.strftime('%H:%M:%S')} {self._name}] $ {command}\n{output.rstrip()}{ending}")
        self._transcript.flush()

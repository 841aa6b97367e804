"""A server with faults in a process of its own on loopback, which ends when its parent does.

A module that has one calls `serve` when it is run, and `started` runs it. What goes wrong, and when, is set
over HTTP (`FaultyServer.set`); what the server notes, it writes to a file as JSON lines.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
import threading
from typing import Any
import urllib.request

from askonce.pipeline.simulated.serve import SimulatedServer

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class FaultyServer:
    """A running one. `url` is its base URL."""

    url: str
    log: Path

    def set(self, **settings: Any) -> None:
        """From now on; see the server's own settings. What is not named is as in a server without faults.
        Empties the log."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(self.url.replace("/v1", "/set"), json.dumps(settings).encode()).read()
        os.truncate(self.log, 0)

    def requests(self) -> list[dict[str, Any]]:
        """As they came: number, text (the last message's), n, first, fault, time."""
        return [entry for entry in self.entries() if "number" in entry]

    def answered(self) -> list[dict[str, Any]]:
        """Those of them whose answer was sent whole."""
        whole = {entry["answered"] for entry in self.entries() if "answered" in entry}
        return [entry for entry in self.requests() if entry["number"] in whole]

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def started(module: str, log: Path) -> Iterator[FaultyServer]:
    """The server of tests/pipeline/asking/<module>.py, which notes what it is asked in `log`."""
    log.touch()
    command = [sys.executable, "-m", f"{__package__}.{module}", str(log)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        try:
            yield FaultyServer(process.stdout.readline().strip(), log)
        finally:
            process.stdin.close()


def serve(faulty: Callable[[Path], SimulatedServer]) -> None:
    """The process's whole life."""
    server = faulty(Path(sys.argv[1]))
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    print(server.base_url, flush=True)
    server.serve_forever()


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(0)

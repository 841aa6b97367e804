"""The console script as people run it, in a process of its own."""

from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys

import pyarrow.parquet as pq

SCRIPT = Path(sys.executable).with_name("cli")
SECRET = "sk-a-key-that-nobody-may-read"


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict:
        """The one JSON object on stdout."""
        return json.loads(self.out)


def start(*arguments: object, cwd: Path | None = None) -> subprocess.Popen:
    environment = os.environ | {"OPENAI_API_KEY": SECRET, "PYTHONUNBUFFERED": "1"}
    environment.pop("OPENAI_BASE_URL", None)
    return subprocess.Popen(
        [SCRIPT, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen) -> Result:
    out, err = process.communicate()
    return Result(process.returncode, out, err)


def command(*arguments: object, cwd: Path | None = None) -> Result:
    return finish(start(*arguments, cwd=cwd))


def files_with_secret(directory: Path) -> list[Path]:
    """Files under `directory` that hold the API key; what Parquet compresses is looked into."""
    found = []
    for path in filter(Path.is_file, directory.rglob("*")):
        rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else ""
        if SECRET.encode() in path.read_bytes() or SECRET in str(rows):
            found.append(path)
    return found

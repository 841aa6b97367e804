"""Small JSON files that show when they are damaged: a checksum, and on the next line JSON."""

import hashlib
import json
from pathlib import Path
from typing import Any

from askonce.cache import durable
from askonce.cache.key import canonical_json


def write(path: Path, value: Any) -> None:
    """`path` holds `value` or what it held, whenever the machine stops; on return it is on disk."""
    content = canonical_json(value).encode()
    durable.write(path, _checksum(content) + b"\n" + content)


def read(path: Path) -> Any | None:
    """None where it is missing or damaged."""
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    return json.loads(content) if _checksum(content) == checksum else None


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()

"""Files and directories that are on disk when the call returns, and never there by half."""

from collections.abc import Iterator
from contextlib import contextmanager
import errno
import os
from pathlib import Path
import uuid

from askonce.cache import layout


@contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A path in `folder` to write to; whatever is still there at the end is removed."""
    temporary = folder / f"{uuid.uuid4().hex}{layout.UNFINISHED}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """`path` holds `data` or is as it was, whenever the machine stops; on return it is on disk."""
    with unfinished(path.parent) as temporary:
        temporary.write_bytes(data)
        rename(temporary, path)


def rename(source: Path, target: Path) -> None:
    """Gives a finished file its name.

    The bytes are synced before the rename, else the name could survive a power cut without them;
    the directory after it, else the name could be lost.
    """
    sync(source)
    os.replace(source, target)
    sync(target.parent)


def make_directory(directory: Path) -> None:
    """`directory` and all above it, each of them synced into its parent."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync(directory.parent)


def sync(path: Path) -> None:
    """A file's bytes, or a directory's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened_anew(path: Path) -> os.stat_result:
    """What the file is like now, on a network file system too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def gone(error: OSError, path: Path) -> bool:
    """Whether it failed because another process, perhaps on another host, has removed the file."""
    return error.errno in (errno.ENOENT, errno.ESTALE) and is_gone(path)


def is_gone(path: Path) -> bool:
    """Whether another process has removed the file. A network file system may still say that it exists, until it
    is opened; a link that leads nowhere was never removed."""
    try:
        opened_anew(path)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ESTALE) and not path.is_symlink()
    return False


def size(path: Path) -> int:
    """A file's bytes; 0 where another process has removed it."""
    try:
        return path.stat().st_size
    except OSError as error:
        if gone(error, path):
            return 0
        raise

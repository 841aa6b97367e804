"""Numba's `njit` with a cache on disk that sees changes in what a function calls, not in its own file alone."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
import hashlib
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from numba import njit
from numba.core.caching import IndexDataCacheFile
from numba.core.dispatcher import Dispatcher


def compiled(
    function: Callable[..., Any], names: Mapping[str, Any] | None = None, **options: Any
) -> Callable[..., Any]:
    """`function`, compiled; `names` are put in the place of globals, so that one loop serves several worlds.

    The cache on disk holds for as long as no file changes in a folder that the function calls into.
    """
    assert isinstance(function, FunctionType)
    bound = FunctionType(function.__code__, {**function.__globals__, **(names or {})}, function.__name__)
    bound.__qualname__, bound.__module__ = function.__qualname__, function.__module__
    dispatcher: Any = njit(bound, cache=True, nogil=True, **options)
    cache, folders = dispatcher._cache, {Path(function.__code__.co_filename).parent, *_folders(bound, set())}
    digest = hashlib.sha256("".join(_digest(folder) for folder in sorted(folders)).encode()).hexdigest()
    # What another world is compiled to has other callees, and a file of its own.
    name = f"{cache._impl.filename_base}-{digest[:12]}"
    cache._cache_file = IndexDataCacheFile(  # type: ignore[no-untyped-call]
        cache._cache_path, name, digest
    )
    found: Callable[..., Any] = dispatcher
    return found


def _folders(function: FunctionType, met: set[CodeType]) -> Iterator[Path]:
    """Of the compiled functions that this one reaches, at any depth."""
    met.add(function.__code__)
    for called in _called(function):
        if called.__code__ not in met:
            yield Path(called.__code__.co_filename).parent
            yield from _folders(called, met)


def _called(function: FunctionType) -> Iterator[FunctionType]:
    named = function.__code__.co_names
    for name in named:
        value = function.__globals__.get(name)
        values = [getattr(value, each, None) for each in named] if isinstance(value, ModuleType) else [value]
        yield from (each.py_func for each in values if isinstance(each, Dispatcher))


@cache
def _digest(folder: Path) -> str:
    sources = sorted(folder.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()

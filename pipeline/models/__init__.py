"""LLMs without a server: models in this process, each a function from chats and terms to completions.

    llama:FILE.gguf        a GGUF file, by llama-cpp-python     pip install 'askonce[llama]'
    transformers:FOLDER    a local folder, by transformers      pip install 'askonce[transformers]'
    vllm:FOLDER            a local folder, by vLLM's engine     pip install 'askonce[vllm]'
    package.module:NAME    a function of your own (`pipeline.asking.function`)

What stands for a model in the key of its answers is the digest of its weights: they are the same wherever they lie.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
import hashlib
from importlib import import_module
from pathlib import Path

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.function import Function

# What of a folder decides on its answers.
DECISIVE = "*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"


def find(name: str) -> Function:
    """The function that `name` stands for; a model is loaded when it is first asked. AskonceError where there is none."""
    kind, _, where = name.partition(":")
    if kind in READY and where:
        return READY[kind](where)
    try:
        found = getattr(import_module(kind), where)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        ready = ", ".join(f"{one}:PATH" for one in READY)
        raise AskonceError(f"no LLM at {name!r} ({error}): name {ready}, or package.module:FUNCTION", 2) from None
    if not callable(found):
        raise AskonceError(f"{name!r} is no function but a {type(found).__name__}", 2)
    function: Function = found
    return function


def digest(paths: Iterable[Path]) -> str:
    """Of these files, by their names and contents."""
    total = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{total.hexdigest()}"


@dataclass(frozen=True)
class Folder:
    """A model's folder as its makers publish it. AskonceError where it is none."""

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "config.json").is_file():
            raise AskonceError(f"{self.path} is no model's folder: it holds no config.json", 2)

    @property
    def __name__(self) -> str:
        return self.path.resolve().name

    @cached_property
    def address(self) -> str:
        return digest(path for pattern in DECISIVE for path in self.path.glob(pattern))


def _ready(module: str, model: str) -> Callable[[str], Function]:
    """What opens such a model; its library is loaded only then."""

    def opened(where: str) -> Function:
        made: Function = getattr(import_module(f"{__name__}.{module}"), model)(Path(where))
        return made

    return opened


READY: dict[str, Callable[[str], Function]] = {
    "llama": _ready("llama_cpp", "LlamaCpp"),
    "transformers": _ready("transformers", "Transformers"),
    "vllm": _ready("vllm", "Vllm"),
}

"""What a run takes from a file: TOML that people write, or the run.json that a run has left.

The keys of the TOML are the long flags of `cli train`, and two tables hold what has no flag of its own::

    task = "ColoredDoorKey"
    cache = "my-cache"
    cache-only = true
    iterations = 3000

    [hyperparameters]    # fields of `ppo.Hyperparameters`
    ent_coef = 0.01

    [distill_coef]       # fields of `anneal.Schedule`
    initial = 5.0
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
import tomllib
from typing import Any, TypeVar

from askonce.cache.errors import AskonceError
from askonce.student.learning import checkpoint
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.ppo import Hyperparameters

Fields = TypeVar("Fields", Hyperparameters, Schedule)


@dataclass(frozen=True)
class Config:
    """`flags` by their names in Python ("cache_only"); the others replace single fields."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    distill_coef: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path, flags: Collection[str]) -> Config:
    """`flags` are those that there are. AskonceError, with exit code 2, for what is no such file."""
    config = _of_run(path) if path.suffix == ".json" else _of_toml(path)
    if unknown := sorted(set(config.flags) - set(flags)):
        raise AskonceError(
            f"{path} sets {unknown[0]!r}, which is no flag of `cli train`: see `cli train --help`, or put it under "
            "[hyperparameters] or [distill_coef]",
            2,
        )
    replaced(Hyperparameters(), config.hyperparameters, path)
    replaced(Schedule(), config.distill_coef, path)
    return config


def replaced(usual: Fields, given: Mapping[str, Any], path: Path | str = "--config") -> Fields:
    """`usual` with the fields that are `given`. AskonceError for a field that there is not, or of another type."""
    known = {one.name: type(getattr(usual, one.name)) for one in fields(usual)}
    for name, value in given.items():
        if name not in known:
            raise AskonceError(f"{path} sets {name!r}, which is none of {', '.join(known)}", 2)
        if isinstance(value, str) != (known[name] is str) or isinstance(value, bool | list | dict):
            raise AskonceError(f"{path} sets {name} to {value!r}: give a {known[name].__name__}", 2)
    return replace(usual, **given)


def _of_toml(path: Path) -> Config:
    try:
        given = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise AskonceError(f"cannot read {path}: {error}", 2) from None
    tables = {name: given.pop(name, {}) for name in ("hyperparameters", "distill_coef")}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise AskonceError(f"{path}: {name} is a table, [{name}], with its fields below", 2)
    return Config({name.replace("-", "_"): value for name, value in given.items()}, **tables)


def _of_run(path: Path) -> Config:
    about = checkpoint.describe(path.parent)
    try:
        return _of_description(about)
    except (KeyError, TypeError, AttributeError) as error:
        raise AskonceError(f"{path} lacks settings ({type(error).__name__}: {error}): name another run's", 2) from None


def _of_description(about: dict[str, Any]) -> Config:
    settings = about["settings"]
    flags = {name: about[name] for name in ("task", "method", "simulator", "teacher_form") if about.get(name)}
    flags |= {"seed": settings["seed"], "iterations": settings["iterations"]}
    if about.get("teacher"):
        flags["model"] = about["teacher"]
    taught = {} if flags.get("method", "llm4teach") != "llm4teach" else settings["distill_coef"]
    return Config(flags, settings["hyperparameters"], {name: each for name, each in taught.items() if each is not None})

"""A run on disk: run.json says what it is and how far it got; safetensors hold its weights.

DIR/run.json                      written last and at once, so it always names a whole checkpoint
DIR/checkpoint-NNNNNN.safetensors network.* (deployed alone), adam.* (only to go on training)
DIR/failed-NNNNNN.npz             the batch of an iteration that could not be learnt from, to look into
"""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
import torch

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.student.learning.network import ActorCritic

FORMAT = "askonce-run"
# 2: the view marks what is known instead of what is not, which makes nonsense of earlier weights. 3: the names of
# hyperparameters are the field's; a run of version 2 is read as it is.
VERSION = 3
RENAMED = {
    "annealing": "distill_coef",
    "kept": "final",
    "decayed": "final_from",
    "closed": "zero_from",
    "trajectories": "num_envs",
    "epochs": "update_epochs",
    "minibatch": "minibatch_size",
    "entropy_coefficient": "ent_coef",
    "value_coefficient": "vf_coef",
    "discount": "gamma",
    "clip": "clip_coef",
    "max_gradient_norm": "max_grad_norm",
    "epsilon": "adam_eps",
    "led": "teacher_acts",
}


def save(directory: Path, network: ActorCritic, adam: torch.optim.Adam, about: dict) -> None:
    """Replaces the run's checkpoint; `about` (JSON values, with its "iteration") goes to run.json."""
    weights = directory / f"checkpoint-{about['iteration']:06d}.safetensors"
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        for moment, tensor in adam.state[parameter].items():
            tensors[f"adam.{moment}.{name}"] = tensor
    _replace(weights, lambda path: save_file(tensors, path))
    description = json.dumps({"format": FORMAT, "version": VERSION, "checkpoint": weights.name, **about}, indent=2)
    _replace(directory / "run.json", lambda path: path.write_text(description + "\n"))
    for older in set(directory.glob("checkpoint-*.safetensors")) - {weights}:
        older.unlink()


def keep_batch(directory: Path, iteration: int, columns: dict[str, np.ndarray]) -> Path:
    """Writes arrays by name for `numpy.load`, which needs no pickle for them."""
    kept = directory / f"failed-{iteration:06d}.npz"

    def write(path: Path) -> None:
        # Given a name instead of a file, numpy would add to it.
        with open(path, "wb") as file:
            np.savez_compressed(file, **columns)

    _replace(kept, write)
    return kept


def describe(directory: Path) -> dict:
    """What run.json says. AskonceError where there is no run."""
    try:
        about = json.loads((directory / "run.json").read_text())
    except FileNotFoundError:
        raise AskonceError(
            f"there is no run at {directory}; train one with `cli train --task … --cache … --run {directory}`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise AskonceError(f"cannot read {directory / 'run.json'}: {error}") from None
    if isinstance(about, dict) and about.get("version") == 2:
        about = _of_version_2(about)
    if not _is_sound(about):
        raise AskonceError(
            f"{directory / 'run.json'} does not describe a run that this version can read: train it again"
        )
    return about


def _is_sound(about: Any) -> bool:
    """Whether it is a run's description, and what is read of every run is of its kind where it is there."""
    match about:
        case {"format": format, "version": version, "task": str(), "checkpoint": str(checkpoint)}:
            settings = about.get("settings", {})
            kinds = [
                isinstance(settings, dict),
                isinstance(about.get("progress", {}), dict),
                isinstance(about.get("recent", []), list),
                isinstance(settings, dict) and isinstance(settings.get("torso", ""), str),
            ]
            # A name alone: what is read lies in the run's own directory.
            return all(kinds) and (format, version) == (FORMAT, VERSION) and Path(checkpoint).name == checkpoint
    return False


def like(value: Any, usual: Any) -> bool:
    """Whether a JSON value may stand where `usual` does."""
    if usual is None:
        return value is None or type(value) in (int, float, str)
    if isinstance(usual, float):
        return type(value) in (int, float)
    return type(value) is type(usual)


def _of_version_2(about: dict[str, Any]) -> dict[str, Any]:
    """The same with the names of today."""
    progress = about.get("progress")
    if isinstance(progress, dict) and "teacher_weight" in progress:
        progress = {"distill_coef" if name == "teacher_weight" else name: value for name, value in progress.items()}
    return about | {"version": 3, "settings": _renamed(about.get("settings")), "progress": progress}


def _renamed(value: Any) -> Any:
    return (
        {RENAMED.get(name, name): _renamed(each) for name, each in value.items()} if isinstance(value, dict) else value
    )


def load(directory: Path, task: str, network: ActorCritic, adam: torch.optim.Adam | None = None) -> dict:
    """Fills `network` (and `adam`) from a run of `task` and returns what run.json says."""
    about = describe(directory)
    if about["task"] != task:
        raise AskonceError(f"{directory} is a run of {about['task']}, not of {task}: name its own task or another run")
    try:
        tensors = load_file(directory / about["checkpoint"])
        network.load_state_dict(_under(tensors, "network."))
        if adam is not None:
            for name, parameter in network.named_parameters():
                adam.state[parameter] = {
                    moment: tensors[f"adam.{moment}.{name}"] for moment in ("step", "exp_avg", "exp_avg_sq")
                }
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        # Of several lines the first says no more than that loading failed.
        reason = str(error).splitlines()[-1].strip()
        raise AskonceError(f"cannot use {directory / about['checkpoint']}: {reason}; train the run again") from None
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise AskonceError(f"{directory / about['checkpoint']} holds weights that are no numbers: train the run again")
    return about


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    with durable.unfinished(path.parent) as temporary:
        write(temporary)
        durable.rename(temporary, path)

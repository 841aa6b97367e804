"""The policy that is deployed alone: one file that needs neither this project nor the run.

Its input is the task's observation where the task can say in torch how its view is made (`view_module`),
else the view itself; its output is the policy: (N, A) probabilities, from which actions are drawn, or, where actions are
vectors, (N, 2A) means, which are its actions, and standard deviations. The value head stays behind.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
import io
import json
import logging
from pathlib import Path
import warnings
from zipfile import ZipFile

import numpy as np
import torch
from torch import nn

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Task, action_names
from askonce.student.judging import evaluate

SUFFIXES = {".onnx": "onnx", ".pt": "torchscript"}

# How a program opens a file, makes its input, and asks it about one.
PROGRAMS = {
    "onnx": {
        "import": "import numpy as np, onnxruntime",
        "open": "onnxruntime.InferenceSession({})",
        "zeros": "np.zeros({shape}, np.{dtype})",
        "value": "{}",
        "ask": 'policy.run(None, {{"{name}": {name}}})[0][0]',
    },
    "torchscript": {
        "import": "import torch",
        "open": "torch.jit.load({})",
        "zeros": "torch.zeros({shape}, dtype=torch.{dtype})",
        "value": "torch.tensor({})",
        "ask": "policy({name})[0].tolist()",
    },
}


@dataclass(frozen=True)
class Exported:
    """What was written: `input` is its name, (N, …) `shape` what one row of it is, `output` too, `example` a program."""

    to: str
    format: str
    bytes: int
    input: str
    shape: tuple[int, ...]
    dtype: str
    actions: tuple[str, ...]
    output: str
    example: str


class Policy(nn.Module):
    """(N, …) observations → the actor's policy."""

    def __init__(self, view: nn.Module, network: nn.Module):
        super().__init__()
        self.view, self.network = view, network

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.network.actor.given(self.network(self.view(observation))[0])

    @property
    def output_name(self) -> str:
        return self.network.actor.deployed_name


class GivenView(nn.Module):
    """For a task whose view is made outside torch: the view is the input."""

    input_name, zeros, example = "view", "put here what the task's look() makes of an observation", ()

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        return view


def policy_of(task: Task, run: Path) -> Policy:
    """The student of `run`, as it is deployed."""
    return Policy(task.view_module() or GivenView(), evaluate.trained(task, run)).eval().requires_grad_(False)


def export(task: Task, run: Path, to: Path, form: str) -> Exported:
    """Writes the student of `run` to `to`; `form` is "onnx" or "torchscript"."""
    policy = policy_of(task, run)
    given, view = _input(task, policy.view), policy.view
    with durable.unfinished(to.parent) as temporary:
        (_write_onnx if form == "onnx" else _write_torchscript)(policy, given, temporary)
        durable.rename(temporary, to)
    shape, dtype = tuple(given.shape[1:]), str(given.dtype).removeprefix("torch.")
    actions = action_names(task)
    program = _example(to, form, view, (1, *shape), dtype, actions, policy.output_name)
    return Exported(
        str(to), form, to.stat().st_size, view.input_name, shape, dtype, actions, policy.output_name, program
    )


def _input(task: Task, view: nn.Module) -> torch.Tensor:
    """Two rows of what the policy is given, as exporters have to see some."""
    batch = task.batch(2)
    batch.reset(np.arange(2), task.seeds(2, 0))
    given = batch.view.astype(np.float32) if isinstance(view, GivenView) else batch.observations
    return torch.from_numpy(given)


def _write_onnx(policy: Policy, given: torch.Tensor, path: Path) -> None:
    lacking = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    if lacking:
        raise AskonceError(
            f"ONNX needs {' and '.join(lacking)}: pip install 'askonce[export]', or export to TorchScript by "
            "--to FILE.pt"
        )
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with _quiet():
        program = torch.onnx.export(
            policy,
            (given,),
            dynamo=True,
            verbose=False,
            input_names=[policy.view.input_name],
            output_names=[policy.output_name],
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )
        # Nodes tell of the lines of this project that they come from, by their paths on this machine.
        ClearMetadataAndDocStringPass()(program.model)
        program.save(path, external_data=False)


def _write_torchscript(policy: Policy, given: torch.Tensor, path: Path) -> None:
    """Frozen, which leaves out what the probabilities do not depend on: the value head."""
    saved = io.BytesIO()
    with _quiet():
        torch.jit.save(torch.jit.freeze(torch.jit.trace(policy, given)), saved)
    with ZipFile(saved) as made, ZipFile(path, "w") as kept:
        for entry in made.infolist():
            # Which lines of this project the code comes from, by their paths on this machine.
            if not entry.filename.endswith(".debug_pkl"):
                kept.writestr(entry, made.read(entry))


@contextmanager
def _quiet():
    """Exporters tell of their own deprecations and of packages that this policy does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _example(
    to: Path, form: str, view: nn.Module, shape: tuple[int, ...], dtype: str, actions: tuple[str, ...], output: str
) -> str:
    """A program that runs the file by onnxruntime or by torch alone."""
    name, words = view.input_name, PROGRAMS[form]
    given = [f"{name} = {words['zeros'].format(shape=shape, dtype=dtype)}"]
    given += [f"{name}{where} = {words['value'].format(value)}" for where, value, _ in view.example]
    meanings = [view.zeros, *(meaning for _, _, meaning in view.example)]
    width = max(map(len, given))
    return (
        "\n".join(
            (
                words["import"],
                f"policy = {words['open'].format(json.dumps(str(to)))}",
                *(f"{line:{width}}  # {meaning}" for line, meaning in zip(given, meanings)),
                f"actions = {json.dumps(actions)}",
                f"{output} = {words['ask'].format(name=name)}",
                *_shown(output),
            )
        )
        + "\n"
    )


def _shown(output: str) -> tuple[str, ...]:
    if output == "probabilities":
        return f"for action, value in zip(actions, {output}):", '    print(f"{action:10} {value:.3f}")'
    return (
        f"means, deviations = {output}[:len(actions)], {output}[len(actions):]",
        "for action, mean, deviation in zip(actions, means, deviations):",
        '    print(f"{action:15} {mean:6.3f} ± {deviation:.3f}")  # the mean is what it does',
    )

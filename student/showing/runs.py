"""The runs under a directory, by what their run.json says; nothing else of them is read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from askonce.cache.errors import AskonceError
from askonce.student.learning import checkpoint


@dataclass(frozen=True)
class Run:
    """A run and its latest figures; rates and means are over its last iterations.

    `method` and `teacher` are None where run.json names none, `when` is when it was last written, and
    `stopped_at_success` the success rate at which it was to stop, if it has. `steps_wanted` are environment steps,
    where these are its length in place of iterations.
    """

    run: Path
    task: str
    method: str | None
    teacher: str | None
    iterations: int
    iterations_wanted: int
    env_steps: int
    success_rate: float
    return_mean: float
    steps_per_second: float
    when: datetime
    stopped_at_success: float | None = None
    steps_wanted: int | None = None


def find(directory: Path) -> tuple[list[Run], list[str]]:
    """The runs in `directory` and below it, by path, and a line for each run.json that cannot be read."""
    if not directory.is_dir():
        raise AskonceError(
            f"there is no directory {directory}: name the one that holds your runs, as in `cli runs DIR`, "
            "or train a first one with `cli train`"
        )
    runs, damaged = [], []
    for path in sorted(directory.rglob("run.json")):
        try:
            runs.append(read(path.parent))
        except AskonceError as error:
            damaged.append(str(error))
    return runs, damaged


def read(run: Path) -> Run:
    """AskonceError where run.json is damaged."""
    about = checkpoint.describe(run)
    try:
        progress, seconds = about["progress"], float(about["progress"]["seconds"])
        return Run(
            run=run,
            task=str(about["task"]),
            method=about.get("method"),
            teacher=about.get("teacher"),
            iterations=int(progress["iteration"]),
            iterations_wanted=int(about["settings"]["iterations"]),
            env_steps=int(progress["env_steps"]),
            success_rate=float(progress["success_rate"]),
            return_mean=float(progress["return_mean"]),
            steps_per_second=progress["env_steps"] / seconds if seconds else 0.0,
            when=datetime.fromtimestamp((run / "run.json").stat().st_mtime, UTC),
            stopped_at_success=progress.get("stopped_at_success"),
            steps_wanted=about["settings"].get("steps"),
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise AskonceError(f"{run / 'run.json'} lacks its figures ({reason})") from None

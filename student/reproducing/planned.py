"""Which runs the paper's table and figures need, and where each of them lives.

    DIR/runs/<task>-<what>-<seed>-<digest>/   a run, its evaluation-N.json, its curve.parquet

The digest is of all that a run depends on: its task, method and settings, what its teacher has answered, and the
code that plays and learns. So a finished run is not repeated, whatever is asked for next, one that was killed goes
on from its checkpoint, and neither is taken for what other code would have made.

Methods are compared after as many iterations on MiniGrid. On NavPick, where an episode that fails may be three times as
long as one that succeeds, or end at once, baselines take as many environment steps as LLM4Teach of the same seed took.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache as cached
import hashlib
import json
from pathlib import Path

from askonce.cache.errors import AskonceError
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import answered, tasks
from askonce.student.learning import anneal, presets
from askonce.student.learning.train import Settings
from askonce.student.reproducing.paper import GRID_TASKS, NAVPICK, TEST_RUNS

METHODS = "llm4teach", "hierarchical", "ppo", "teacher"
# Where the paper compares the forms of a teacher (section 4.1.3).
DIVERGED = "DivergedDoorKey"
# Of which tasks the paper's figures are.
ABOUT = {3: GRID_TASKS, 4: (DIVERGED,), 6: (NAVPICK,), 7: GRID_TASKS}
# What all tasks share of the code on which the course of a run depends; the rest is `Task.sources`.
SHARED = (
    "pipeline/collect.py",
    "pipeline/compiled.py",
    "pipeline/growing_plans.py",
    "pipeline/tasks/*.py",
    "student/learning/*.py",
    "student/judging/evaluate.py",
)


@dataclass(frozen=True)
class Series:
    """What is run with several seeds: `teacher` is NAME@PROMPT and `answers` a digest of them, None without one.

    `as_long_as` is the series whose run with the same seed says how many environment steps this one takes.
    """

    task: str
    method: str
    form: str | None = None
    schedule: str | None = None
    teacher: str | None = None
    answers: str | None = None
    as_long_as: "Series | None" = None

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.method, self.form, self.schedule)))


@dataclass(frozen=True)
class Scale:
    """How much is run; a quick one shows that all works, and little about methods.

    What is None is the preset's, or as many test runs as the paper's: of a quick one a tenth, and a fifth.
    """

    seeds: int = 5
    iterations: int | None = None
    episodes: int | None = None
    preset: str = "default"
    quick: bool = False

    def of(self, name: str) -> "Scale":
        """What it is for a task."""
        iterations = presets.preset(self.preset, tasks.find(name)).iterations // (10 if self.quick else 1)
        episodes = TEST_RUNS[name] // (5 if self.quick else 1)
        return replace(self, iterations=self.iterations or iterations, episodes=self.episodes or episodes)


QUICK = Scale(seeds=3, quick=True)


@dataclass(frozen=True)
class PlannedRun:
    """One seed of a series, and the directory under which it lives. Its scale is `of` its task."""

    series: Series
    seed: int
    scale: Scale
    cache: Path
    runs: Path

    @property
    def before(self) -> "PlannedRun | None":
        """The run that has to be finished first."""
        return self.series.as_long_as and replace(self, series=self.series.as_long_as)

    @property
    def settings(self) -> Settings:
        """All but `steps`."""
        distill_coef = anneal.WITHOUT_TEACHER
        if self.series.schedule:
            distill_coef = anneal.schedule(self.series.schedule, self.scale.iterations)
        preset = presets.preset(self.scale.preset, tasks.find(self.series.task))
        return Settings(self.seed, self.scale.iterations, preset.of(self.series.method), distill_coef, preset.torso)

    @property
    def path(self) -> Path:
        # What a teacher alone does depends on no setting of training.
        settings = {"seed": self.seed} if self.series.method == "teacher" else asdict(self.settings)
        known = json.dumps([code(self.series.task), asdict(self.series), settings], sort_keys=True)
        digest = hashlib.sha256(known.encode()).hexdigest()[:16]
        return self.runs / f"{self.series.task}-{self.series.name}-{self.seed}-{digest}"

    @property
    def evaluation(self) -> Path:
        return self.path / f"evaluation-{self.scale.episodes}.json"

    @property
    def curve(self) -> Path:
        return self.path / "curve.parquet"

    @property
    def finished(self) -> bool:
        return self.evaluation.exists() and (self.series.method == "teacher" or self.curve.exists())


@cached
def code(task: str, root: Path = Path(__file__).parents[2]) -> str:
    """A digest of all that is in the project and that the course of a task's runs depends on."""
    paths = [*(path for pattern in SHARED for path in root.glob(pattern)), *tasks.find(task).sources()]
    sources = {
        path.as_posix().removeprefix(root.as_posix()): path.read_text() for path in paths if path.suffix == ".py"
    }
    others = (hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(paths) if path.suffix != ".py")
    return "-".join([digest_of(sources), *others])


def digest_of(sources: Mapping[str, str]) -> str:
    """Of Python sources by their names, as they are carried out: comments, docstrings and layout do not count."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    for tree in trees.values():
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if documented and ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    carried_out = [(name, ast.dump(tree)) for name, tree in sorted(trees.items())]
    return hashlib.sha256(json.dumps(carried_out).encode()).hexdigest()[:16]


def series_of(
    cache: Path,
    names: Sequence[str],
    table: bool,
    figures: Sequence[int],
    model: str | None = None,
    logprobs: str | None = None,
    preset: str = "default",
) -> dict[str, list[Series]]:
    """ "table-3", "figure-4", … → what it is made of. `logprobs` names a teacher made of log-probabilities."""
    for number in figures:
        if not set(ABOUT[number]) & set(names):
            one = " or ".join(ABOUT[number])
            raise AskonceError(f"figure {number} is about {one}: add it to --tasks, or leave out --figure {number}", 2)
    usual = {name: presets.preset(preset, tasks.find(name)).schedule for name in names}
    known = {name: _answers(cache, name, model) for name in names}
    taught = lambda name, form, schedule, about: Series(name, "llm4teach", form, schedule, *about)
    methods = {name: list(_methods(name, taught(name, "soft", usual[name], known[name]))) for name in names}
    of_methods = lambda about: [one for name in names if name in about for one in methods[name]]
    made = {"table-3": of_methods(names)} if table else {}
    made |= {f"figure-{number}": of_methods(ABOUT[number]) for number in (3, 6) if number in figures}
    if 4 in figures:
        made["figure-4"] = [taught(DIVERGED, form, usual[DIVERGED], known[DIVERGED]) for form in ("soft", "hard")]
        if logprobs:
            made["figure-4"].append(taught(DIVERGED, "soft", usual[DIVERGED], _answers(cache, DIVERGED, logprobs)))
    if 7 in figures:
        grids = [name for name in names if name in ABOUT[7]]
        made["figure-7"] = [taught(name, "soft", one, known[name]) for name in grids for one in anneal.COMPARED]
    return made


def _methods(name: str, taught: Series) -> Iterator[Series]:
    """One for each of `METHODS`."""
    for method in METHODS:
        if method == "llm4teach":
            yield taught
        elif method == "teacher":
            yield replace(taught, method=method, schedule=None)
        else:
            yield Series(name, method, as_long_as=taught if name == NAVPICK else None)


def _answers(cache: Path, name: str, model: str | None) -> tuple[str, str]:
    """A teacher's NAME@PROMPT, and a digest of what it has answered, in whatever order it is stored."""
    chosen, total = choose_teacher(cache, name, model), hashlib.sha256()
    entries = answered.entries(cache, tasks.find(name), chosen.model, chosen.prompt)
    said = (json.dumps([text, sorted(map(list, entry.distribution.items()))]) for text, entry in entries)
    for digest in sorted(hashlib.sha256(one.encode()).digest() for one in said):
        total.update(digest)
    return chosen.name, total.hexdigest()[:16]


def runs_of(series: Sequence[Series], scale: Scale, cache: Path, to: Path) -> Iterator[PlannedRun]:
    for one in series:
        for seed in range(scale.seeds):
            yield PlannedRun(one, seed, scale.of(one.task), cache, to / "runs")


def teachers(made: dict[str, list[Series]]) -> dict[str, list[str]]:
    """Task → whose answers its results stand on, as NAME@PROMPT."""
    named = sorted({(one.task, one.teacher) for series in made.values() for one in series if one.teacher})
    return {task: [name for of_task, name in named if of_task == task] for task, _ in named}

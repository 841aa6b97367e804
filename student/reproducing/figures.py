"""What `reproduce` shows of finished runs: the table beside the paper's, and learning curves with their bands.

Every figure is a mean over seeds with its 95 % interval by Student's t, and says by what LLM it was made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
import json
from math import inf
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from askonce.pipeline.statistics import over_seeds
from askonce.student.learning.anneal import ITERATIONS
from askonce.student.reproducing.paper import NAVPICK, OTHER_SCALE, TABLE_3, WHY_OTHER_SCALE
from askonce.student.reproducing.planned import PlannedRun, Scale, Series, teachers
from askonce.student.showing.curves import METHOD_NAMES, SMOOTHED_OVER, smooth

# A figure's name in evaluations, and its place in the paper's table.
COLUMNS = {"length_mean": "length", "return_mean": "returned", "success_rate": "success"}
POINTS = 200
AXES = {"env_steps": "environment steps (thousands)", "iteration": "iteration"}
COLORS = "#0b6e99", "#c2571a", "#6a7f3a", "#7b4b94", "#b8457b"
INK = "#30343b"


@dataclass(frozen=True)
class TableRow:
    """One line of the table: (mean, half of the 95 % interval) of ours, and what the paper says, if anything."""

    task: str
    method: str
    seeds: int
    ours: dict[str, tuple[float, float]]
    paper: dict[str, float]

    @property
    def difference(self) -> dict[str, float]:
        """Of what is on one scale."""
        other = OTHER_SCALE.get(self.task, ())
        return {name: self.ours[name][0] - reported for name, reported in self.paper.items() if name not in other}


def table(runs: Sequence[PlannedRun]) -> list[TableRow]:
    """One row a series, in their order."""
    rows = []
    for series, of_series in _by_series(runs):
        found = [json.loads(run.evaluation.read_text()) for run in of_series]
        ours = {
            short: tuple(map(float, over_seeds(np.array([each[name] for each in found], float))))
            for name, short in COLUMNS.items()
        }
        reported = TABLE_3.get((series.task, series.method))
        rows.append(TableRow(series.task, series.method, len(found), ours, reported._asdict() if reported else {}))
    return rows


def write(made: dict[str, Sequence[PlannedRun]], scale: Scale, to: Path) -> tuple[list[TableRow], list[Path]]:
    """The table's rows, and every file written."""
    rows, files = [], []
    for what, runs in made.items():
        whose = teachers({what: [run.series for run in runs]})
        by = "; ".join(sorted({name for names in whose.values() for name in names}))
        size = f"{scale.seeds} seeds, {_iterations(runs)} iterations, {scale.preset} settings, mean and 95 % interval"
        if any(run.before for run in runs):
            size += f"; {NAVPICK}'s baselines: as many environment steps as LLM4Teach"
        mark = "QUICK, compare nothing by it: " if scale.quick else ""
        title, path = f"{mark}LLM: {by}; {size}", to / (f"quick-{what}" if scale.quick else what)
        if what == "table-3":
            rows = table(runs)
            episodes = " and ".join(sorted({f"{run.scale.episodes:,}" for run in runs}, key=len, reverse=True))
            files += write_table(rows, f"{title}; {episodes} held-out episodes a seed", path)
            continue
        if any(run.settings.hyperparameters.teacher_acts for run in runs if run.series.method == "llm4teach"):
            title += "; of LLM4Teach's episodes on the way its teacher acts a part, half at first and less as λ falls"
        alone = table([run for run in runs if run.series.method == "teacher"])
        files += write_figure(runs, f"{what.replace('-', ' ').capitalize()}; {title}", path, _NAME_OF[what], alone)
    return rows, files


def _iterations(runs: Sequence[PlannedRun]) -> str:
    """How many there were; where tasks differ in it, of which."""
    of_tasks: dict[int, dict[str, None]] = {}
    for run in runs:
        of_tasks.setdefault(run.scale.iterations, {})[run.series.task] = None
    of_which = lambda names: f" ({', '.join(names)})" if len(of_tasks) > 1 else ""
    return " and ".join(f"{number:,}{of_which(names)}" for number, names in of_tasks.items())


_NAME_OF = {
    "figure-3": lambda series: METHOD_NAMES[series.method],
    "figure-6": lambda series: METHOD_NAMES[series.method],
    "figure-4": lambda series: f"{series.form} teacher, {series.teacher}",
    "figure-7": lambda series: series.schedule,
}


def write_table(rows: Sequence[TableRow], words: str, to: Path) -> list[Path]:
    """`to` with .md and .parquet; `words` say what it stands on."""
    flat = [
        {
            "task": row.task,
            "method": row.method,
            "seeds": row.seeds,
            "figure": name,
            "ours": mean,
            "half": half,
            "paper": row.paper.get(name),
            "difference": row.difference.get(name),
        }
        for row in rows
        for name, (mean, half) in row.ours.items()
    ]
    lines = [
        words,
        "",
        "| task | method | "
        + " | ".join(f"{name} | paper | difference" for name in ("length", "return", "success"))
        + " |",
        "| --- " * 11 + "|",
    ]
    lines += ["| " + " | ".join([row.task, METHOD_NAMES[row.method], *cells(row)]) + " |" for row in rows]
    lines += ["", f"{note}."] if (note := footnote(rows)) else []
    paths = to.with_suffix(".md"), to.with_suffix(".parquet")
    paths[0].write_text("\n".join(lines) + "\n")
    pq.write_table(pa.Table.from_pylist(flat).replace_schema_metadata({"about": words}), paths[1])
    return list(paths)


def footnote(rows: Sequence[TableRow]) -> str:
    """What has to be known to compare them, "" if nothing."""
    return WHY_OTHER_SCALE if any(row.task in OTHER_SCALE for row in rows) else ""


def cells(row: TableRow) -> list[str]:
    """Ours with half its interval, the paper's and the difference, for each figure."""
    forms = {"length": "{:.1f}", "returned": "{:.3f}", "success": "{:.1%}"}
    shown = []
    for name, form in forms.items():
        mean, half = row.ours[name]
        ours = form.format(mean) + (f" ± {form.format(half)}" if np.isfinite(half) else "")
        shown.append(ours)
        reported, difference = row.paper.get(name), row.difference.get(name)
        shown.append("–" if reported is None else form.format(reported))
        if difference is None:
            shown.append("–" if reported is None else "other scale")
        else:
            shown.append(("+" if difference >= 0 else "−") + form.format(abs(difference)))
    return shown


# ---- Curves ------------------------------------------------------------------------------------------------


def curves(runs: Sequence[PlannedRun], axis: str, name_of: Callable[[Series], str]) -> list[dict]:
    """A row for every point drawn, along env_steps or iteration: what it is of, x, mean, low and high."""
    points = []
    for series, of_series in _by_series(runs):
        if series.method == "teacher":
            continue
        tables = [pq.read_table(run.curve).to_pydict() for run in of_series]
        window = max(SMOOTHED_OVER * of_series[0].scale.iterations // ITERATIONS, 1)
        # As far as every seed came.
        x = np.linspace(0, min(one[axis][-1] for one in tables), POINTS + 1)[1:]
        for measure in ("return", "success"):
            lines = [np.interp(x, one[axis], smooth(np.array(one[measure]), window)) for one in tables]
            mean, half = over_seeds(np.array(lines))
            half = np.nan_to_num(half)
            # Of MiniGrid the returns are within 0 and 1 as well.
            least, most = (-inf, inf) if measure == "return" and series.task == NAVPICK else (0.0, 1.0)
            points += [
                {
                    "task": series.task,
                    "name": name_of(series),
                    "measure": measure,
                    "axis": axis,
                    "x": float(at),
                    "mean": float(middle),
                    "low": max(float(middle - by), least),
                    "high": min(float(middle + by), most),
                    "seeds": len(lines),
                }
                for at, middle, by in zip(x, mean, half)
            ]
    return points


def write_figure(
    runs: Sequence[PlannedRun], title: str, to: Path, name_of: Callable[[Series], str], levels: Sequence[TableRow] = ()
) -> list[Path]:
    """`to` with .png, .svg and .parquet, and the same with -iterations; `levels` are lines across."""
    written = []
    for axis, ending in (("env_steps", ""), ("iteration", "-iterations")):
        points, path = curves(runs, axis, name_of), to.with_name(to.name + ending)
        about = pa.Table.from_pylist(points).replace_schema_metadata({"about": title})
        pq.write_table(about, path.with_suffix(".parquet"))
        _draw(points, title, path, levels)
        written += [path.with_suffix(suffix) for suffix in (".png", ".svg", ".parquet")]
    return written


def _draw(points: list[dict], title: str, path: Path, levels: Sequence[TableRow]) -> None:
    # Imported late, and not through pyplot, which would look for a display.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, shown = list(dict.fromkeys(point["name"] for point in points)), {}
    of_task = list(dict.fromkeys(point["task"] for point in points))
    dark = {name: INK for name in ("axes.edgecolor", "text.color", "axes.labelcolor", "xtick.color", "ytick.color")}
    with rc_context({"font.size": 9, "svg.hashsalt": "askonce", "svg.fonttype": "none"} | dark):
        figure = Figure(figsize=(max(3.1 * len(of_task), 5.5) + 0.4, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, len(of_task), sharex="col", sharey="row", squeeze=False)
        key = lambda point: (point["task"], point["measure"], point["name"])
        for (task, measure, name), line in groupby(points, key):
            line, panel = list(line), panels[int(measure == "success")][of_task.index(task)]
            scale = 1000 if line[0]["axis"] == "env_steps" else 1  # noqa: B031
            x, color = [point["x"] / scale for point in line], COLORS[names.index(name) % len(COLORS)]  # noqa: B031
            (shown[name],) = panel.plot(x, [point["mean"] for point in line], color=color, linewidth=1.6)  # noqa: B031
            low, high = ([point[end] for point in line] for end in ("low", "high"))  # noqa: B031
            panel.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        for row in levels:
            for panel, column in zip(panels[:, of_task.index(row.task)], ("returned", "success")):
                across = panel.axhline(row.ours[column][0], color=INK, linewidth=1, linestyle=(0, (5, 3)))
                shown[METHOD_NAMES["teacher"]] = across
        for number, task in enumerate(of_task):
            panels[0][number].set_title(task, fontsize=10)
            panels[1][number].set_xlabel(AXES[points[0]["axis"]])
        for panel in panels.flat:
            ends = sorted(line.get_xdata()[-1] for line in panel.lines if len(line.get_xdata()) > 2)
            # A method that takes far more steps than all others would leave them no room.
            panel.set(xlim=(0, min(ends[-1], 1.25 * ends[-2]) if len(ends) > 1 else ends[-1]))
            if panel in panels[1] or NAVPICK not in of_task:
                panel.set(ylim=(0, 1.02))
            panel.spines[["top", "right"]].set_visible(False)
        for panel, words in zip(panels[:, 0], ("mean return", "success rate")):
            panel.set_ylabel(words)
        figure.suptitle(title.replace("; ", "\n"), fontsize=8, x=0.01, ha="left")
        figure.legend(
            shown.values(),
            shown.keys(),
            loc="outside lower center",
            ncols=len(shown) if len(of_task) > 1 else 1,
            frameon=False,
        )
        figure.savefig(path.with_suffix(".png"), dpi=110)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def _by_series(runs: Sequence[PlannedRun]):
    # Not sorted: a series' runs come one after another, and their order is that of the table.
    return [(series, list(of_series)) for series, of_series in groupby(runs, lambda run: run.series)]

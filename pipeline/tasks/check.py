"""Whether a task is as it should be: what is wrong with it is found here, not after an hour of training.

In the spirit of Gymnasium's `check_env`, for what is added to an environment: texts, options, the student's inputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gymnasium.spaces import Box, Discrete
import numpy as np

from askonce.cache.errors import AskonceError
from askonce.pipeline import collect
from askonce.pipeline.tasks.task import Advice, Batch, Task, worth_playing

TOGETHER = 16
# Steps after which an episode, and an option whose text stays the same, is taken for one that never ends.
MOST_STEPS, LONGEST_OPTION = 20_000, 200
# Steps over which two episodes of one seed are compared.
COMPARED = 300
# The student's inputs and the rewards are best of about 1.
LARGE_INPUT, LARGE_REWARD = 20.0, 100.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to do; `serious`: it cannot be learnt from like this."""

    words: str
    advice: str
    serious: bool = False


@dataclass(frozen=True)
class Checked:
    """What `check` saw: `late_texts` are those of `texts` that no episode but the last tenth met."""

    episodes: int
    steps: int
    texts: int
    late_texts: int
    success_rate: float
    return_mean: float
    findings: list[Finding]


def check(task: Task, episodes: int = 200, seed: int = 0) -> Checked:
    """Plays `episodes` by options drawn at random. AskonceError where the task's own functions fail."""
    try:
        differing = list(_not_reproducible(task, seed))
        seen = _play(task, episodes, seed)
    except AskonceError:
        raise
    except Exception as error:
        raise AskonceError(f"{task.name} failed: {type(error).__name__}: {error}") from error
    findings = [*differing, *_of_texts(task, seen), *_of_options(seen), *_of_numbers(seen)]
    returns = np.array(seen.returns or [0.0])
    return Checked(
        seen.begun,
        seen.steps,
        len(seen.texts),
        seen.late,
        sum(seen.succeeded) / max(len(seen.succeeded), 1),
        float(returns.mean()),
        sorted(findings, key=lambda found: not found.serious),
    )


# ---- The same seed, the same episode -----------------------------------------------------------------------------------


def _not_reproducible(task: Task, seed: int) -> Iterator[Finding]:
    seeds = task.seeds(2, seed)
    one, other = _trace(task, seeds), _trace(task, seeds)
    again = next((what for (what, *mine), (_, *theirs) in zip(one, other) if not _equal(mine, theirs)), None)
    if again or len(one) != len(other):
        yield Finding(
            f"the same seed and actions gave another {again or 'length'}",
            "use only the generator that reset(seed=…) seeds, env.np_random, and keep nothing from one episode to the next",
            serious=True,
        )


def _equal(mine: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return all(a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(mine, theirs))


def _trace(task: Task, seeds: np.ndarray) -> list[tuple[Any, ...]]:
    batch, rng = task.batch(len(seeds)), np.random.default_rng(0)
    met: list[tuple[Any, ...]] = []
    act = lambda running: task.random_actions(rng, batch.size)
    for steps, (_, rewards, terminated, truncated) in enumerate(collect.play(batch, seeds, act)):
        # An ended environment's inputs may be anything.
        going = ~(terminated | truncated)
        met.append(("text", np.array([task.text(situation) for situation in batch.situations[going]])))
        met.append(("input of the student", np.array(batch.view[going])))
        met.append(("reward or end", rewards.copy(), terminated.copy(), truncated.copy()))
        if steps == COMPARED:
            break
    return met


# ---- Episodes by random options ----------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """`texts` is text → the first episode that met it; `idle` those whose options all did nothing when they were met."""

    begun: int = 0
    steps: int = 0
    unending: int = 0
    texts: dict[str, int] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    endless: dict[str, int] = field(default_factory=dict)
    returns: list[float] = field(default_factory=list)
    succeeded: list[bool] = field(default_factory=list)
    lowest: np.ndarray | None = None
    highest: np.ndarray | None = None
    rewards: list[float] = field(default_factory=lambda: [0.0, 0.0])
    finite: bool = True

    @property
    def late(self) -> int:
        """Texts that no episode but the last tenth met."""
        return sum(first >= 0.9 * self.begun for first in self.texts.values())


def _play(task: Task, episodes: int, seed: int) -> _Seen:
    seen, seeds, together = _Seen(), task.seeds(episodes, seed), worth_playing(task, TOGETHER)
    for start in range(0, episodes, together):
        chunk = seeds[start : start + together]
        batch, follow = task.batch(len(chunk)), collect.by_options(task, seed + start)
        stay = np.zeros(batch.size, np.int64)

        def act(running: np.ndarray) -> np.ndarray:
            before, chosen = follow.before.copy(), follow.choice.copy()
            actions = follow(batch)
            _note(task, batch, running, seen, follow.advice, seen.begun)
            if len(before) == batch.size:
                same = running & (before == batch.situations) & (chosen == follow.choice)
                stay[:] = np.where(same, stay + 1, 0)
                _note_endless(task, batch, follow, stay, seen)
            return actions

        total = np.zeros(batch.size)
        for steps, (running, rewards, terminated, truncated) in enumerate(collect.play(batch, chunk, act)):
            total += rewards
            seen.steps += int(running.sum())
            seen.rewards = [min(seen.rewards[0], float(rewards.min())), max(seen.rewards[1], float(rewards.max()))]
            seen.finite &= bool(np.isfinite(rewards).all())
            if steps >= MOST_STEPS:
                seen.unending += int((running & ~(terminated | truncated)).sum())
                break
        seen.returns += total.tolist()
        seen.succeeded += batch.successes(total).tolist()
        seen.begun += batch.size
    return seen


def _note(task: Task, batch: Batch, running: np.ndarray, seen: _Seen, advice: Advice, episode: int) -> None:
    view = batch.view[running]
    seen.finite &= bool(np.isfinite(view).all())
    low, high = view.min(axis=0), view.max(axis=0)
    seen.lowest = low if seen.lowest is None else np.minimum(seen.lowest, low)
    seen.highest = high if seen.highest is None else np.maximum(seen.highest, high)
    for n in np.flatnonzero(running).tolist():
        text = task.text(batch.situations[n])
        known = text in seen.texts
        seen.texts.setdefault(text, episode + n)
        listed = advice.probabilities[n] > 0
        if advice.ended is not None and listed.any():
            if advice.ended[n][listed].all() and not known:
                seen.idle.add(text)
            elif not advice.ended[n][listed].all():
                seen.idle.discard(text)
        for action in advice.actions[n][listed] if not known else ():
            if (reason := _refused(task, action)) is not None:
                seen.refused.setdefault(text, reason)


def _refused(task: Task, action: np.ndarray) -> str | None:
    """Why an option's action is none of the space's. Vectors are clipped to it."""
    match task.action_space:
        case Discrete(n=most, start=first):
            return None if first <= int(action) < first + most else f"{int(action)}, of {first} to {first + most - 1}"
        case Box(shape=shape):
            fits = action.shape == shape and np.isfinite(action).all()
            return None if fits else f"{action.tolist()}, which is no vector of {shape}"
    return None


def _note_endless(task: Task, batch: Batch, follow: collect.Follow, stay: np.ndarray, seen: _Seen) -> None:
    for n in np.flatnonzero(stay >= LONGEST_OPTION).tolist():
        text = task.text(batch.situations[n])
        decisions = task.decisions(text)
        if follow.choice[n] < len(decisions):
            name = ", ".join(decisions[follow.choice[n]])
            seen.endless[name] = max(seen.endless.get(name, 0), int(stay[n]))


# ---- What is wrong -----------------------------------------------------------------------------------------------------


def _of_texts(task: Task, seen: _Seen) -> Iterator[Finding]:
    if seen.unending:
        yield Finding(
            f"{seen.unending} episodes did not end within {MOST_STEPS:,} steps",
            "let the environment truncate: max_episode_steps of gymnasium.register, or the wrapper TimeLimit",
            serious=True,
        )
    if empty := [text for text in seen.texts if not text.strip()]:
        yield Finding(f"{len(empty)} texts are empty", "write what the agent knows", serious=True)
    if len(seen.texts) == 1:
        yield Finding("all observations have the same text", "write what decides on what to do", serious=True)
    none = [text for text in seen.texts if not task.decisions(text)]
    if none:
        yield Finding(f"{len(none)} of {len(seen.texts)} texts have no options, as {none[0]!r}", "offer one at least")
    longest = max(seen.texts, key=len, default="")
    if len(longest) > 2000:
        yield Finding(f"a text has {len(longest):,} characters", "every question pays for it: write what matters")
    if (late := seen.late) > 0.05 * len(seen.texts) and late > 2:
        yield Finding(
            f"{late} of {len(seen.texts)} texts came only in the last tenth of {seen.begun} episodes",
            "training will go on meeting texts that nobody asked about: name things more roughly, or build with more --episodes",
        )


def _of_options(seen: _Seen) -> Iterator[Finding]:
    if seen.refused:
        text, reason = next(iter(seen.refused.items()))
        yield Finding(
            f"an option's action is not in the action space: {reason}",
            f"look at what act says in {text!r}",
            serious=True,
        )
    if seen.idle:
        share = len(seen.idle) / len(seen.texts)
        yield Finding(
            f"in {share:.0%} of the texts no option does anything, as in {sorted(seen.idle)[0]!r}",
            "offer only options that can act, or let act begin with a step",
            serious=share == 1,
        )
    for name, steps in sorted(seen.endless.items()):
        yield Finding(
            f"'{name}' went on for {steps} steps and more while the text stayed the same",
            "let act return None once it is done, or name in the text what it changes",
        )


def _of_numbers(seen: _Seen) -> Iterator[Finding]:
    if not seen.finite:
        yield Finding(
            "inputs or rewards are not finite", "take NaN and infinity out of look and the rewards", serious=True
        )
    if seen.lowest is not None and seen.highest is not None:
        still = int((seen.lowest == seen.highest).sum())
        if still == len(seen.lowest):
            yield Finding("the student's inputs never change", "let look return what the agent sees", serious=True)
        largest = float(np.abs([seen.lowest, seen.highest]).max())
        if largest > LARGE_INPUT:
            yield Finding(f"the student's inputs reach {largest:,.4g}", "scale them in look to about 1")
    if max(map(abs, seen.rewards)) > LARGE_REWARD:
        low, high = seen.rewards
        yield Finding(
            f"rewards reach from {low:,.4g} to {high:,.4g}", "scale them to about 1: reward_scale in --config"
        )
    if seen.rewards == [0.0, 0.0]:
        yield Finding(
            "no random option was ever rewarded",
            "a student without its teacher may never find a reward; with one it may",
        )
    elif seen.succeeded and not any(seen.succeeded) and max(seen.returns) <= 0:
        yield Finding("no episode succeeded, for no return was positive", "say by success= which episodes succeed")

"""Environment steps a second of the batch engine on one core, beside MiniGrid's own environment.

Each line is measured in this run: engine alone (dynamics, sight, observation, symbolic key of the text)
and with the teacher's options choosing every action.
"""

import json
import time

import gymnasium
import numpy as np

from askonce.pipeline import tasks

ENVIRONMENTS = 256
REPEATS = 5
TASK = "ColoredDoorKey"


def best_rate(steps_of_one_repeat) -> float:
    """Steps a second of the fastest of some repeats: the one least disturbed by others on the machine."""
    rates = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        steps = steps_of_one_repeat()
        rates.append(steps / (time.perf_counter() - started))
    return max(rates)


def minigrid_rate(task) -> float:
    env = gymnasium.make(task.env_id, disable_env_checker=True)
    actions = np.random.default_rng(0).integers(3, size=1500)

    def steps() -> int:
        env.reset(seed=0)
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset(seed=0)
        return len(actions)

    return best_rate(steps)


def engine_rate(task) -> float:
    batch, seeds = task.batch(ENVIRONMENTS), task.seeds(ENVIRONMENTS, seed=0)
    # Turning and walking end no episode before T, so every environment really steps every time.
    actions = np.random.default_rng(0).integers(3, size=(task.max_steps - 1, ENVIRONMENTS))
    index = np.arange(ENVIRONMENTS)

    def steps() -> int:
        batch.reset(index, seeds)
        for row in actions:
            batch.step(row)
        return actions.size

    steps()
    return best_rate(steps)


def options_rate(task) -> float:
    batch, seeds = task.batch(ENVIRONMENTS), task.seeds(ENVIRONMENTS, seed=0)
    plans = task.plans({text: {("explore",): 0.5, task.decisions(text)[-1]: 0.5} for text in task.situations})
    index, rng = np.arange(ENVIRONMENTS), np.random.default_rng(0)

    def steps() -> int:
        batch.reset(index, seeds)
        taken = 0
        for _ in range(40):
            taken += int((batch.state.ended == 0).sum())
            choice = rng.integers(2, size=ENVIRONMENTS)
            batch.step(batch.advise(plans).actions[index, choice])
        return taken

    steps()
    return best_rate(steps)


def main() -> None:
    task = tasks.find(TASK)
    peer = minigrid_rate(task)
    for name, rate in (("engine", engine_rate(task)), ("engine_with_options", options_rate(task))):
        print(
            json.dumps(
                {
                    "name": name,
                    "value": round(rate),
                    "unit": "environment steps/s",
                    "peers": {"minigrid_environment": round(peer)},
                    "ratio": round(rate / peer, 1),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()

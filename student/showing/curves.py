"""A run's learning curve, from the TensorBoard scalars that training wrote."""

from pathlib import Path

import numpy as np

# How methods are called where people read of them.
METHOD_NAMES = {
    "llm4teach": "LLM4Teach",
    "hierarchical": "hierarchical RL",
    "ppo": "baseline RL (PPO)",
    "teacher": "LLM alone",
}
# So many iterations of 3,000 are drawn as one mean.
SMOOTHED_OVER = 100
TAGS = {"return": "rollout/return_mean", "success": "rollout/success_rate", "env_steps": "rollout/env_steps"}


def read(run: Path) -> dict[str, np.ndarray] | None:
    """The iterations, int32, and float32 columns named as in `TAGS`; None where no curve was kept."""
    # Imported late: it takes a second.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    if not set(TAGS.values()) <= set(events.Tags()["scalars"]):
        return None
    columns = {name: events.Scalars(tag) for name, tag in TAGS.items()}
    return {"iteration": np.array([event.step for event in columns["return"]], np.int32)} | {
        name: np.array([event.value for event in column], np.float32) for name, column in columns.items()
    }


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Means over the last `window`, of as many as there are at first."""
    sums = np.concatenate([[0.0], values.cumsum()])
    at = np.arange(1, len(values) + 1)
    count = np.minimum(at, window)
    return (sums[at] - sums[at - count]) / count

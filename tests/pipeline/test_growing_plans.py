import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.growing_plans import GrowingPlans
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS


def policy(batch, plans) -> np.ndarray:
    """(N, actions): what the decisions together would do."""
    advice, found = batch.advise(plans), np.zeros((batch.size, 8))
    for n in range(batch.size):
        np.add.at(found[n], advice.actions[n], advice.probabilities[n])
    return found


@pytest.mark.parametrize("name", GRID_TASKS)
def test_plans_that_grow_text_by_text_are_those_made_at_once(name):
    task = tasks.find(name)
    batch, rng = task.batch(300), np.random.default_rng(0)
    batch.reset(np.arange(300), task.seeds(300, seed=0))
    for _ in range(40):
        batch.step(rng.integers(task.action_space.n, size=300))
    distributions = {}
    for text in dict.fromkeys(map(task.text, batch.situations.tolist())):
        decisions = task.decisions(text)
        chosen = [decisions[: k + 1][::-1] for k in range(rng.integers(len(decisions) + 1))]
        distributions[text] = {sum(many, ()): 1 / len(chosen) for many in chosen}
    plans = None
    for text, found in distributions.items():
        plans = task.plans({text: found}, plans)
    expected = policy(batch, task.plans(distributions))
    assert np.array_equal(policy(batch, plans), expected) and expected.any()
    met = GrowingPlans(task, distributions.get)
    for part in np.array_split(batch.situations, 20):
        met.meet(part)
    assert np.array_equal(policy(batch, met.plans), expected)


def test_every_text_is_looked_up_once_when_it_is_first_met():
    task, questions = tasks.find("SimpleDoorKey"), []
    met = GrowingPlans(task, questions.append)
    for situations in ([1, 1, 0], [0, 1], [16, 1]):
        met.meet(np.array(situations))
    assert questions == [task.text(0), task.text(1), task.text(16)]

"""The plans of the situations met so far: each text is looked up once, when it is first met."""

from typing import Any

import numpy as np

from askonce.pipeline.tasks.task import Lookup, Task


class GrowingPlans:
    """`plans`, as `Task.plans` makes them, of what `lookup` gives for the texts met so far."""

    def __init__(self, task: Task, lookup: Lookup):
        self.task, self.lookup = task, lookup
        self.plans = task.plans({})
        self._met: set[int] = set()

    def meet(self, situations: np.ndarray) -> Any:
        """(N,) situations of a batch → the plans, with theirs among them."""
        new = sorted(set(situations.tolist()) - self._met)
        if new:
            self._met.update(new)
            found = {text: self.lookup(text) for text in map(self.task.text, new)}
            self.plans = self.task.plans({text: each for text, each in found.items() if each}, self.plans)
        return self.plans

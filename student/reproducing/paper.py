"""What the paper (LLM4Teach, IJCAI 2024) reports, to stand beside ours: Table 3 of its appendix A.6."""

from typing import NamedTuple


class Reported(NamedTuple):
    """Means over test runs; the success rate is a share."""

    length: float
    returned: float
    success: float


# (task, method) → what is reported.
TABLE_3 = {
    ("SimpleDoorKey", "teacher"): Reported(22.28, 0.87, 1.000),
    ("SimpleDoorKey", "hierarchical"): Reported(49.83, 0.70, 0.960),
    ("SimpleDoorKey", "ppo"): Reported(143.99, 0.05, 0.101),
    ("SimpleDoorKey", "llm4teach"): Reported(30.49, 0.81, 0.964),
    ("LavaDoorKey", "teacher"): Reported(15.79, 0.48, 0.546),
    ("LavaDoorKey", "hierarchical"): Reported(43.05, 0.63, 0.851),
    ("LavaDoorKey", "ppo"): Reported(149.61, 0.00, 0.050),
    ("LavaDoorKey", "llm4teach"): Reported(36.84, 0.75, 0.909),
    ("ColoredDoorKey", "teacher"): Reported(90.73, 0.40, 0.468),
    ("ColoredDoorKey", "hierarchical"): Reported(42.69, 0.74, 0.958),
    ("ColoredDoorKey", "ppo"): Reported(145.84, 0.03, 0.066),
    ("ColoredDoorKey", "llm4teach"): Reported(36.27, 0.78, 0.940),
    ("DivergedDoorKey", "teacher"): Reported(50.10, 0.19, 0.372),
    ("DivergedDoorKey", "hierarchical"): Reported(27.21, 0.59, 0.980),
    ("DivergedDoorKey", "ppo"): Reported(59.63, 0.01, 0.019),
    ("DivergedDoorKey", "llm4teach"): Reported(30.65, 0.53, 0.931),
    ("NavPick", "teacher"): Reported(330.23, 2.18, 0.62),
    ("NavPick", "hierarchical"): Reported(534.68, -1.51, 0.12),
    ("NavPick", "ppo"): Reported(602.69, -6.72, 0.00),
    ("NavPick", "llm4teach"): Reported(233.45, 2.39, 0.69),
}
GRID_TASKS = ("SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey")
NAVPICK = "NavPick"
TASKS = (*GRID_TASKS, NAVPICK)
# Over how many test runs its figures are means.
TEST_RUNS = dict.fromkeys(GRID_TASKS, 1000) | {NAVPICK: 100}
# What cannot be compared, and why.
OTHER_SCALE = {NAVPICK: ("length", "returned")}
WHY_OTHER_SCALE = (
    f"{NAVPICK}'s lengths and returns are not on the paper's scale, only its success rates are: an episode here has at "
    "most 300 steps of 0.1 s, and its rewards have habitat-lab's weights; the paper tells neither of its own"
)

"""Importing this module registers the environments with Gymnasium; it is here for nothing else.

`gymnasium.make("askonce.pipeline.tasks.minigrid.register:askonce/SimpleDoorKey-v0")` imports it by itself.
"""

from gymnasium import register

for _name, _class in (
    ("SimpleDoorKey", "DoorKeyEnv"),
    ("LavaDoorKey", "LavaDoorKeyEnv"),
    ("ColoredDoorKey", "ColoredDoorKeyEnv"),
    ("DivergedDoorKey", "DivergedDoorKeyEnv"),
):
    register(f"askonce/{_name}-v0", entry_point=f"askonce.pipeline.tasks.minigrid.envs:{_class}")

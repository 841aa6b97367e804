"""Importing this module registers NavPick with Gymnasium; it is here for nothing else.

`gymnasium.make("pipeline.tasks.navpick.register:askonce/NavPick-v0")` imports it by itself.
"""

from gymnasium import register

register("askonce/NavPick-v0", entry_point="pipeline.tasks.navpick.env:NavPick")

"""Importing this module registers NavPick with Gymnasium; it is here for nothing else.

`gymnasium.make("askonce.pipeline.tasks.navpick.register:askonce/NavPick-v0")` imports it by itself.
"""

from gymnasium import register

register("askonce/NavPick-v0", entry_point="askonce.pipeline.tasks.navpick.env:NavPick")

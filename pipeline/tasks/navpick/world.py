"""A home with its objects and the robot as one MuJoCo model.

What never moves has collision bit 1, the robot 2, the objects 4; for rays, what never moves is group 0 and all
else group 1. Objects are held by friction
alone: elliptic cones with torsion, and a few iterations against slow slip.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import mujoco
import numpy as np

from askonce.pipeline.tasks.navpick import robot
from askonce.pipeline.tasks.navpick.homes import WALL_HEIGHT, Home, home
from askonce.pipeline.tasks.navpick.things import BY_NAME, Kind, Part

TIMESTEP = 0.005  # s


@lru_cache(maxsize=128)
def model(number: int) -> mujoco.MjModel:
    """The model of a home; shared between environments, which must not change it."""
    return mujoco.MjModel.from_xml_string(xml(home(number)))


def xml(of: Home, wall_height: float = WALL_HEIGHT) -> str:
    """`wall_height` is for pictures that look in from above."""
    up = wall_height / 2
    walls = (replace(box, at=(*box.at[:2], up), half=(*box.half[:2], up)) for box in of.walls)
    boxes = "".join(
        f'<geom type="box" pos="{_words(box.at)}" size="{_words(box.half)}" euler="0 0 {np.degrees(box.yaw)}" '
        f'rgba="{_words(box.color)} 1" class="home"/>'
        for box in (*walls, *of.standing)
    )
    things = "".join(_thing(BY_NAME[name]) for name in of.kinds)
    return f"""
<mujoco model="home {of.number}">
  <compiler angle="degree" autolimits="true"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="5" noslip_iterations="3"
          iterations="20" ls_iterations="20"><flag sleep="enable"/></option>
  <size memory="2M"/>
  <default>
    <default class="home"><geom contype="1" conaffinity="0" friction="0.8 0.005 0.0001"/></default>
    <default class="thing">
      <geom group="1" contype="4" conaffinity="5" condim="4" friction="0.9 0.01 0.0005" solref="0.01 1"/>
      <default class="rolling"><geom condim="6" friction="0.9 0.01 0.003"/></default>
    </default>
    {robot.defaults()}
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1" rgba="0.62 0.55 0.47 1" class="home"/>
    {boxes}
    {robot.xml()}
    {things}
  </worldbody>
  <contact>{robot.exclusions()}</contact>
  <actuator>{robot.actuators()}</actuator>
</mujoco>"""


def _thing(kind: Kind) -> str:
    masses = np.array([_volume(part) for part in kind.parts])
    masses *= kind.mass / masses.sum()
    geoms = "".join(
        f'<geom type="{part.shape}" size="{_words(part.size)}" pos="{_words(part.at)}" euler="{_words(part.turned)}" '
        f'mass="{mass}" rgba="{_words(kind.color)} 1" class="{"rolling" if _rolls(kind) else "thing"}"/>'
        for part, mass in zip(kind.parts, masses)
    )
    return f'<body name="{kind.name}"><freejoint name="{kind.name}"/>{geoms}</body>'


def _rolls(kind: Kind) -> bool:
    return any(part.shape in ("sphere", "capsule") for part in kind.parts)


def _volume(part: Part) -> float:
    """Relative, to share out an object's mass among its parts."""
    size = part.size
    return {
        "sphere": lambda: 4.2 * size[0] ** 3,
        "capsule": lambda: 6.3 * size[0] ** 2 * (size[1] + size[0]),
        "cylinder": lambda: 6.3 * size[0] ** 2 * size[1],
        "box": lambda: 8 * size[0] * size[1] * size[2],
    }[part.shape]()


def _words(numbers: Iterable[float]) -> str:
    return " ".join(format(number, ".6g") for number in numbers)

"""The household objects that homes hold: their shapes, masses and colours, all metres and kilograms.

Each fits between the open fingers of the gripper whichever way it is turned about the vertical.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One primitive of an object: `shape` and `size` as MuJoCo has them, `at` from the object's middle."""

    shape: str
    size: tuple[float, ...]
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turned: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Kind:
    """A kind of object; it stands with its middle `height` / 2 above what it stands on."""

    name: str
    height: float
    mass: float
    color: tuple[float, float, float]
    parts: tuple[Part, ...]


KINDS = (
    Kind(
        "mug",
        0.096,
        0.30,
        (0.85, 0.25, 0.20),
        (Part("cylinder", (0.030, 0.048)), Part("box", (0.010, 0.005, 0.026), (0.038, 0.0, 0.0))),
    ),
    Kind(
        "bottle",
        0.190,
        0.35,
        (0.15, 0.55, 0.30),
        (Part("cylinder", (0.028, 0.065), (0.0, 0.0, -0.030)), Part("cylinder", (0.013, 0.030), (0.0, 0.0, 0.065))),
    ),
    Kind("can", 0.116, 0.33, (0.75, 0.75, 0.80), (Part("cylinder", (0.029, 0.058)),)),
    Kind("box", 0.130, 0.25, (0.90, 0.70, 0.20), (Part("box", (0.024, 0.034, 0.065)),)),
    Kind("ball", 0.064, 0.15, (0.95, 0.45, 0.10), (Part("sphere", (0.032,)),)),
    Kind(
        "banana",
        0.040,
        0.15,
        (0.98, 0.88, 0.25),
        (
            Part("capsule", (0.020, 0.026), (0.024, 0.006, 0.0), (0.0, 90.0, 15.0)),
            Part("capsule", (0.020, 0.026), (-0.024, 0.006, 0.0), (0.0, 90.0, -15.0)),
        ),
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}

"""The robot: a wheeled base, a torso with a head camera, an arm of seven joints and a parallel gripper.

All of its geometry is made of primitives here. Its frame is the base's: x ahead, y left, z up from the floor.
The base slides on the floor with two wheels' freedom: a motor along its heading and one about the vertical,
both with limited force, while what would move it sideways meets the tyres' friction.
"""

from math import radians

import numpy as np

JOINTS = ("shoulder_pan", "shoulder_lift", "upperarm_roll", "elbow_flex", "forearm_roll", "wrist_flex", "wrist_roll")
LIMITS = np.radians([(-92, 92), (-105, 87), (-180, 180), (-129, 129), (-180, 180), (-130, 130), (-180, 180)])
# Folded before the torso, a little to the right so that the camera sees past it, the hand pointing down:
# how every episode starts, and where an object is to be carried.
REST = np.array([-0.50, -1.60, 0.0, 1.10, 0.0, 2.07, 0.0])

FORWARD_SPEED = 0.75  # m/s
TURN_SPEED = 1.0  # rad/s
OPEN = 0.07  # m: how far each finger is from the middle when the gripper is open
BUMPER = 0.06  # s: how long the soft bumper about the base and torso takes to stop it

CAMERA_HEIGHT = 1.45
CAMERA_TILT = radians(35)
FIELD_OF_VIEW = 90  # degrees, both ways: habitat-lab's depth sensors

BODY, SKIN, DARK = "0.92 0.92 0.94 1", "0.20 0.45 0.75 1", "0.18 0.19 0.22 1"


def xml() -> str:
    """The robot as a body of an MJCF world; `actuators` and `defaults` belong to it."""
    arm = _arm()
    return f"""
    <body name="base" pos="0 0 0" childclass="robot">
      <joint name="x" type="slide" axis="1 0 0" class="floor"/>
      <joint name="y" type="slide" axis="0 1 0" class="floor"/>
      <joint name="turn" type="hinge" axis="0 0 1" class="floor"/>
      <site name="base"/>
      <geom name="chassis" type="cylinder" size="0.25 0.14" pos="0 0 0.17" mass="45" class="bumper" rgba="{DARK}"/>
      <geom name="torso" type="cylinder" size="0.20 0.165" pos="0 0 0.475" mass="15" class="bumper" rgba="{BODY}"/>
      <geom name="shoulder" type="cylinder" size="0.06 0.04" pos="0.06 0 0.67" mass="1" rgba="{DARK}"/>
      <geom name="neck" type="cylinder" size="0.03 0.36" pos="-0.08 0 1.00" mass="1" rgba="{DARK}"/>
      <geom name="head" type="box" size="0.06 0.11 0.05" pos="-0.08 0 {CAMERA_HEIGHT - 0.06}" mass="2" rgba="{BODY}"/>
      <site name="camera" pos="0 0 {CAMERA_HEIGHT}"/>
      {arm}
    </body>"""


def _arm() -> str:
    """Shoulder pan, then lift, roll, flex, roll, flex, roll along the arm, which lies along x when all are zero."""
    # (joint, axis, offset from the joint before, mass, capsule or box along x to the next)
    links = (
        ("shoulder_pan", "0 0 1", "0.06 0 0.74", 2.0, _capsule(0.06, 0.10), SKIN),
        ("shoulder_lift", "0 1 0", "0.12 0 0.03", 2.0, _capsule(0.055, 0.14), BODY),
        ("upperarm_roll", "1 0 0", "0.18 0 0", 1.5, _capsule(0.05, 0.10), SKIN),
        ("elbow_flex", "0 1 0", "0.14 0 0", 1.5, _capsule(0.05, 0.13), BODY),
        ("forearm_roll", "1 0 0", "0.17 0 0", 1.2, _capsule(0.045, 0.10), SKIN),
        ("wrist_flex", "0 1 0", "0.14 0 0", 1.0, _capsule(0.045, 0.06), BODY),
        ("wrist_roll", "1 0 0", "0.10 0 0", 0.5, 'type="box" size="0.025 0.08 0.025" pos="0.03 0 0"', DARK),
    )
    opening = "".join(
        f'<body name="{name}" pos="{at}" gravcomp="1"><joint name="{name}" axis="{axis}" class="{name}"/>'
        f'<geom name="{name}" {shape} mass="{mass}" rgba="{color}"/>'
        for name, axis, at, mass, shape, color in links
    )
    return opening + _gripper() + "</body>" * len(links)


def _capsule(radius: float, length: float) -> str:
    return f'type="capsule" size="{radius}" fromto="0 0 0 {length} 0 0"'


def _gripper() -> str:
    """Two fingers that close along y; the end effector is between their tips, its x pointing out of the hand."""
    fingers = "".join(
        f'<body name="{name}" pos="0.055 0 0" gravcomp="1">'
        f'<joint name="{name}" type="slide" axis="0 {side} 0" class="finger"/>'
        f'<geom name="{name}" type="box" size="0.045 0.006 0.020" pos="0.045 {side * 0.006} 0" class="pad"/></body>'
        for name, side in (("left_finger", 1), ("right_finger", -1))
    )
    return f'{fingers}<site name="end_effector" pos="0.13 0 0"/>'


def defaults() -> str:
    """Position servos about critically damped; the fingers' and objects' contacts have torsional friction."""
    strengths = (400, 400, 250, 250, 120, 120, 60)
    joints = "".join(
        f'<default class="{name}"><joint limited="true" range="{low} {high}" armature="0.15" damping="{damping}"/>'
        f'<position kp="{kp}" ctrlrange="{low} {high}" dampratio="1"/></default>'
        for name, (low, high), kp, damping in zip(JOINTS, np.degrees(LIMITS), strengths, [s / 50 for s in strengths])
    )
    return f"""
    <default class="robot">
      <geom group="1" contype="2" conaffinity="7" friction="0.6 0.005 0.0001" solref="0.05 1"/>
      {joints}
      <default class="bumper"><geom solref="{BUMPER} 1" solimp="0.5 0.95 0.03" priority="1"/></default>
      <default class="floor"><joint damping="5"/></default>
      <default class="finger"><joint limited="true" range="0 {OPEN}" armature="0.05" damping="10"/></default>
      <default class="pad">
        <geom condim="4" friction="1.4 0.02 0.0001" solref="0.02 1" mass="0.08" rgba="0.1 0.1 0.1 1" priority="1"/>
      </default>
    </default>"""


def actuators() -> str:
    """In order: ahead, sideways, turn; the seven joints; the fingers."""
    arm = "".join(f'<position name="{name}" joint="{name}" class="{name}"/>' for name in JOINTS)
    fingers = "".join(
        f'<position name="{name}" joint="{name}" kp="350" kv="30" forcerange="-30 30" ctrlrange="-0.03 {OPEN}"/>'
        for name in ("left_finger", "right_finger")
    )
    return f"""
      <general name="ahead" site="base" gear="1 0 0 0 0 0" {_velocity(800)} forcerange="-200 200"/>
      <general name="sideways" site="base" gear="0 1 0 0 0 0" {_velocity(4000)} forcerange="-400 400"/>
      <general name="turn" site="base" gear="0 0 0 0 0 1" {_velocity(60)} forcerange="-80 80"/>
      {arm}{fingers}"""


def _velocity(gain: float) -> str:
    return f'gaintype="fixed" gainprm="{gain}" biastype="affine" biasprm="0 0 -{gain}"'


def exclusions() -> str:
    """Neighbours along the arm that touch by construction; all else of the robot can collide with itself."""
    pairs = [
        ("base", "shoulder_pan"),
        ("base", "shoulder_lift"),
        ("wrist_flex", "left_finger"),
        ("wrist_flex", "right_finger"),
        ("left_finger", "right_finger"),
    ]
    pairs += [(JOINTS[i], JOINTS[i + 2]) for i in range(len(JOINTS) - 2)]
    return "".join(f'<exclude body1="{one}" body2="{other}"/>' for one, other in pairs)

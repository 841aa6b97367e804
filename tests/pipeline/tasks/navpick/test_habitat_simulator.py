"""The adapter over habitat-lab as far as it goes without habitat-sim: frames, names, the one line without it."""

from importlib.util import find_spec
from math import cos, pi, sin
import struct
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.habitat_simulator import in_frame, kind, names, resized, travelled
from tests.pipeline.tasks.navpick import habitat_stand_in

METRES = st.floats(-20, 20)
TURNS = st.floats(-3, 3)


def standing(x: float, y: float, z: float, turn: float) -> np.ndarray:
    """The transformation of a robot at a place of habitat's world, turned left about its upward axis."""
    c, s = cos(turn), sin(turn)
    return np.array([[c, 0, s, x], [0, 1, 0, y], [-s, 0, c, z], [0, 0, 0, 1.0]])


@given(METRES, METRES, METRES, TURNS)
def test_what_lies_ahead_left_and_above_is_at_x_y_and_z(x, y, z, turn):
    base = standing(x, y, z, turn)
    ahead, up = base[:3, 0], np.array([0.0, 1.0, 0.0])
    left = np.cross(up, ahead)
    place = base[:3, 3] + 2 * ahead + 0.5 * left + 0.7 * up
    assert np.allclose(in_frame(base, place), (2, 0.5, 0.7))


@given(METRES, METRES, TURNS, st.floats(-pi, pi), st.floats(0, 5))
def test_a_robot_that_drives_ahead_and_turns_left_has_come_so_far(x, z, turn, turned, far):
    start = standing(x, 0.1, z, turn)
    base = standing(*(start[:3, 3] + far * start[:3, 0]), turn + turned)
    assert np.allclose(travelled(start, base)[:2], (far, 0))
    assert np.isclose(cos(travelled(start, base)[2] - turned), 1)


def test_objects_are_named_after_their_kind_and_none_but_the_wanted_one_as_it():
    assert kind("data/objects/ycb/configs/065-a_cups_:0012") == "cups"
    assert kind("024_bowl.object_config.json") == "bowl"
    handles = {7: "024_bowl_:0000", 8: "024_bowl_:0001", 9: "002_master_chef_can_:0000"}
    assert names(handles, wanted=8) == {7: "other bowl", 8: "bowl", 9: "master chef can"}


def test_images_are_brought_to_a_side():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(resized(image, 4), image.repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.skipif(find_spec("habitat_sim") is not None, reason="habitat-sim is installed")
def test_without_habitat_sim_one_line_says_what_to_install():
    with pytest.raises(AskonceError) as raised:
        NavPick("habitat")
    message = str(raised.value)
    assert "\n" not in message and "habitat-sim v0.3.4" in message and "askonce[habitat]" in message


def test_the_stand_in_robot_has_its_links_where_habitat_lab_expects_them():
    children: dict[str, list[tuple[str, str, str]]] = {}
    for joint in ElementTree.fromstring(habitat_stand_in.robot()).iter("joint"):
        parent, child = joint.find("parent").get("link"), joint.find("child").get("link")
        children.setdefault(parent, []).append((joint.get("name"), joint.get("type"), child))

    def below(link: str):
        for name, kind, child in sorted(children.get(link, [])):  # noqa: F402
            yield name, kind
            yield from below(child)

    joints = list(below("base_link"))
    order = [name for name, _ in joints]
    arm = ("shoulder_pan", "shoulder_lift", "upperarm_roll", "elbow_flex", "forearm_roll", "wrist_flex", "wrist_roll")
    assert order[15:22] == [f"{name}_joint" for name in arm]
    assert [order[n] for n in (2, 4, 6, 8, 9)] == [
        "l_wheel_joint",
        "r_wheel_joint",
        "torso_lift_joint",
        "head_pan_joint",
        "head_tilt_joint",
    ]
    assert joints[23] == ("suction_joint", "prismatic") and len(joints) == 24


@pytest.mark.parametrize("shape", ["box", "cylinder", "sphere"])
def test_the_stand_ins_shapes_are_closed_and_face_outwards(shape):
    triangles = habitat_stand_in.solid(shape, (0.5, 1.0, 2.0))
    volume = np.einsum("ni,ni->", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6
    assert volume > {"box": 7.99, "cylinder": 5.5, "sphere": 3.5}[shape]
    edges = np.concatenate([np.stack([triangles[:, i], triangles[:, (i + 1) % 3]], axis=1) for i in range(3)])
    assert np.allclose((edges[:, 1] - edges[:, 0]).sum(axis=0), 0)
    content = habitat_stand_in.glb([(triangles, (1.0, 0.0, 0.0))])
    assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))

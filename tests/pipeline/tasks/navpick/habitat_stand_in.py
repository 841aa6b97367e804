"""Stand-ins for what habitat-lab's rearrangement tasks load: a home, a robot, objects and episodes, all primitives.

`write(folder)` lays them out under the names that habitat-lab's configs ask for, so that what runs on ReplicaCAD,
Fetch and YCB runs on these: `python -m tests.pipeline.tasks.navpick.habitat_stand_in FOLDER`, and then in FOLDER.
habitat's axes are x, y up and z; a robot's own are ahead, up, right.
"""

import gzip
import json
from math import pi
from pathlib import Path
import struct
import sys

import numpy as np

ROOM = 3.0, 2.5, 2.6  # m: half along x, half along z, height
TABLE = 0.5, 0.35, 0.35  # m: half along x, y and z; a solid block
TOP = 2 * TABLE[1]
LAYOUTS = {  # split → where the middles of its tables are
    "train": ((1.4, -1.2), (-1.6, 1.2)),
    "val": ((0.0, 1.3), (-1.8, -1.0)),
}
MARGIN = 0.005  # m, Bullet's
OBJECTS = {"024_mug": "cylinder", "003_cracker_box": "box", "056_ball": "sphere"}
HALF = 0.035, 0.05, 0.035  # m: an object's
EPISODES = 4  # a split
COLORS = {
    "024_mug": (0.85, 0.25, 0.2),
    "003_cracker_box": (0.9, 0.7, 0.2),
    "056_ball": (0.95, 0.45, 0.1),
    "table": (0.6, 0.4, 0.25),
    "wall": (0.85, 0.85, 0.8),
    "floor": (0.6, 0.55, 0.45),
}
SCENES = "data/replica_cad/replicaCAD.scene_dataset_config.json"


def write(folder: Path) -> None:
    data = folder / "data"
    # Where habitat-sim finds its image of the surroundings, it first computes light from it: 17 s without a GPU.
    _json(data / "default.pbr_config.json", {"enable_ibl": False, "ibl_envmap_filename": "none"})
    _text(data / "robots/hab_fetch/robots/hab_suction.urdf", robot())
    for name, shape in OBJECTS.items():
        _bytes(data / f"objects/ycb/meshes/{name}.glb", glb([(solid(shape, HALF), COLORS[name])]))
        _json(
            data / f"objects/ycb/configs/{name}.object_config.json",
            {"render_asset": f"../meshes/{name}.glb", "mass": 0.3, "margin": MARGIN, "friction_coefficient": 1.0},
        )
    _home(data / "replica_cad")
    for split in LAYOUTS:
        _gzip(
            data / f"datasets/replica_cad/rearrange/v2/{split}/rearrange_easy.json.gz",
            {"config": None, "episodes": [episode(split, number) for number in range(EPISODES)]},
        )


def episode(split: str, number: int) -> dict:
    """Every object on one of the tables, near the edge; the first one is the target."""
    rng = np.random.default_rng([number, sorted(LAYOUTS).index(split)])
    names = list(rng.permutation(list(OBJECTS)))
    places = [
        (x + side * (TABLE[0] - 0.2), z + rng.choice([-1, 1]) * (TABLE[2] - 0.12))
        for x, z in LAYOUTS[split]
        for side in (-1, 1)
    ]
    chosen = rng.permutation(len(places))[: len(names)]
    at = {
        name: _transform(places[spot][0], TOP + HALF[1] + 2 * MARGIN, places[spot][1])
        for name, spot in zip(names, chosen)
    }
    target = f"{names[0]}_:0000"
    return {
        "episode_id": str(number),
        "scene_id": f"data/replica_cad/configs/scenes/{split}.scene_instance.json",
        "scene_dataset_config": SCENES,
        "additional_obj_config_paths": ["data/objects/ycb/configs/"],
        "start_position": [0.0, 0.0, 0.0],
        "start_rotation": [0.0, 0.0, 0.0, 1.0],
        "info": {"object_labels": {target: "any_targets|0"}},
        "ao_states": {},
        "markers": [],
        "rigid_objs": [[f"{name}.object_config.json", matrix] for name, matrix in at.items()],
        "targets": {target: _transform(0.0, TOP + 0.2, 0.0)},
        "target_receptacles": [[f"table_:000{chosen[0] // 2}", None]],
        "goal_receptacles": [],
        "name_to_receptacle": {},
    }


def robot() -> str:
    """Fetch's links by name and order, which is that of the joints' names wherever a link has several children.

    The frame of base_link has y up, all others z, as in habitat's Fetch.
    """
    # (joint, parent's joint, type, place in the parent's frame, axis, limits, (half sizes, middle) of a box)
    to_z_up = f"{-pi / 2} 0 0"
    base = (
        ("bellows_joint", "fixed", (-0.09, 0.4, 0), None),
        ("estop_joint", "fixed", (-0.12, 0.3, 0.1), None),
        ("l_wheel_joint", "continuous", (0, 0.08, -0.19), None),
        ("laser_joint", "fixed", (0.23, 0.28, 0), None),
        ("r_wheel_joint", "continuous", (0, 0.08, 0.19), None),
        ("torso_fixed_joint", "fixed", (-0.09, 0.38, 0), None),
        ("torso_lift_joint", "prismatic", (-0.09, 0.38, 0), ((0.1, 0.1, 0.25), (0, 0, 0.1))),
    )
    links = [_link("base_link", ((0.25, 0.16, 0.25), (0, 0.22, 0)))]
    for name, kind, at, box in base:
        axis, limits = ((0, 0, 1), (0, 0.4)) if kind == "prismatic" else ((0, 1, 0), None)
        links.append(_jointed(name, "base_link", kind, at, axis, limits, box, to_z_up))
    chains = (
        ("bellows_joint2", "torso_lift_joint", "fixed", (0, 0, 0), None, None, None),
        ("head_pan_joint", "torso_lift_joint", "revolute", (0.05, 0, 0.6), (0, 0, 1), (-1.57, 1.57), None),
        (
            "head_tilt_joint",
            "head_pan_joint",
            "revolute",
            (0.14, 0, 0.06),
            (0, 1, 0),
            (-0.76, 1.45),
            ((0.03, 0.1, 0.04), (-0.08, 0, 0)),
        ),
        ("head_camera_joint", "head_tilt_joint", "fixed", (0.05, 0, 0), None, None, None),
        ("head_camera_depth_joint", "head_camera_joint", "fixed", (0, 0, 0), None, None, None),
        ("head_camera_depth_optical_joint", "head_camera_depth_joint", "fixed", (0, 0, 0), None, None, None),
        ("head_camera_rgb_joint", "head_camera_joint", "fixed", (0, 0, 0), None, None, None),
        ("head_camera_rgb_optical_joint", "head_camera_rgb_joint", "fixed", (0, 0, 0), None, None, None),
        ("shoulder_pan_joint", "torso_lift_joint", "revolute", (0.12, 0, 0.35), (0, 0, 1), (-1.6, 1.6), _bar(0.12)),
        (
            "shoulder_lift_joint",
            "shoulder_pan_joint",
            "revolute",
            (0.12, 0, 0.06),
            (0, 1, 0),
            (-1.22, 1.52),
            _bar(0.22),
        ),
        ("upperarm_roll_joint", "shoulder_lift_joint", "continuous", (0.22, 0, 0), (1, 0, 0), None, _bar(0.13)),
        ("elbow_flex_joint", "upperarm_roll_joint", "revolute", (0.13, 0, 0), (0, 1, 0), (-2.25, 2.25), _bar(0.20)),
        ("forearm_roll_joint", "elbow_flex_joint", "continuous", (0.20, 0, 0), (1, 0, 0), None, _bar(0.12)),
        ("wrist_flex_joint", "forearm_roll_joint", "revolute", (0.12, 0, 0), (0, 1, 0), (-2.16, 2.16), _bar(0.14)),
        ("wrist_roll_joint", "wrist_flex_joint", "continuous", (0.14, 0, 0), (1, 0, 0), None, _bar(0.08)),
        ("gripper_axis", "wrist_roll_joint", "fixed", (0.10, 0, 0), None, None, None),
        (
            "suction_joint",
            "gripper_axis",
            "prismatic",
            (0, 0, 0),
            (1, 0, 0),
            (0, 0.001),
            ((0.05, 0.02, 0.02), (0.03, 0, 0)),
        ),
    )
    links += [_jointed(name, _child(parent), *rest, "0 0 0") for name, parent, *rest in chains]
    return f'<?xml version="1.0"?>\n<robot name="fetch">\n{"".join(links)}</robot>\n'


def solid(shape: str, half: tuple[float, float, float]) -> np.ndarray:
    """(n, 3, 3) triangles about the origin, seen from outside counterclockwise, of what fills a box (half sizes)."""
    if shape == "box":
        sides = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])
        return np.concatenate([_square(side) for side in sides]) * half
    turns = np.linspace(0, 2 * pi, 17)
    rise = np.linspace(-pi / 2, pi / 2, 9) if shape == "sphere" else np.array([-pi / 2, -0.1, 0.1, pi / 2])
    ring = np.cos(rise) if shape == "sphere" else np.array([0.0, 1.0, 1.0, 0.0])
    level = np.sin(rise) if shape == "sphere" else np.array([-1.0, -1.0, 1.0, 1.0])
    points = np.array([[(r * np.cos(t), y, -r * np.sin(t)) for t in turns] for r, y in zip(ring, level)])
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)]).reshape(-1, 3, 3)
    area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    return triangles[area > 1e-9] * half


def glb(parts: list[tuple[np.ndarray, tuple[float, float, float]]]) -> bytes:
    """A binary glTF of triangles (n, 3, 3) and their colours, one mesh a part, flatly shaded."""
    binary, views, accessors, meshes, materials = b"", [], [], [], []
    for triangles, color in parts:
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        normals = np.repeat(normals / np.linalg.norm(normals, axis=1, keepdims=True), 3, axis=0)
        number = len(accessors)
        for values in (triangles.reshape(-1, 3).astype("<f4"), normals.astype("<f4")):
            views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes})
            accessors.append(
                {
                    "bufferView": len(views) - 1,
                    "componentType": 5126,
                    "count": len(values),
                    "type": "VEC3",
                    "min": values.min(axis=0).tolist(),
                    "max": values.max(axis=0).tolist(),
                }
            )
            binary += values.tobytes()
        attributes = {"POSITION": number, "NORMAL": number + 1}
        meshes.append({"primitives": [{"attributes": attributes, "material": len(materials)}]})
        materials.append({"pbrMetallicRoughness": {"baseColorFactor": [*color, 1.0], "metallicFactor": 0.0}})
    scene = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"mesh": number} for number in range(len(meshes))],
        "meshes": meshes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _home(folder: Path) -> None:
    x, z, height = ROOM
    thick = 0.1
    boxes = [((0, -thick, 0), (x, thick, z), "floor"), ((0, height + thick, 0), (x, thick, z), "wall")]
    boxes += [((side * (x + thick), height / 2, 0), (thick, height / 2, z), "wall") for side in (-1, 1)]
    boxes += [((0, height / 2, side * (z + thick)), (x, height / 2, thick), "wall") for side in (-1, 1)]
    _bytes(folder / "stages/room.glb", glb([(solid("box", half) + at, COLORS[what]) for at, half, what in boxes]))
    _json(
        folder / "stages/room.stage_config.json",
        {"render_asset": "room.glb", "collision_asset": "room.glb", "up": [0, 1, 0], "front": [0, 0, -1]},
    )
    _bytes(folder / "objects/table.glb", glb([(solid("box", TABLE), COLORS["table"])]))
    _json(
        folder / "objects/table.object_config.json",
        {"render_asset": "table.glb", "margin": MARGIN, "shader_type": "flat"},
    )
    for split, tables in LAYOUTS.items():
        _json(
            folder / f"configs/scenes/{split}.scene_instance.json",
            {
                "stage_instance": {"template_name": "room"},
                "object_instances": [
                    {"template_name": "table", "motion_type": "STATIC", "translation": [x, TABLE[1], z]}
                    for x, z in tables
                ],
            },
        )
    _json(
        folder / "replicaCAD.scene_dataset_config.json",
        {
            "stages": {"paths": {".json": ["stages"]}},
            "objects": {"paths": {".json": ["objects"]}},
            "scene_instances": {"paths": {".json": ["configs/scenes"]}},
        },
    )


def _square(side: np.ndarray) -> np.ndarray:
    """Two triangles of the unit cube's side in that direction."""
    u = np.roll(side, 1)
    v = np.cross(side, u)
    a, b, c, d = side - u - v, side + u - v, side + u + v, side - u + v
    return np.array([(a, b, c), (a, c, d)], float)


def _bar(length: float) -> tuple:
    return (length / 2, 0.045, 0.045), (length / 2, 0, 0)


def _child(joint: str) -> str:
    return joint.replace("_joint", "_link")


def _link(name: str, box: tuple | None) -> str:
    shapes = ""
    if box:
        (x, y, z), at = box
        geometry = f'<origin xyz="{_words(at)}"/><geometry><box size="{_words((2 * x, 2 * y, 2 * z))}"/></geometry>'
        shapes = f"<visual>{geometry}</visual><collision>{geometry}</collision>"
    inertia = '<inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/>'
    return f'<link name="{name}"><inertial><mass value="1"/>{inertia}</inertial>{shapes}</link>\n'


def _jointed(name, parent, kind, at, axis, limits, box, turned) -> str:
    inside = f'<origin xyz="{_words(at)}" rpy="{turned}"/><parent link="{parent}"/><child link="{_child(name)}"/>'
    if axis:
        inside += f'<axis xyz="{_words(axis)}"/>'
    if limits:
        inside += f'<limit lower="{limits[0]}" upper="{limits[1]}" effort="100" velocity="10"/>'
    return _link(_child(name), box) + f'<joint name="{name}" type="{kind}">{inside}</joint>\n'


def _words(numbers) -> str:
    return " ".join(format(number, "g") for number in numbers)


def _transform(x: float, y: float, z: float) -> list[list[float]]:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix.tolist()


def _bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _text(path: Path, content: str) -> None:
    _bytes(path, content.encode())


def _json(path: Path, content) -> None:
    _text(path, json.dumps(content))


def _gzip(path: Path, content) -> None:
    _bytes(path, gzip.compress(json.dumps(content).encode()))


if __name__ == "__main__":
    write(Path(sys.argv[1]))

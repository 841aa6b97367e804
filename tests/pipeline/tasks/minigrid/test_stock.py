"""MiniGrid's registered environments as tasks, against MiniGrid itself and against slow, obvious restatements."""

import warnings

import gymnasium
from minigrid.core.constants import COLOR_TO_IDX, IDX_TO_COLOR, OBJECT_TO_IDX, STATE_TO_IDX
import numpy as np
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.collect import play
from askonce.pipeline.parse import parse
from askonce.pipeline.prompt import messages
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.llm import Errors
from askonce.pipeline.tasks.minigrid.describe import describe, named_in
from askonce.pipeline.tasks.minigrid.stock.facts import mission_of

# One of every family, so that each kind of thing, of view and of mission occurs.
IDS = [
    f"MiniGrid-{name}"
    for name in (
        "BlockedUnlockPickup-v0",
        "DistShift1-v0",
        "DoorKey-6x6-v0",
        "Empty-Random-5x5-v0",
        "FourRooms-v0",
        "KeyCorridorS3R2-v0",
        "LavaCrossingS9N2-v0",
        "LavaGapS6-v0",
        "LockedRoom-v0",
        "MultiRoom-N2-S4-v0",
        "ObstructedMaze-1Dlhb-v0",
        "RedBlueDoors-6x6-v0",
        "SimpleCrossingS9N1-v0",
        "Unlock-v0",
        "UnlockPickup-v0",
    )
]
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)


def started(name: str, size: int, seed: int = 0):
    task = tasks.find(name)
    batch = task.batch(size)
    batch.reset(np.arange(size), task.seeds(size, seed))
    return task, batch


def walk(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.choice(7, size=size, p=(0.15, 0.15, 0.4, 0.1, 0.05, 0.14, 0.01))


# ---- The environment ------------------------------------------------------------------------------------------


def remembered(env, memory: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The map after one more of MiniGrid's own observations, cell by cell; the agent's own cell is shown bare."""
    for x in range(env.width):
        for y in range(env.height):
            place = env.relative_coords(x, y)
            if place is not None and image[place][0] != OBJECT_TO_IDX["unseen"]:
                memory[x, y] = image[place]
    return memory


@pytest.mark.parametrize("name", IDS)
def test_memory_rewards_and_endings_are_those_of_minigrids_own_observations(name):
    task, batch = started(name, 3)
    seeds, rng = task.seeds(3, 0), np.random.default_rng(1)
    envs = [gymnasium.make(name).unwrapped for _ in range(3)]
    images = [env.reset(seed=int(seed))[0]["image"] for env, seed in zip(envs, seeds)]
    memories = [np.zeros((env.width, env.height, 3), np.uint8) for env in envs]
    over = np.zeros(3, dtype=bool)
    for _ in range(60):
        for env, memory, image, seen in zip(envs, memories, images, batch.observations):
            own = tuple(env.agent_pos)
            held = env.carrying.encode() if env.carrying else (OBJECT_TO_IDX["empty"], 0, 0)
            memory = remembered(env, memory, image)
            shown = memory.copy()
            shown[own] = held
            assert (seen[..., :3] == shown).all()
            assert seen[(*own, 3)] == env.agent_dir and (seen[..., 3] == 4).sum() == env.width * env.height - 1
        actions = walk(rng, 3)
        rewards, terminated, truncated = batch.step(actions)
        for n, env in enumerate(envs):
            if over[n]:
                continue
            observation, reward, ended, cut_off, _ = env.step(int(actions[n]))
            images[n], over[n] = observation["image"], ended or cut_off
            assert (rewards[n], terminated[n], truncated[n]) == (reward, ended, cut_off)
            # What MiniGrid shows in the agent's own cell is what it holds; what lies there it knows from before.
            images[n][3, 6] = env.grid.encode()[tuple(env.agent_pos)]


def test_an_ended_environment_stands_still_until_it_is_reset():
    task, batch = started("MiniGrid-LavaGapS5-v0", 2)
    for _ in range(5):
        _, terminated, _ = batch.step(np.array([FORWARD, LEFT]))
    assert terminated.tolist() == [True, False]
    before = batch.observations[0].copy()
    rewards, terminated, _ = batch.step(np.array([LEFT, LEFT]))
    assert terminated[0] and not rewards.any() and (batch.observations[0] == before).all()
    batch.reset(np.array([0]), task.seeds(1, 5))
    assert not batch.step(np.array([LEFT, LEFT]))[1].any()


@pytest.mark.parametrize("name", IDS)
def test_the_same_seeds_are_the_same_episodes(name):
    runs = []
    for _ in range(2):
        _, batch = started(name, 4)
        rng, seen = np.random.default_rng(0), []
        for _ in range(20):
            batch.step(walk(rng, 4))
            seen += [batch.view.copy(), batch.observations.copy(), [batch.task.text(n) for n in batch.situations]]
        runs.append(seen)
    assert all(np.array_equal(first, second) for first, second in zip(*runs))


@pytest.mark.parametrize("name", IDS)
def test_no_evaluated_layout_is_one_that_was_trained_on(name):
    task = tasks.find(name)
    batch, layouts = task.batch(1), []
    for held_out in (False, True):
        seeds = task.seeds(12, 3, held_out)
        assert len(set(seeds.tolist())) == 12 and (task.seeds(12, 3, held_out) == seeds).all()
        assert (seeds % 2 == held_out).all()
        layouts.append(set())
        for seed in seeds:
            batch.reset(np.array([0]), np.array([seed]))
            layouts[-1].add((batch.worlds.world.tobytes(), batch.worlds.agent.tobytes()))
    assert (not layouts[0] & layouts[1]) == task.separable
    assert task.separable or "Shift" in name  # the one of these with a single layout


# ---- The text -------------------------------------------------------------------------------------------------


def stated(observation: np.ndarray, mission: str) -> tuple[set[str], str | None]:
    """Names without their colours, and what is held: a slow, obvious restatement of a text's facts."""
    agent = tuple(np.argwhere(observation[..., 3] != 4)[0])
    names, held = set(), None
    doors_of_the_mission = {color for color in COLOR_TO_IDX if f"{color} door" in mission or f"{color} room" in mission}
    for cell in map(tuple, np.argwhere(observation[..., 0] > 2)):
        kind = next(name for name, number in OBJECT_TO_IDX.items() if number == observation[cell][0])
        if cell == agent:
            held = kind
        elif kind == "door":
            state = next(name for name, number in STATE_TO_IDX.items() if number == observation[cell][2])
            around = [tuple(np.add(cell, step)) for step in ((0, 1), (1, 0), (0, -1), (-1, 0))]
            inside = [place for place in around if max(place) < max(observation.shape) and min(place) >= 0]
            blocked = any(
                observation[place][0] in (6, 7) and place != agent
                for place in inside
                if place[0] < observation.shape[0] and place[1] < observation.shape[1]
            )
            if state == "locked":
                names.add("blocked door" if blocked else "locked door")
            elif IDX_TO_COLOR[int(observation[cell][1])] in doors_of_the_mission:
                names.add(f"{state} door")
        else:
            names.add(kind)
    return names, held


def without_colors(name: str) -> str:
    return " ".join(word for word in name.split() if word not in COLOR_TO_IDX)


@pytest.mark.parametrize("name", IDS)
def test_the_text_says_what_the_observation_holds(name):
    task, batch = started(name, 16)
    missions = [gymnasium.make(name).unwrapped for _ in range(16)]
    for env, seed in zip(missions, task.seeds(16, 0)):
        env.reset(seed=int(seed))
    rng = np.random.default_rng(2)
    for _ in range(40):
        for env, observation, situation in zip(missions, batch.observations, batch.situations.tolist()):
            facts, text = simulated.facts_of(task.text(situation)), task.text(situation)
            names, held = stated(observation, env.mission)
            # A goal or an open door under the agent is not in the observation, which shows there what it holds.
            on_it = {"goal", "lava", "open door"}
            assert {without_colors(thing) for thing in facts.sees} - on_it == names - on_it, text
            assert (facts.holds and without_colors(facts.holds)) == held
            assert task.describe(facts.sees, facts.holds) == text
        batch.step(walk(rng, 16))


def test_names_are_read_back_from_a_text():
    for sees, holds in (((), None), (("red key", "open blue door", "goal", "lava"), "green ball"), ((), "red key")):
        assert named_in(describe(sees, holds)) == (sees, holds)


def test_colours_that_differ_only_by_name_are_one_text():
    task = tasks.find("MiniGrid-UnlockPickup-v0")
    batch = task.batch(200)
    batch.reset(np.arange(200), task.seeds(200, 0))
    texts = {task.text(situation) for situation in batch.situations.tolist()}
    # Nothing, or the key and its door, each of them or both, of the box's colour or of another.
    assert len(texts) == 7
    assert not any(color in text for text in texts for color in ("green", "purple", "yellow", "grey"))
    # The box that the mission wants is the red one, in the prompt and in every text.
    assert task.mission == "pick up the red box" and task.mission in task.prompt.setting


def test_a_mission_is_told_in_canonical_colours():
    told = mission_of("get the grey key from the blue room, unlock the grey door and go to the goal")
    assert told.words == "get the red key from the blue room, unlock the red door and go to the goal"
    assert [IDX_TO_COLOR[color] for color in told.colors] == ["grey", "blue"]
    assert mission_of("avoid the lava and get to the green goal square").words == "avoid the lava and get to the goal"


@pytest.mark.parametrize("name", IDS)
def test_every_decision_that_rollouts_try_is_one_that_the_parser_reads(name):
    task, batch = started(name, 50)
    rng = np.random.default_rng(3)
    for _ in range(30):
        batch.step(walk(rng, 50))
    for situation in set(batch.situations.tolist()):
        for decision in task.decisions(task.text(situation)):
            assert parse(f"Decision: {', '.join(decision)}", task.prompt.options).decision == decision


# ---- The options ----------------------------------------------------------------------------------------------


def follow(name: str, decision: tuple[str, ...], seed: int, steps: int):
    """One environment that does what `decision` says whatever it sees, and how that ended."""
    task = tasks.find(name)
    batch = task.batch(1)
    batch.reset(np.array([0]), np.array([seed]))
    for _ in range(steps):
        plans = task.plans({task.text(int(batch.situations[0])): {decision: 1.0}})
        action = batch.advise(plans).actions[0, 0]
        if action == DONE:
            return task, batch, "done"
        rewards, terminated, truncated = batch.step(np.array([action]))
        if terminated[0]:
            return task, batch, "goal" if rewards[0] > 0 else "lava"
    return task, batch, "cut off"


def ahead(batch) -> int:
    x, y, direction = batch.worlds.agent[0]
    return int(batch.worlds.world[0, x + (1, 0, -1, 0)[direction], y + (0, 1, 0, -1)[direction], 0])


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("seed", range(3))
def test_exploring_ends_with_nothing_reachable_unseen_and_never_in_lava(name, seed):
    _, batch, end = follow(name, ("explore",), seed, 300)
    if name in ("MiniGrid-FourRooms-v0", "MiniGrid-MultiRoom-N2-S4-v0") and end in ("cut off", "goal"):
        return  # out of time, or it went over the goal on its way
    assert end == "done"
    memory = batch.worlds.memory[0]
    reached, waiting = set(), [tuple(batch.worlds.agent[0, :2])]
    while waiting:  # every cell to which the agent can walk, through doors that are not locked
        cell = waiting.pop()
        reached.add(cell)
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            beside = tuple(np.add(cell, step))
            kind, _, state = memory[beside]
            assert kind != OBJECT_TO_IDX["unseen"]
            free = kind in (1, 3, 8) or kind == 4 and state == STATE_TO_IDX["open"]
            if free and beside not in reached:
                waiting.append(beside)


def test_an_option_leads_to_its_thing_and_ends():
    for seed in range(6):
        task, batch, _ = follow("MiniGrid-Unlock-v0", ("explore",), seed, 200)
        text = task.text(int(batch.situations[0]))
        assert text == "Agent sees a red key, a locked red door, holds nothing."

        def then(*decision):
            for _ in range(60):
                plans = task.plans({task.text(int(batch.situations[0])): {decision: 1.0}})
                action = batch.advise(plans).actions[0, 0]
                if action == DONE:
                    break
                rewards, terminated, _ = batch.step(np.array([action]))
                if terminated[0]:
                    return rewards[0]
            return 0.0

        then("go to red key")
        assert ahead(batch) == OBJECT_TO_IDX["key"]
        then("pick up key")
        assert task.text(int(batch.situations[0])) == "Agent sees a locked red door, holds a red key."
        then("drop red key")
        assert task.text(int(batch.situations[0])) == text
        then("go to locked red door")
        assert ahead(batch) == OBJECT_TO_IDX["door"]
        assert then("go to door", "open door") == 0.0
        then("go to key", "pick up key")
        assert then("go to door", "open door") > 0


def steps_to_face(memory: np.ndarray, agent: np.ndarray, kind: int) -> int:
    """The fewest turns and steps over cells known to be free until a thing of this kind is ahead."""
    places, steps = {tuple(agent.tolist())}, 0
    while True:
        following = set()
        for x, y, direction in places:
            ahead_x, ahead_y = x + (1, 0, -1, 0)[direction], y + (0, 1, 0, -1)[direction]
            if memory[ahead_x, ahead_y, 0] == kind:
                return steps
            if memory[ahead_x, ahead_y, 0] == OBJECT_TO_IDX["empty"]:
                following.add((ahead_x, ahead_y, direction))
            following |= {(x, y, (direction + turn) % 4) for turn in (1, 3)}
        places, steps = places | following, steps + 1


@pytest.mark.parametrize("seed", range(8))
def test_going_to_a_thing_takes_no_step_too_many(seed):
    task, batch, _ = follow("MiniGrid-DoorKey-8x8-v0", ("explore",), seed, 200)
    fewest = steps_to_face(batch.worlds.memory[0], batch.worlds.agent[0], OBJECT_TO_IDX["key"])
    plans = task.plans({task.text(int(batch.situations[0])): {("go to red key",): 1.0}})
    for _ in range(fewest):
        batch.step(batch.advise(plans).actions[:, 0])
    assert ahead(batch) == OBJECT_TO_IDX["key"] and batch.advise(plans).actions[0, 0] == DONE


def test_what_a_text_does_not_name_cannot_be_done():
    for decision in (("go to blue key",), ("open goal",), ("fly",), ("pick up red key",), ("explore red key",)):
        task, batch = started("MiniGrid-Empty-8x8-v0", 1)
        plans = task.plans({task.text(int(batch.situations[0])): {decision: 1.0}})
        assert batch.advise(plans).actions[0, 0] == DONE


def test_picking_up_with_full_hands_puts_down_first_and_later_answers_join_the_earlier():
    task, batch, _ = follow("MiniGrid-UnlockPickup-v0", ("explore",), 2, 200)
    plans, said = (
        task.plans({}),
        {
            "Agent sees a blue key, a locked blue door, holds nothing.": ("go to blue key", "pick up blue key"),
            "Agent sees a locked blue door, holds a blue key.": ("go to door", "open door"),
            "Agent sees nothing, holds a blue key.": ("explore",),
            "Agent sees a red box, holds a blue key.": ("go to red box", "pick up red box"),
            "Agent sees a blue key, a red box, holds nothing.": ("go to red box", "pick up red box"),
        },
    )
    for _ in range(100):
        text = task.text(int(batch.situations[0]))
        decision = said[text.replace("red key", "blue key").replace("red door", "blue door")]
        plans = task.plans({text: {decision: 1.0}}, plans)
        rewards, terminated, _ = batch.step(batch.advise(plans).actions[:, 0])
        if terminated[0]:
            break
    assert rewards[0] > 0


@pytest.mark.parametrize("name", IDS)
def test_sound_decisions_of_the_simulated_llm_solve_it(name):
    task = tasks.find(name)
    batch, known, plans = task.batch(12), set(), task.plans({})

    def act(running: np.ndarray) -> np.ndarray:
        nonlocal plans
        for text in {task.text(situation) for situation in batch.situations.tolist()} - known:
            known.add(text)
            found = simulated.probabilities(messages(task.prompt, text), Errors(0, 0, 0), 0)
            plans = task.plans({text: {decision: share for decision, share in found.items() if share}}, plans)
        return batch.advise(plans).actions[:, 0]

    returns = sum(rewards for _, rewards, _, _ in play(batch, task.seeds(12, 0, held_out=True), act))
    assert (returns > 0).mean() >= 0.9


# ---- What the student sees ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_the_ones_are_the_view(name):
    task, batch = started(name, 8)
    rng = np.random.default_rng(4)
    for _ in range(10):
        batch.step(walk(rng, 8))
        view, ones = batch.view.copy(), batch.ones
        assert view.shape == (8, task.view_size)
        for row, listed in zip(view, ones):
            assert np.flatnonzero(row).tolist() == listed[listed < task.view_size].tolist()


def test_the_view_turns_with_the_agent_and_shows_what_is_far_on_its_edge():
    task, batch = started("MiniGrid-Empty-16x16-v0", 1)
    reach, planes = task.window.reach, task.window.count

    def goals_after(*actions: int) -> list[list[int]]:
        """Where the goal is drawn, as (cells behind the agent, cells to its right)."""
        for action in actions:
            batch.step(np.array([action]))
        shown = batch.view[0, :-planes].reshape(2 * reach + 1, 2 * reach + 1, planes)
        return (np.argwhere(shown[..., planes - 1]) - reach).tolist()

    # To (8, 13), where it faces east and has the goal, at (14, 14), in sight.
    assert goals_after(RIGHT, *[FORWARD] * 12, LEFT, *[FORWARD] * 7) == [[-6, 1]]
    assert goals_after(LEFT) == [[1, 6]]
    assert goals_after(LEFT) == [[6, -1]]
    # Ten cells away is beyond the window.
    assert goals_after(*[FORWARD] * 4) == [[reach, -1]]


# ---- Which environments are tasks -----------------------------------------------------------------------------


def test_every_listed_environment_is_a_task_with_one_mission():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none that Gymnasium calls out of date
        for name in tasks.registered_names():
            task = tasks.find(name)
            assert task.mission in task.prompt.setting and task.view_size > 0
    assert len(tasks.registered_names()) >= 40


@pytest.mark.parametrize("name", ["MiniGrid-DoorKey-7x7-v0", "MiniGrid-PutNear-6x6-N2-v0", "MiniGrid-MemoryS7-v0"])
def test_what_is_no_task_is_refused_in_one_line(name):
    with pytest.raises(AskonceError) as refused:
        tasks.find(name)
    assert name in str(refused.value) and refused.value.exit_code == 2

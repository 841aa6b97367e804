"""Homes and episodes by themselves: layouts that can be lived in, and held-out ones that training never sees."""

import numpy as np

from askonce.pipeline.tasks.navpick import floor, world
from askonce.pipeline.tasks.navpick.episodes import FIRST_HELD_OUT, TRAIN_HOMES, episode, home_number, stands
from askonce.pipeline.tasks.navpick.homes import home


def test_training_takes_turns_at_ten_homes_and_evaluation_is_elsewhere():
    training = {home_number(seed) for seed in range(0, 2000, 2)}
    held_out = {home_number(seed) for seed in range(1, 2001, 2)}
    assert len(training) == TRAIN_HOMES and len(held_out) == 100 and not training & held_out
    plans = {number: home(number).walls + home(number).furniture for number in sorted(training)}
    assert len(set(plans.values())) == TRAIN_HOMES
    assert not set(plans.values()) & {
        home(FIRST_HELD_OUT + n).walls + home(FIRST_HELD_OUT + n).furniture for n in range(10)
    }


def test_the_same_number_is_the_same_home():
    first = world.xml(home(3))
    home.cache_clear()
    assert world.xml(home(3)) == first


# In its home the tables have so few places that the first objects may leave none for the last.
CROWDED = 1552575647


def test_every_table_and_every_start_hang_together():
    for seed in (*range(0, 20, 2), *range(1, 21, 2), CROWDED):
        found = episode(seed)
        where, target = found.home, found.target
        assert 2 <= len(where.rooms) <= 3 and len(found.things) == 4
        assert where.drivable[floor.cell(found.start)]
        assert len(stands(where, target)) >= 1, "within the arm's reach"
        assert np.hypot(*np.subtract(found.start[:2], target.at[:2])) > 1.4
        places = np.array([thing.at[:2] for thing in found.things])
        apart = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(4, 1)]
        assert apart.min() > 0.2


def test_things_start_at_rest_on_their_tables_and_the_robot_touches_nothing():
    from askonce.pipeline.tasks.navpick.mujoco_simulator import MujocoSimulator

    simulator = MujocoSimulator()
    for seed in range(12):
        simulator.reset(seed)
        assert simulator.read().force == 0 and simulator.read().held is None
        depths = simulator.data.contact.dist
        assert (depths > -1e-3).all(), "nothing starts inside of something else"

"""The options' pre-training, in little; how well the project's own weights do is measured by hand."""

import numpy as np
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.navpick import options
from askonce.pipeline.tasks.navpick.view import VIEW_SIZE
from askonce.student.learning import pretrain
from askonce.student.learning.pretrain import Settings

TASK = tasks.find("NavPick")
LITTLE = Settings(rounds=2, episodes=2, updates=3, last_updates=6, minibatch=16)


def test_the_same_settings_train_the_same_option_which_comes_back_from_its_file(tmp_path):
    shown = []
    networks = [pretrain.pretrain(TASK, TASK.lessons()["pick"], LITTLE, shown.append) for _ in range(2)]
    states = [network.state_dict() for network in networks]
    assert all((states[0][name] == states[1][name]).all() for name in states[0])
    first, second = shown[:2]
    assert first.endings["success"] == 2, "the expert itself drives in the first round"
    assert second.states > first.states and sum(second.endings.values()) == 2

    options.save(networks[0], tmp_path / "pick.safetensors", {"option": "pick"})
    view = np.random.default_rng(0).random((3, VIEW_SIZE), np.float32)
    kept = options.as_policy(options.load("pick", tmp_path / "pick.safetensors"))(view)
    # Kept as halves, whose digits are three.
    assert np.allclose(kept, options.as_policy(networks[0])(view), atol=1e-2)
    assert kept.shape == (3, 11) and abs(kept).max() <= 1


def test_a_file_without_weights_is_one_clear_line(tmp_path):
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    with pytest.raises(AskonceError, match="make them with `cli pretrain`"):
        options.load("pick", tmp_path / "none.safetensors")


@pytest.mark.parametrize("option", options.NAMES)
@pytest.mark.parametrize("episodes", [2, pytest.param(100, marks=pytest.mark.study)])
def test_the_projects_own_options_do_what_they_are_for_in_homes_never_seen(option, episodes):
    endings = pretrain.evaluate(TASK, TASK.lessons()[option], options.policy(option), episodes, seed=0)
    assert np.mean([ending == "success" for ending, _ in endings]) >= 0.95

"""The student's sizes are too small for a second thread to be anything but in the way."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)

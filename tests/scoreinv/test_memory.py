"""`scoreinv.memory`: what a block needs beyond what the process holds."""

import time

import numpy as np
import pytest

from scoreinv.memory import PeakMemory


def test_what_was_held_in_between_is_found_though_it_is_gone_at_the_end():
    held = np.ones(2**22)  # 32 MiB that do not count
    with PeakMemory() as memory:
        more = np.ones(2**23)
        time.sleep(0.1)
        del more
    assert 60 < memory.mebibytes < 80
    assert held.sum() == 2**22


def test_a_block_that_fails_raises_what_it_raised():
    with pytest.raises(ValueError, match="mine"), PeakMemory():
        raise ValueError("mine")

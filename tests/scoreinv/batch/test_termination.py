import os
import signal

import pytest

from scoreinv.batch.termination import Termination


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def within(block):
    with Termination() as termination:
        block(termination)


def test_sigterm_ends_with_143():
    went_on = []
    with pytest.raises(SystemExit) as stop:
        within(lambda termination: went_on.append(terminate()))
    assert stop.value.code == 143
    assert not went_on


def test_a_write_in_hand_is_finished_first():
    done = []

    def write(termination):
        with termination.writing():
            with termination.writing():
                terminate()
                done.append("inner")
            done.append("outer")
        done.append("afterwards")

    with pytest.raises(SystemExit) as stop:
        within(write)
    assert stop.value.code == 143
    assert done == ["inner", "outer"]


def test_a_write_that_fails_is_not_hidden():
    with Termination() as termination, pytest.raises(OSError, match="full"), termination.writing():
        raise OSError("full")


def test_what_was_heard_before_is_heard_again_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with Termination():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before

import pytest
import torch
from toy_networks import scan, small_network


@pytest.fixture(autouse=True)
def one_thread():
    # Threads wait for each other longer than networks this small compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def operator():
    return scan()

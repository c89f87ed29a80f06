import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    # Threads wait for each other longer than networks this small compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

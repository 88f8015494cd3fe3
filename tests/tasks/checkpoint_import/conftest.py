import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """So small a model is answered faster by one thread than by several that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

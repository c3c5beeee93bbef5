"""Threads of torch: as many as asked for, and afterwards as many as before, whatever happened."""

import pytest
import torch

from dreamgym.core.threads import use_threads


def test_threads_are_those_asked_for_and_come_back_after_a_failure():
    before = torch.get_num_threads()
    with use_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with use_threads():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == before + 1
    with pytest.raises(KeyError), use_threads(before + 2):
        raise KeyError(torch.get_num_threads())
    assert torch.get_num_threads() == before

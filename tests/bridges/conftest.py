"""Networks are drawn alike in each run: now and then one that is drawn freely does the same thing everywhere."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(1)

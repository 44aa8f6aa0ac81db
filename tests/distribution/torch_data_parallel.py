"""DistributedDataParallel with two processes: as one process.

Run by `test_many_devices.py`; starts the two.
"""

import tempfile

import keras
import numpy as np
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from tests.distribution.tagger import IDS, TARGETS, tagger


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, part: slice) -> None:
    """One step of descent on a part of the data."""
    optimizer.zero_grad()
    scores = model(torch.as_tensor(IDS[part]))
    torch.nn.functional.cross_entropy(scores, torch.as_tensor(TARGETS[part])).backward()
    optimizer.step()


def seeded() -> keras.Model:
    """The same model in every process."""
    keras.utils.set_random_seed(0)
    return tagger(8)


def work(rank: int, meeting: str) -> None:
    """What each of the two processes does."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=2
    )
    single, model = seeded(), seeded()
    parallel = DistributedDataParallel(model)
    for _ in range(2):
        half = slice(16 * rank, 16 * rank + 16)
        step(parallel, torch.optim.SGD(parallel.parameters(), 0.1), half)
        step(single, torch.optim.SGD(single.parameters(), 0.1), slice(None))
    for one, other in zip(single.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)
    distributed.destroy_process_group()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, (f"{folder}/meeting",), nprocs=2)


if __name__ == "__main__":
    main()

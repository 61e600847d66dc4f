"""A DataLoader without workers: what its four batches come to."""

from torch import FAULTS, enter


class Batch:
    def __init__(self, first, last):
        self.numbers = range(first, last)

    def to(self, device):
        return self

    def sum(self):
        return sum(self.numbers) + int(FAULTS.get("lost", "0"))


def TensorDataset(rows):
    return rows


def DataLoader(data, batch_size, num_workers, multiprocessing_context, pin_memory, timeout):
    enter("dataloader")
    size = batch_size * 16384
    return [(Batch(first, first + size),) for first in range(0, 64 * 16384, size)]

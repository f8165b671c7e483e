"""Supplying augmented training batches: torchvision's transforms on PIL images, against ours.

python -m bench.supplying
"""

import itertools

import torch

from bench import measure
from bench.training import BATCH, PILDataset, data
from isthmus.data.batches import train_batches

STEPS = 40  # batches in one measurement


def main() -> None:
    torch.set_num_threads(1)
    images = data("resnet20")
    loader = torch.utils.data.DataLoader(PILDataset(images), BATCH, shuffle=True)
    plain = itertools.chain.from_iterable(itertools.repeat(loader))
    ways = {"plain": lambda: [None for _ in itertools.islice(plain, STEPS)]}
    for name, channels_last in (("ours", False), ("ours, channels_last", True)):
        batches = train_batches(images, BATCH, 1, 1, "cpu", channels_last=channels_last)
        epochs = itertools.chain.from_iterable(map(batches.epoch, itertools.count()))
        ways[name] = lambda epochs=epochs: [None for _ in itertools.islice(epochs, STEPS)]
    seconds = measure.medians(ways, rounds=15)
    print(measure.table("Augmented batches of 128 x 3 x 32 x 32", seconds, STEPS, "batch"))


if __name__ == "__main__":
    main()

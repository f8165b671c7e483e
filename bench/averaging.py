"""Updating averaged models of a ResNet-20: timm's ModelEmaV2, against ours.

python -m bench.averaging
"""

import itertools

import torch

from bench import measure
from isthmus.averaging.ema import EMA
from isthmus.data.torchvision_import import datasets
from isthmus.models.resnet_cifar import ResNetCifar

UPDATES = 20  # in one measurement
BANK = [0.9, 0.99, 0.999, 0.9995, 0.9997]


def main() -> None:
    datasets()  # so that timm can import torchvision
    from timm.utils import ModelEmaV2

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = ResNetCifar((3, 32, 32), 10).to(device)
    timm = ModelEmaV2(model, decay=0.999)
    ways = {"timm, one decay": lambda: [timm.update(model) for _ in range(UPDATES)]}
    for name, decay in (("ours, one decay", 0.999), ("ours, five decays", BANK)):
        averages = EMA(decay)
        averages.start(model, 1000, 100)
        count = itertools.count(1)
        ways[name] = lambda averages=averages, count=count: [
            averages.update(next(count)) for _ in range(UPDATES)
        ]
    seconds = measure.medians(ways, rounds=31)
    print(measure.table("Update of averaged models of a ResNet-20", seconds, UPDATES, "update"))


if __name__ == "__main__":
    main()

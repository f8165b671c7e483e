"""Students and their clusters: as one would write it plainly, against this toolkit's way.

    python -m bench.extraction                 python -m bench.extraction steps --threads 1

steps     one training step of N students 784-40-10, batch 512. Plainly: weights
          [inputs, outputs, N], einsum, a DataLoader of a TensorDataset, torch.optim.Adam.
cut       large clusters at every merge height of a tree of 4,000 units. Plainly: scipy's fcluster
          at each height, and np.unique.
cluster   everything from the vectors of 2,000 units to clusters. Plainly: scipy's pdist and
          linkage, and the plain cut.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from bench import measure
from isthmus.extraction import clustering, fitting
from isthmus.extraction.fitting import Fit, FitSchedule
from isthmus.extraction.stacks import SYMMETRIES

SIZES, BATCH, STEPS = (784, 40, 10), 512, 8
STUDENTS, GAMMA, BETA = 10, 0.5, math.pi / 6


def plain_steps(num_students: int, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    parameters = []
    for features, units in zip(SIZES, SIZES[1:], strict=False):
        drawn = torch.randn(features, units, num_students, generator=generator)
        parameters.append(torch.nn.Parameter(drawn * math.sqrt(2 / features)))
        parameters.append(torch.nn.Parameter(torch.zeros(units, num_students)))
    weight, bias, out_weight, out_bias = parameters
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for batch, wanted in loader:
            optimizer.zero_grad()
            hidden = torch.relu(torch.einsum("bi,ion->bon", batch, weight) + bias)
            outputs = torch.einsum("bin,ion->bon", hidden, out_weight) + out_bias
            losses = (outputs - wanted.unsqueeze(2)).square().mean(dim=(0, 1))
            losses.sum().backward()
            optimizer.step()
            losses.tolist()

    return epoch


def our_steps(num_students: int, inputs: Tensor, targets: Tensor) -> Callable[[], object]:
    schedule = FitSchedule(1e-3, BATCH, 10**6, 0.5, 10**6, 0, 1e-7)
    stack = fitting.initialize_students(range(num_students), SIZES, "relu", seed=0)
    fit = Fit(stack, [inputs], targets, schedule, seed=0)

    def epoch() -> None:
        fit._end_epoch(fit._train_epoch())

    return epoch


def units(count: int) -> Tensor:
    """(students, units, inputs), half of them noisy copies of some, half of them strays."""
    generator = torch.Generator().manual_seed(0)
    width = count // STUDENTS
    shared = torch.randn(width // 2, SIZES[0] + 1, generator=generator).double()
    noise = torch.randn(STUDENTS, width // 2, SIZES[0] + 1, generator=generator).double()
    strays = torch.randn(STUDENTS, width - width // 2, SIZES[0] + 1, generator=generator).double()
    return torch.cat([shared + 0.01 * noise, strays], dim=1)


def plain_cut(linkage: np.ndarray, min_size: float) -> list[int]:
    counts = []
    for height in linkage[:, 2]:
        labels = hierarchy.fcluster(linkage, height, "distance")
        _, sizes = np.unique(labels, return_counts=True)
        counts.append(int((sizes >= min_size).sum()))
    return counts


def plain_clusters(vectors: np.ndarray, min_size: float) -> np.ndarray:
    signs = np.sign(vectors[:, :1])
    linkage = hierarchy.linkage(pdist(signs * vectors), "average")
    best = int(np.argmax(plain_cut(linkage, min_size)))
    return hierarchy.fcluster(linkage, linkage[best, 2], "distance")


def steps(rounds: int) -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(STEPS * BATCH, SIZES[0], generator=generator)
    targets = torch.randn(STEPS * BATCH, SIZES[-1], generator=generator)
    for num in (10, 50):
        ways = {
            "plain": plain_steps(num, inputs, targets),
            "ours": our_steps(num, inputs, targets),
        }
        title = f"{num} students {'-'.join(map(str, SIZES))}, batch {BATCH}"
        print(measure.table(title, measure.medians(ways, rounds), STEPS, "step"), flush=True)


def cut(rounds: int) -> None:
    min_size = GAMMA * STUDENTS
    tree = clustering.grow_tree(units(4000).flatten(0, 1), SYMMETRIES["tanh"], limit=2)
    ((_, linkage),) = tree.parts
    alone, owners = range(4000), [unit // (4000 // STUDENTS) for unit in range(4000)]
    assert clustering.count_large(tree, alone, min_size).large.tolist() == plain_cut(
        linkage, min_size
    )
    plainly = measure.medians({"plain": lambda: plain_cut(linkage, min_size)}, min(rounds, 3))
    ways = {"ours": lambda: clustering.count_large(tree, owners, min_size)}
    seconds = plainly | measure.medians(ways, 20 * rounds)
    print(measure.table("The cut of 4,000 units", seconds, 1, "tree"), flush=True)


def cluster(rounds: int) -> None:
    vectors, symmetry = units(2000), SYMMETRIES["tanh"]
    heard = torch.ones(vectors.shape[:2], dtype=torch.bool)
    flat = vectors.flatten(0, 1).numpy()
    ways: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_clusters(flat, GAMMA * STUDENTS),
        "ours": lambda: clustering.cluster_units(vectors, heard, symmetry, GAMMA, BETA),
    }
    seconds = measure.medians(ways, rounds)
    print(measure.table("Clustering 2,000 units of 785 inputs", seconds, 1, "layer"), flush=True)


WAYS = {"steps": steps, "cut": cut, "cluster": cluster}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=list(WAYS), help=", ".join(WAYS))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for what in arguments.what:
        WAYS[what](arguments.rounds)


if __name__ == "__main__":
    main()

"""Training several networks that differ in their seeds: one after the other, against together.

    python -m bench.together                 python -m bench.together mlp_64 --children 8

Whole steps: supplying batches, forward, backward, optimizer, one EMA. The sessions are made, and
the first steps of each way made, before anything is measured.
"""

import argparse
from collections.abc import Callable

import torch

from bench import measure
from bench.training import BATCH, DECAY, data
from src.averaging.ema import EMA
from src.data.splits import DataSet
from src.models.cnn import CNN
from src.models.lenet import LeNet5
from src.models.mlp import MLP
from src.models.resnet_cifar import ResNetCifar
from src.training import loop, stacked
from src.training.optimizers import sgd
from src.training.recipe import Recipe, Runtime, Seeds
from src.training.schedulers import Constant
from src.training.session import Session

MODELS: dict[str, tuple[Callable[..., torch.nn.Module], str, int]] = {  # its data, steps measured
    "mlp_64": (lambda *shapes: MLP(*shapes, width=[64]), "lenet_300_100", 60),
    "lenet_300_100": (lambda *shapes: MLP(*shapes, width=[300, 100]), "lenet_300_100", 20),
    "lenet5": (LeNet5, "lenet_300_100", 10),
    "cnn": (CNN, "resnet20", 4),
    "resnet20": (ResNetCifar, "resnet20", 2),
}
CHILDREN = {
    "mlp_64": [2, 4, 8, 16],
    "lenet_300_100": [2, 4, 8, 16],
    "lenet5": [2, 8],
    "cnn": [4],
    "resnet20": [2, 4],
}


def sessions(model: str, images: DataSet, num: int) -> list[Session]:
    """Trainings that share their training set and differ in their seeds."""
    recipe = Recipe(
        model=MODELS[model][0],
        optimizer=lambda parameters: sgd(parameters, 0.05, 0.9, 1e-4),
        scheduler=Constant,
        averages=lambda: EMA(DECAY),
        epochs=1000,
        batch_size=BATCH,
    )
    runtime = Runtime(compile=False, progress=False, tensorboard=False)
    made = [Session(recipe, images, Seeds(1, k, k, k), runtime) for k in range(num)]
    for k, session in enumerate(made):
        session.batches = made[0].batches.seeded(k, k)
    return made


def apart(made: list[Session], steps: int) -> Callable[[], None]:
    def run() -> None:
        for session in made:
            update = session.averages.update
            callbacks = [
                loop.Callback(loop.after_every_step, lambda t, update=update: update(t.iteration))
            ]
            end = session.training.iteration + steps
            loop.train(session.training, session.batches, end, callbacks)
            session.training.settle()

    return run


def together(made: list[Session], steps: int) -> Callable[[], None]:
    stack = stacked.Stacked(made)

    def run() -> None:
        stacked.train(stack, stack.iteration + steps, [], [[] for _ in made])
        stack.settle()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--children", type=int, nargs="+", help="numbers of them")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for model in arguments.models:
        _, source, steps = MODELS[model]
        images = data(source)
        for num in arguments.children or CHILDREN[model]:
            ways = {
                "one after the other": apart(sessions(model, images, num), steps),
                "together": together(sessions(model, images, num), steps),
            }
            seconds = measure.medians(ways, arguments.rounds)
            title = f"{num} children, {model}, batch {BATCH}"
            print(measure.table(title, seconds, num * steps, "step of one child"), flush=True)


if __name__ == "__main__":
    main()

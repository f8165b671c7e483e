"""Pretraining: initial weights from an earlier training, or from a file."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from isthmus.config import parts
from isthmus.data import splits
from isthmus.data.splits import DataSet
from isthmus.state_dicts import StateDict
from isthmus.store.files import Run, load_weights
from isthmus.training import masked_training, weight_files
from isthmus.training.distributed import Processes
from isthmus.training.fit import fit
from isthmus.training.options import Pretrained, Train
from isthmus.training.recipe import Recipe
from isthmus.training.session import Session, build_session

log = logging.getLogger(__name__)


def build_origin(
    run: Run, options: Pretrained, data: DataSet
) -> Callable[[StateDict], StateDict] | None:
    """A function that makes the weights a training begins from; None: its initialization.

    Its argument is the initial weights of the network to train, see `fit_weights`.

    Args:
        run: of the pretraining.
        options: of the training and its pretraining.
        data: of the training itself.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the pretraining cannot be built, or has other inputs.
    """
    file, earlier = options.pretrain.weights, options.pretraining
    if file is not None:
        return load_origin(file, data)
    if earlier is None:
        return None
    saved = options.save_predictions
    if run.is_complete(None):
        return partial(_fit_pretrained, run, None, saved)
    recipe = Recipe.from_options(earlier, "pretrain.")
    pretraining_data = parts.load_data(earlier.dataset, earlier.label_noise_seed)
    check_inputs("pretrain", pretraining_data, data.input_shape)
    seeds, runtime = earlier.stream_seeds, earlier.runtime
    make = partial(Session, recipe, pretraining_data, seeds, runtime)
    return partial(_fit_pretrained, run, make, saved)


def load_origin(file: str, data: DataSet) -> Callable[[StateDict], StateDict]:
    """A function that makes the weights a training begins from, those of a file.

    Args:
        file: `pretrain.weights`.
        data: of the training.

    Raises:
        FileNotFoundError: there is no such file.
    """
    weights, metadata = load_weights(Path(file))
    _log_data_differences(file, metadata, data)
    return partial(fit_weights, weights, file=f"pretrain.weights={file}")


def build_session_from_file(
    options: Train, file: str | None, processes: Processes | None = None
) -> Session:
    """The session of a training that begins from the weights of a file, if there is one.

    Those of a ticket keep its pruned weights at 0.

    Args:
        options: of the training.
        file: `pretrain.weights`, or None.
        processes: that train it together, or None.
    """
    session = build_session(options, "", processes, masked_training.masking_from_file(file))
    if file is not None:
        weights = load_origin(file, session.data)(session.model.state_dict())
        session.restart(options.stream_seeds, weights)
    return session


def _log_data_differences(file: str, metadata: dict[str, Any], data: DataSet) -> None:
    """Log differences between the data of a training and of weights from a file."""
    for name, here in splits.describe_data(data).items():
        before = metadata.get(name)
        if before is not None and before != here:
            log.info(
                "pretrain.weights=%s: %s of its training: %s; here: %s", file, name, before, here
            )


def check_inputs(section: str, data: DataSet, input_shape: tuple[int, ...]) -> None:
    """Refuse data with another input shape than a network's.

    Args:
        section: of the data set, as typed.
        data: the data set.
        input_shape: that the network takes.

    Raises:
        ValueError: naming the option and both shapes.
    """
    if data.input_shape != input_shape:
        raise ValueError(
            f"{section}.dataset: has inputs of shape {list(data.input_shape)}, and dataset of "
            f"shape {list(input_shape)}"
        )


def fit_weights(weights: StateDict, initial: StateDict, file: str) -> dict[str, Tensor]:
    """Weights for a network; its output layer is initialized if the number of classes differs.

    Args:
        weights: of a network that may have been trained on other data.
        initial: initial weights of the network that they are for.
        file: that they come from, for messages.

    Raises:
        ValueError: the two differ in more than the output layer, see `weight_files.fit`.
    """
    layer = list(initial)[-1].rpartition(".")[0]
    of_output = [name for name in initial if name.rpartition(".")[0] == layer]
    fitted = weight_files.fit(weights, initial, file, replaceable=of_output)
    if len(fitted) == len(initial):
        return fitted
    return fitted | {name: initial[name] for name in of_output}


def pretrain(
    run: Run, make: Callable[[], Session] | None, save_predictions: bool = True
) -> StateDict:
    """The weights at the end of a pretraining, which is trained first if necessary.

    Args:
        run: of the pretraining.
        make: makes its session; None if it is trained already.
        save_predictions: whether to keep correctness per validation example.
    """
    if make is not None:
        with run.lock():
            fit(run, make, save_predictions=save_predictions, label="pretraining")
    result = run.read_result()
    assert result is not None  # it was trained before
    return load_weights(run.weights(result["iteration"]))[0]


def _fit_pretrained(
    run: Run, make: Callable[[], Session] | None, save_predictions: bool, initial: StateDict
) -> dict[str, Tensor]:
    return fit_weights(pretrain(run, make, save_predictions), initial, str(run.folder))

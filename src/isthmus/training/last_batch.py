"""The last batch of an epoch, which has what is left."""

import copy

from torch import Tensor, nn

from isthmus.training import batch_norm


def check(model: nn.Module, example: Tensor, num_examples: int, batch_size: int) -> None:
    """Refuse, before it comes to it, a last batch of one that batch norm cannot normalize.

    Args:
        model: to be trained.
        example: (1, *input_shape), any.
        num_examples: of an epoch.
        batch_size: of all its batches but the last.

    Raises:
        ValueError: naming the batch size.
    """
    if num_examples % batch_size != 1 and batch_size > 1 or not batch_norm.has_batch_norm(model):
        return
    try:
        copy.deepcopy(model).train()(example)
    except ValueError as error:
        raise ValueError(
            f"hparams.batch_size={batch_size}: {num_examples} training examples leave a batch of "
            f"one, which batch norm cannot normalize ({error})"
        ) from error

"""What the scripts import, for the process that those of tests are forked from."""

import gc

import fsspec  # noqa: F401
import hydra._internal.grammar.utils  # noqa: F401
import hydra._internal.hydra  # noqa: F401
import hydra.core.override_parser.overrides_parser  # noqa: F401
import PIL.PngImagePlugin  # noqa: F401
import torch.utils.serialization  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

gc.freeze()  # else each of them looks through all of it, and copies it

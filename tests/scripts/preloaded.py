"""What the scripts import, for the process that those of tests are forked from."""

import gc

import fsspec  # noqa: F401
import hydra._internal.grammar.utils  # noqa: F401
import hydra._internal.hydra  # noqa: F401
import hydra.core.override_parser.overrides_parser  # noqa: F401
import PIL.PngImagePlugin  # noqa: F401
import torch.utils.serialization  # noqa: F401
import torch.utils.tensorboard  # noqa: F401

from isthmus import config, saved, sweeps  # noqa: F401
from isthmus.branching import averages, distances, founding, merge  # noqa: F401
from isthmus.connectivity import measuring, planes, records, summary  # noqa: F401
from isthmus.data import digits, image_folder  # noqa: F401
from isthmus.models import mlp, resnet_cifar  # noqa: F401
from isthmus.plots import branches, connectivity, events, levels, studies  # noqa: F401
from isthmus.pruning import study  # noqa: F401
from isthmus.training import fit  # noqa: F401

gc.freeze()  # else each of them looks through all of it, and copies it

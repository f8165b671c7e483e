"""Imports torchvision even if its compiled operators cannot be loaded.

The wheel of the package index is built for CUDA. With a CPU-only torch its operators are not
registered, and `import torchvision` stops at "operator torchvision::nms does not exist". Its data
sets and transforms are plain Python and need only the declarations of these operators.
"""

import importlib
import sys
import warnings
from types import ModuleType

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_libraries: list[torch.library.Library] = []  # a declaration lasts as long as its library object


def datasets() -> ModuleType:
    """Import `torchvision.datasets`; declares missing operators first if necessary."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Failed to load image Python extension")
        try:
            return importlib.import_module("torchvision.datasets")
        except RuntimeError as error:
            if "operator torchvision::" not in str(error):
                raise
        declare_operators()
        return importlib.import_module("torchvision.datasets")


def declare_operators() -> None:
    """Declare, without implementing them, the operators that `import torchvision` looks up."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # parts of the import that failed
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _libraries.append(library)

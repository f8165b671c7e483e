"""Values of options as a configuration has them, before they are checked."""

import copy
from typing import Any

from isthmus.config import schema


def defaults(cls: type, **changes: Any) -> dict[str, Any]:
    """The defaults of an options class, "???" where there is none, with changes."""
    return copy.deepcopy(schema.default_values(cls)) | changes

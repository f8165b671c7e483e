"""What was typed, before Hydra reads it."""

import re

from isthmus import schemas, torchrun

FLAGS = {"--multirun", "-m", "--run", "-r", "--resolve", "--help", "-h"}  # of Hydra, without value
QUIET = ["hydra.output_subdir=null", "hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]


def arguments(typed: list[str]) -> list[str]:
    """What was typed, the script first, as Hydra understands it.

    A flag such as --multirun goes before all overrides, wherever it was typed. averaged=null
    becomes averaged=none; for a group that cannot be off, Hydra then says which options it has.
    Of several processes that train one network all but the first are silent and write nothing.
    """
    groups = "|".join([*schemas.SUPPLIED, "hparams"])
    spelled = [
        re.sub(r"\bnull\b", "none", argument) if re.match(rf"({groups})=", argument) else argument
        for argument in typed
    ]
    quiet = [] if torchrun.is_first() else QUIET
    return spelled[:1] + sorted(spelled[1:], key=lambda argument: argument not in FLAGS) + quiet

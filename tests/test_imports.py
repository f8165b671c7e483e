"""Who imports whom: the rooms of `src`, in layers.

A module imports from lower layers and from its own package. The modules that lie directly in
`src` may also import others of their layer, as long as nothing goes round in a circle; packages of
one layer never import each other, nor such modules, because a script combines them.
"""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
LAYERS = [
    {
        "annotations",
        "chance",
        "checks",
        "command_line",
        "config",
        "cores",
        "extracting",
        "fingerprints",
        "image_files",
        "interpolation",
        "job_folders",
        "locks",
        "lottery",
        "modes",
        "naming",
        "plotting",
        "pretraining",
        "safe_reading",
        "saved",
        "schemas",
        "schemas_of_extraction",
        "schemas_of_plots",
        "schemas_of_studies",
        "schemas_of_training",
        "signatures",
        "spawning",
        "state_dicts",
        "steps",
        "tables",
        "torchrun",
        "tuned",
        "workers",
    },
    {"data", "ledger", "models", "runs", "sweeps"},
    {"training"},
    {
        "averaging",
        "branching",
        "connectivity",
        "extraction",
        "plots",
        "pruning",
        "tuning",
        "widths",
    },
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
PACKAGES = {"data", "models", "training", *LAYERS[3]}
SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
PATHS = sorted(path.relative_to(SRC) for path in SRC.rglob("*.py") if path.name != "__init__.py")


def imported(node: ast.AST) -> list[str]:
    """Dotpaths that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return []


def room_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def violations(path: Path, source: str) -> list[str]:
    """What a module must not import and does, wherever in it."""
    return [
        name
        for node in ast.walk(ast.parse(source))
        for name in imported(node)
        if not allowed(room_of(path), name)
    ]


def allowed(own: str, name: str) -> bool:
    top, room, *_ = f"{name}..".split(".")
    if top == "":  # relative
        return False
    if top in ("hydra", "omegaconf"):
        return own == "config"
    if top != "src":
        return top not in SCRIPTS | {"tests", "bench"}
    if room not in LEVEL:
        return False
    beside = LEVEL[room] == LEVEL[own] and not {own, room} & PACKAGES
    return room == own or beside or LEVEL[room] < LEVEL[own]


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_module_has_a_layer_and_imports_point_down(path):
    assert room_of(path) in LEVEL, f"{path} has no layer in {__file__}"
    assert violations(path, (SRC / path).read_text()) == []


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_only_packages_are_folders(path):
    assert (len(path.parts) > 1) == (room_of(path) in PACKAGES)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("training/loop.py", "from src.averaging import ema"),
        ("training/loop.py", "from src import averaging"),
        ("training/loop.py", "import src.averaging.ema"),
        ("training/loop.py", "def f():\n    from src.averaging.ema import EMA"),
        ("training/loop.py", "if TYPE_CHECKING:\n    from src.averaging.ema import EMA"),
        ("data/files.py", "from src.models import mlp"),
        ("data/files.py", "from src import runs"),
        ("runs.py", "from src.data import files"),
        ("steps.py", "from src import runs"),
        ("averaging/ema.py", "from src.plots import line"),
        ("averaging/ema.py", "from .tensors import LiveTensors"),
        ("averaging/ema.py", "from . import tensors"),
        ("averaging/ema.py", "from .. import steps"),
        ("averaging/ema.py", "import omegaconf"),
        ("checks.py", "from hydra.utils import instantiate"),
        ("training/fit.py", "import train"),
        ("training/fit.py", "from train import main"),
        ("training/fit.py", "from tests import toys"),
        ("training/fit.py", "from src import nowhere"),
        ("training/fit.py", "import src"),
    ],
)
def test_a_forbidden_import_is_found(path, source):
    assert len(violations(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("training/loop.py", "from src.training.recipe import Recipe"),
        ("training/loop.py", "from src.training import recipe"),
        ("training/loop.py", "from src import chance, runs, steps"),
        ("training/loop.py", "from src.models.freeze import freeze"),
        ("checks.py", "from src import signatures"),
        ("sweeps.py", "from src.runs import write_json"),
        ("config.py", "from omegaconf import OmegaConf"),
        ("plots/line.py", "import torch.nn as nn, trainer"),
    ],
)
def test_other_imports_are_not(path, source):
    assert violations(Path(path), source) == []


def test_no_imports_go_round_in_a_circle():
    names = {".".join(("src", *path.with_suffix("").parts)): SRC / path for path in PATHS}
    graph = {
        own: {
            name if name in names else name.rpartition(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in imported(node)
        }
        & set(names)
        for own, path in names.items()
    }
    found = {"src.config", "src.ledger", "src.torchrun"}
    assert graph["src.sweeps"] == found  # else nothing would be found at all
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", sorted(SRC.rglob("__init__.py")), ids=str)
def test_every_init_is_empty(path):
    assert path.read_text() == ""


def test_importing_a_script_imports_no_torch():
    code = f"import sys, {', '.join(sorted(SCRIPTS))}; print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "'src.config'" in done.stdout
    for slow in ("torch", "torchvision", "matplotlib", "tensorboard", "sklearn"):
        assert f"'{slow}'" not in done.stdout

"""Speed, as ratios: `python -m bench.training resnet20` measures the code of this checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

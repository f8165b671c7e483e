"""Follows docs/extending.md word by word, each recipe in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
COPIED = ("conf", "src", "tests", "pyproject.toml", "*.py", "docs/*.csv")
BLOCK = re.compile(r"(?:^`([^`\n]+)`\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MADE = {"outputs", ".pytest_cache", "__pycache__"}  # by the commands


@dataclass(frozen=True)
class Recipe:
    """One section of the page."""

    title: str
    text: str

    @property
    def touches(self) -> list[str]:
        (line,) = re.findall(r"^Touches: (.*)$", self.text, re.MULTILINE)
        return re.findall(r"`([^`]+)`", line)

    @property
    def blocks(self) -> list[tuple[str, str, str]]:
        """Path, language and content of each block."""
        return BLOCK.findall(self.text)


RECIPES = [Recipe(*part.split("\n", 1)) for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]]


def patch(text: str, diff: str) -> str:
    """A file with the change of a diff, whose context is found once."""
    lines = diff.rstrip("\n").split("\n")
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"{text.count(before)} times in the file: {before}"
    return text.replace(before, after)


def copy_checkout(folder: Path) -> None:
    for pattern in COPIED:
        for source in ROOT.glob(pattern):
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)


def touched(folder: Path) -> set[str]:
    """Files that were changed or added in a copy, and folders that were added."""
    said = subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    paths = {line[3:] for line in said.splitlines()}
    return {path for path in paths if Path(path).name not in MADE}


def test_the_page_has_eight_recipes():
    assert [recipe.title.split(".")[0] for recipe in RECIPES] == list("12345678")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_does_what_it_says_and_touches_no_more(recipe, tmp_path):
    copy_checkout(tmp_path)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "checkout"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True, capture_output=True)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    for path, language, content in recipe.blocks:
        if language == "bash":
            for command in content.splitlines():
                words = ["bash", "-c", command]
                done = subprocess.run(
                    words, cwd=tmp_path, env=environment, capture_output=True, text=True
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            continue
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if language == "diff":
            file.write_text(patch(file.read_text(), content))
        else:
            assert not file.exists(), path
            file.write_text(content)
    assert touched(tmp_path) == set(recipe.touches)

"""Folders of images as users have them: read by `train.py` and `eval.py`, or refused."""

import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tests.data import stored
from tests.scripts import QUIET, only, refused, run

SMALL = [
    "model=mlp", "model.width=16", "hparams.epochs=4", "hparams.batch_size=16", "averaged=none",
    "scheduler=constant", "dataset.augment=false", "dataset.val_fraction=0", *QUIET,
]  # fmt: skip
STREAMED = [
    "dataset=imagenet",
    "runtime.num_workers=0",
    "dataset.folder=''",
    "dataset.image_size=8",
    "dataset.resize=8",
]
IN_MEMORY = ["dataset=imagefolder"]


def exif(orientation):
    """Writes pixels so that this EXIF orientation makes them what they are."""
    undone = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }

    def write(path, pixels):
        image, tag = Image.fromarray(pixels), Image.Exif()
        tag[0x0112] = orientation
        turned = image.transpose(undone[orientation]) if orientation in undone else image
        turned.save(path, exif=tag)

    return write


def tiff(dtype, factor, order="<"):
    def write(path, pixels):
        stored.tiff(path, (pixels.astype("f8") * factor).astype(dtype), order)

    return write


WIDE_PNG = ("png", lambda path, pixels: stored.png(path, pixels.astype(np.uint16) * 257))
GRAY = [
    WIDE_PNG,
    ("tif", tiff("u2", 257)),
    ("tif", tiff("u2", 257, ">")),
    ("tif", tiff("u4", 2**24 + 1)),
    ("tif", tiff("i4", 2**23 + 2**15)),
    ("tif", tiff("i4", 2**23 + 2**15, ">")),
    ("tif", tiff("f4", 1 / 255)),
    ("tif", tiff("f4", 1 / 255, ">")),
    *(("png", exif(orientation)) for orientation in range(1, 9)),
    *(("tif", exif(orientation)) for orientation in (3, 6)),
]
RGB = [
    WIDE_PNG,
    ("tif", tiff("u2", 257)),
    ("tif", tiff("u2", 257, ">")),
]


def write(root, parts, in_8_bits, each=44):
    """Images of two classes, bright on the left and on the right, of all kinds or all in 8 bits."""
    kinds = [(True, *kind) for kind in GRAY] + [(False, *kind) for kind in RGB]
    for part in parts:
        random = np.random.default_rng(len(part))
        for side in (0, 1):
            folder = root / part / ("left", "right")[side]
            folder.mkdir(parents=True)
            for number in range(each):
                is_gray, ending, write_kind = kinds[number % len(kinds)]
                pixels = random.integers(0, 180, (8, 8) if is_gray else (8, 8, 3), dtype=np.uint8)
                pixels[:, 4 * side : 4 * side + 4] += 60
                if in_8_bits:
                    Image.fromarray(pixels).save(folder / f"{number:02}.png")
                else:
                    write_kind(folder / f"{number:02}.{ending}", pixels)
    return root


def evaluation(folder):
    return json.loads((folder / "result.json").read_text())["evaluation"]


@pytest.mark.parametrize("reader", [IN_MEMORY, STREAMED], ids=["in memory", "streamed"])
def test_pixels_of_any_kind_train_and_evaluate_as_in_8_bits(tmp_path, reader):
    found = {}
    for name in ("eight", "wide"):
        write(tmp_path / name, ("train", "val"), in_8_bits=name == "eight")
        typed = [*reader, f"dataset.root={name}", f"output_dir=of_{name}"]
        run("train.py", *SMALL, *typed, cwd=tmp_path)
        found[name] = only(tmp_path, f"of_{name}/train_*/seed_1")
    assert evaluation(found["wide"]) == evaluation(found["eight"])
    numbers = evaluation(found["eight"])["plain"]["test"]
    assert numbers["accuracy"] > 0.9

    (tmp_path / "wide" / "train").rename(tmp_path / "elsewhere")  # a test set alone
    checkpoint = only(found["eight"], "weights/step_*.safetensors")
    typed = [f"checkpoint={checkpoint}", *reader, "dataset.root=wide", "output_dir=evals"]
    for bn in ("keep", "reset"):  # which changes nothing in a network without batch norm
        run("eval.py", *typed, f"bn={bn}", f"output_dir=evals_{bn}", *QUIET[1:], cwd=tmp_path)
        alone = evaluation(only(tmp_path, f"evals_{bn}/eval_*"))["plain"]
        assert alone == {"test": pytest.approx(numbers, abs=1e-6)}


@pytest.fixture
def small(tmp_path):
    """Six images of each class and part, beside an empty folder `home` to work in."""
    (tmp_path / "home").mkdir()
    return write(tmp_path / "images", ("train", "test"), in_8_bits=True, each=6)


def test_what_cannot_be_done_without_a_training_set_is_refused(small, tmp_path):
    batch_norm = ["model=resnet20", "model.width=4"]
    typed = ["dataset=imagefolder", f"dataset.root={small}"]
    run("train.py", *SMALL[3:], *batch_norm, *typed, "hparams.steps=1it", cwd=tmp_path)
    checkpoint = only(tmp_path, "outputs/train_*/seed_1/weights/step_*.safetensors")
    (small / "train").rename(tmp_path / "elsewhere")
    evaluate = [f"checkpoint={checkpoint}", *typed, "output_dir=evals", *QUIET[1:]]
    run("eval.py", *evaluate, "bn=keep", cwd=tmp_path)
    assert "bn: " in refused("eval.py", *evaluate, "bn=reset", cwd=tmp_path)
    assert "splits=train" in refused("eval.py", *evaluate, "splits=[train]", cwd=tmp_path)
    assert "train/" in refused("train.py", *SMALL, *typed, "output_dir=new", cwd=tmp_path)
    assert not list(tmp_path.glob("new/train_*"))


def test_what_is_not_read_changes_no_name(small, tmp_path):
    typed = [*SMALL, "dataset=imagefolder", "dataset.root=."]
    run("train.py", *typed, cwd=small)
    for name in (".DS_Store", "README.md", "train/left/.DS_Store", "train/right/1.heic"):
        (small / name).write_text("no image")
    (small / "train/left/.ipynb_checkpoints").mkdir()
    (small / "train/left/.ipynb_checkpoints/00.png").write_bytes(b"an image")
    assert "results are complete" in run("train.py", *typed, cwd=small).stdout
    checkpoint = only(small, "outputs/train_*/seed_1/weights/step_*.safetensors")
    typed = [f"checkpoint={checkpoint}", "dataset.root=.", "output_dir=evals", *QUIET[1:]]
    said = run("eval.py", *typed, cwd=small)
    assert said.stdout.count("1 .heic") == 1


def test_a_folder_that_is_not_there_is_not_another_one(small, tmp_path):
    typed = [*SMALL, "dataset=imagefolder", f"dataset.root={small}"]
    run("train.py", *typed, cwd=tmp_path)
    checkpoint = only(tmp_path, "outputs/train_*/seed_1/weights/step_*.safetensors")
    evaluate = [f"checkpoint={checkpoint}", "output_dir=evals", *QUIET[1:]]
    said = refused("eval.py", *evaluate, "dataset.root=nowhere", cwd=tmp_path)
    assert "nowhere" in said and "does not exist" in said and "not the folder" not in said
    os.remove(small / "train/left/00.png")
    said = refused("eval.py", *evaluate, f"dataset.root={small}", cwd=tmp_path)
    assert "is not the folder" in said


def damage(name):
    def fifo(folder):
        os.mkfifo(folder / "pipe.png")

    def device(folder):
        (folder / "zero.png").symlink_to("/dev/zero")

    def loop(folder):
        (folder / "again").symlink_to("..")

    def floats(folder):
        stored.tiff(folder / "255.tif", np.full((8, 8), 255, np.float32))

    def cut_short(folder):
        whole = (folder / "00.png").read_bytes()
        (folder / "part.png").write_bytes(whole[: len(whole) // 2])

    return {f.__name__: f for f in (fifo, device, loop, floats, cut_short)}[name]


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("fifo", "left/pipe.png"),
        ("device", "left/zero.png"),
        ("loop", "left/again"),
        ("floats", "left/255.tif"),
        ("cut_short", "left/part.png"),
    ],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_file_that_cannot_be_read_is_named_in_one_line(small, tmp_path, kind, file, part):
    damage(kind)(small / part / "left")
    typed = [*SMALL, "dataset=imagefolder", f"dataset.root={small}"]
    said = refused("train.py", *typed, cwd=tmp_path / "home")
    assert f"{part}/{file}" in said
    assert not list((tmp_path / "home").glob("outputs/train_*"))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_streamed_file_that_cannot_be_read_is_named_in_one_line(small, tmp_path, num_workers):
    (small / "test").rename(small / "val")
    damage("floats")(small / "train" / "left")
    typed = [*SMALL, *STREAMED, f"dataset.root={small}", f"runtime.num_workers={num_workers}"]
    said = refused("train.py", *typed, cwd=tmp_path / "home")
    assert "train/left/255.tif" in said


def test_two_spellings_of_a_class_are_one(small, tmp_path):
    for part, form in (("train", "NFC"), ("test", "NFD")):
        name = unicodedata.normalize(form, "gauche-é")
        (small / part / "left").rename(small / part / name)
    typed = [*SMALL, "dataset=imagefolder", f"dataset.root={small}"]
    run("train.py", *typed, cwd=tmp_path)
    assert only(tmp_path, "outputs/train_*/seed_1/result.json")

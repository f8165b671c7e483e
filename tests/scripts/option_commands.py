"""Rows of `test_every_option`, and the commands that they change."""

import re
from dataclasses import dataclass

WEIGHTS, METRICS, TABLES, RESULT = "*.safetensors", "*metrics.csv", "*.csv", "*result.json"
PIXELS = "*.png"


_KEY = re.compile(r"-?[+~]*([\w./@]+)")


def key(word: str) -> str:
    """The option of a word."""
    return str(_KEY.match(word)[1])  # type: ignore[index]


@dataclass(frozen=True)
class Row:
    """Another value of an option, and what it changes.

    Args:
        base: a key of BASES: the command without it.
        typed: "option=value"; further words, after blanks, are of the same command only.
        differs: a pattern of what it changes: files left by the command, or "@code", "@said",
            "@files" (which there are), "@folders", "@threads", "@processes", "@states" (how often
            state.pt was written).
        beside: words of both commands, without which the option would have no effect; "-option"
            takes that of the base away.
        same: a pattern of what it leaves as it is, for an option that changes no result.
        again: it requests more of what the base has left, and is typed in the same folder.
        slow: it takes long.
    """

    base: str
    typed: str
    differs: str
    beside: str = ""
    same: str = ""
    again: bool = False
    slow: bool = False


# Of lines and planes between saved networks, which have no TensorBoard.
LOOK = "runtime.device=cpu runtime.progress=false runtime.num_threads=1"
QUIET = "runtime.tensorboard=false runtime.device=cpu runtime.progress=false"
NET = "model=mlp model.width=4 model.depth=1"
SMALL = (
    "dataset=digits dataset.subsample_fraction=0.1 dataset.val_fraction=0.05 scheduler=constant "
    "averaged=none hparams.batch_size=32"
)
TINY = f"{SMALL} {NET} {QUIET} hparams.steps=12it"
CLUSTERS = f"dataset=clusters scheduler=constant averaged=none hparams.batch_size=64 {QUIET}"
CHILDREN = f"{TINY} runtime.num_threads=1"

IMAGES = (
    "dataset=imagefolder dataset.root=<images> dataset.test_folder=test dataset.augment=false "
    f"dataset.image_size=8 scheduler=constant averaged=none {NET} {QUIET} hparams.steps=2it "
    "hparams.batch_size=4"
)
STREAMED = (
    "dataset=imagenet dataset.root=<images> dataset.folder=imagenet dataset.image_size=8 "
    "dataset.resize=10 dataset.augment=false dataset.val_fraction=0.2"
)
RESIDUAL = "model=resnet20 model.depth=8 model.width=2"
STUDENTS = (
    "extraction.num_samples=200 extraction.batch_size=50 extraction.num_students=4 "
    "extraction.lr=0.01 extraction.epochs=60 extraction.patience=20 extraction.cooldown=5 "
    "extraction.finetune_lr=0.01 extraction.finetune_epochs=20 "
    "runtime.device=cpu runtime.num_threads=1 runtime.progress=false"
)

# A command of each kind by its name, the script first. <name:pattern> is a file that another one
# has left, <made> a folder of tables, <images> one of images.
BASES = {
    "train": f"train {TINY}",
    "residual": f"train {SMALL} {RESIDUAL} {QUIET} hparams.steps=2it",
    "cnn": f"train {SMALL} model=cnn {QUIET} hparams.steps=2it",
    "clusters": f"train {CLUSTERS} {NET} hparams.steps=6it",
    "function": f"train {CLUSTERS} {NET} hparams.steps=6it dataset=function_1d",
    "wide": f"train {CLUSTERS} model=mlp model.width=4 model.depth=2 hparams.steps=6it",
    "averaged": f"train {TINY} averaged=ema averaged.decay=0.5",
    "images": f"train {IMAGES}",
    "streamed": (
        f"train {STREAMED} runtime.num_workers=0 scheduler=constant averaged=none {NET} "
        f"{QUIET} hparams.steps=2it hparams.batch_size=4"
    ),
    "tiny": (
        "train dataset=tiny_imagenet dataset.root=<images> dataset.val_fraction=0 "
        f"dataset.augment=false scheduler=constant averaged=none {NET} {QUIET} "
        "hparams.steps=2it hparams.batch_size=3"
    ),
    "mnist": (
        "train dataset=mnist dataset.root=<images> dataset.augment=false "
        f"scheduler=constant averaged=none {NET} {QUIET} hparams.steps=2it "
        "hparams.batch_size=3"
    ),
    "network": f"train {TINY} averaged=ema averaged.decay=0.5 snapshots=[2it,4it,8it]",
    "second": f"train {TINY} global_seed=2",
    "kept": f"train {TINY} global_seed=5 snapshots=[3it,5it]",
    "third": f"train {TINY} global_seed=3",
    "normalized": (
        f"train {IMAGES} -model.width -model.depth {RESIDUAL} hparams.steps=8it snapshots=[2it,6it]"
    ),
    "eval": "eval checkpoint=<network:step_12.safetensors> runtime.device=cpu",
    "eval_images": (
        "eval checkpoint=<images:step_2.safetensors> dataset=imagefolder "
        "dataset.root=<images> dataset.test_folder=test runtime.device=cpu"
    ),
    "eval_streamed": (
        "eval checkpoint=<streamed:step_2.safetensors> dataset.root=<images> "
        "runtime.num_workers=0 runtime.device=cpu"
    ),
    "eval_normalized": (
        "eval checkpoint=<normalized:step_8.safetensors> dataset=imagefolder "
        "dataset.root=<images> dataset.test_folder=test runtime.device=cpu"
    ),
    "average_images": (
        "average checkpoints=[<images:step_2.safetensors>] dataset=imagefolder "
        "dataset.root=<images> dataset.test_folder=test runtime.device=cpu"
    ),
    "average_streamed": (
        "average checkpoints=[<streamed:step_2.safetensors>] dataset.root=<images> "
        "runtime.num_workers=0 runtime.device=cpu"
    ),
    "average_normalized": (
        "average run=<normalized:seed_1> dataset=imagefolder dataset.root=<images> "
        "dataset.test_folder=test runtime.device=cpu"
    ),
    "average": "average run=<network:seed_1> runtime.device=cpu",
    "spawn": (
        f"spawn {CHILDREN} spawn_steps=[0ep] child_seeds=[1,2] child_length=6it child_steps=[6it]"
    ),
    "interpolate": f"interpolate {CHILDREN} k1=1 k2=[1] alphas=3 -hparams.steps hparams.epochs=2",
    "line": (
        "interpolate start=<network:step_12.safetensors> end=<second:step_12.safetensors> "
        f"alphas=3 {LOOK}"
    ),
    "plane": (
        "interpolate "
        "plane=[<network:step_12.safetensors>,<second:step_12.safetensors>,"
        "<third:step_12.safetensors>] "
        f"points=3 {LOOK}"
    ),
    "prune": f"prune {CHILDREN} levels=1 pruning.fraction=0.5",
    "tune": (
        f"tune {TINY} maximize_averaged=false hydra.sweeper.n_trials=1 "
        "hydra/sweeper/sampler=random hydra.sweeper.sampler.seed=1 optimizer.lr=0.1 "
        "optimizer.weight_decay=1e-4 dataset.val_fraction=0.2 "
        "'optimizer.momentum=interval(0.1,0.9)'"
    ),
    "extract": (
        "extract teacher=synthetic synthetic.num_inputs=3 synthetic.width=2 synthetic.seed=1 "
        f"{STUDENTS}"
    ),
    "extract_saved": (
        "extract teacher=<network:step_12.safetensors> extraction.datagen=digits "
        f"{STUDENTS} extraction.beta=1.5"
    ),
    "plots": "plots figure=compare compare.x=scheduler runs=<made>/train_* style.dpi=40",
}

"""What another value of each option of a training changes."""

from tests.scripts.option_commands import METRICS, RESIDUAL, RESULT, STREAMED, WEIGHTS, Row, key

# Options of every training, by the script train.py; and for the scripts that train in other ways.
TRAINING = [
    ("dataset=clusters", WEIGHTS, "hparams.batch_size=8"),
    ("model=lenet_300_100", WEIGHTS, ""),
    ("optimizer=adam", WEIGHTS, "-optimizer.weight_decay -optimizer.momentum -optimizer.lr"),
    ("scheduler=cosine", WEIGHTS, ""),
    ("averaged=ema", "*ema*.safetensors|*averages.csv|*lines.csv", ""),
    ("parametrization=mup", WEIGHTS, ""),
    ("hparams.epochs=3", WEIGHTS, "-hparams.steps"),
    ("hparams.steps=13it", WEIGHTS, "-hparams.epochs scheduler=cosine"),
    ("hparams.batch_size=16", WEIGHTS, ""),
    ("hparams.grad_clip_max_norm=0.1", WEIGHTS, ""),
    ("hparams.patience=1", WEIGHTS, "-hparams.steps hparams.epochs=9 optimizer.lr=5"),
    (
        "hparams.patience_model=averaged",
        WEIGHTS,
        (
            "-hparams.steps hparams.epochs=12 optimizer.lr=0.3 hparams.patience=1 "
            "averaged=ema averaged.decay=0.9"
        ),
    ),
    ("seeds.initialization=7", WEIGHTS, ""),
    ("seeds.data_order=7", WEIGHTS, ""),
    ("seeds.augmentation=7", WEIGHTS, "dataset.augment=true"),
    ("seeds.dropout=7", WEIGHTS, "-model.width -model.depth model=cnn"),
    ("seeds.label_noise=7", WEIGHTS, "dataset.random_labels_fraction=0.5"),
    ("precision=bf16", WEIGHTS, ""),
    ("global_seed=2", WEIGHTS, ""),
    ("runtime.device=toaster", "@code", ""),
    ("runtime.num_threads=2", "@threads", ""),
    ("runtime.progress=true", "@said", ""),
    ("runtime.tensorboard=true", "@files", ""),
    ("runtime.save_every=0", "@states", ""),
    ("runtime.channels_last=false", "@format", f"-model.width -model.depth {RESIDUAL}"),
    ("runtime.compile=true", "@compiled", ""),
    ("output_dir=elsewhere", "@folders", ""),
    ("save_predictions=false", "@files", ""),
]
DECODING = (
    "runtime.num_workers=1",
    "@processes",
    f"-dataset.subsample_fraction {STREAMED} hparams.batch_size=4 runtime.num_workers=0",
)
UNCHANGED = {"runtime", "output_dir", "save_predictions"}  # which change no result


def training_rows(base: str, slow: bool = False, **patterns: str) -> list[Row]:
    """Rows of the options of every training for one script, some with patterns of their own."""
    rows = [
        Row(
            base,
            typed,
            patterns.get(key(typed), differs),
            beside,
            same=WEIGHTS
            if typed.partition("=")[0].partition(".")[0] in UNCHANGED
            and differs not in ("@code", "@format")
            else "",
            slow=slow,
        )
        for typed, differs, beside in [*TRAINING, *[DECODING] * slow]
    ]
    return rows


TRAIN = [
    *training_rows("train"),
    Row("train", "snapshots=[3it]", "*step_3.safetensors", again=True),
    Row("train", "save_weights=false", "@files", same="*predictions.npz"),
    Row("train", "diagnostics.steps=[0it,2it]", METRICS, same=WEIGHTS),
    Row("train", "diagnostics.ranks=[0it,2it]", METRICS, same=WEIGHTS),
    Row("train", "diagnostics.examples=5", METRICS, "diagnostics.steps=[0it,2it]", same=WEIGHTS),
    Row("streamed", "runtime.num_workers=1", "@processes", same=WEIGHTS, slow=True),
    Row("train", "pretrain.weights=<network:step_12.safetensors>", WEIGHTS),
    # data sets
    Row("train", "dataset.val_fraction=0.2", WEIGHTS),
    Row("train", "dataset.val_seed=5", WEIGHTS),
    Row("train", "dataset.augment=true", WEIGHTS),
    Row("train", "dataset.cutout=3", WEIGHTS),
    Row("train", "dataset.subsample_fraction=0.2", WEIGHTS),
    Row("train", "dataset.subsample_seed=5", WEIGHTS),
    Row("train", "dataset.random_labels_fraction=0.5", WEIGHTS),
    Row("train", "dataset.blur_factor=2", WEIGHTS),
    Row("train", "dataset.test=false", RESULT),
    Row("train", "dataset.unsupervised_labels=rotation", WEIGHTS),
    Row("clusters", "dataset.k=2", WEIGHTS),
    Row("clusters", "dataset.r=2", WEIGHTS),
    Row("clusters", "dataset.num_features=9", WEIGHTS),
    Row("clusters", "dataset.num_train=99", WEIGHTS),
    Row("clusters", "dataset.num_test=99", RESULT),
    Row("clusters", "dataset.seed=5", WEIGHTS),
    Row("function", "dataset.num_points=7", WEIGHTS),
    Row("function", "dataset.seed=5", WEIGHTS),
    Row("images", "dataset.root=<images>/inner", WEIGHTS),
    Row("images", "dataset.folder=inner", WEIGHTS),
    Row("images", "dataset.test_folder=val", RESULT),
    Row("images", "dataset.image_size=4", WEIGHTS),
    Row("images", "dataset.mean=[0.1,0.2,0.3]", WEIGHTS),
    Row("images", "dataset.std=[0.1,0.2,0.3]", WEIGHTS),
    Row("images", "dataset.augment=true", WEIGHTS),
    Row("images", "dataset.cache_dir=kept", "@folders", same=WEIGHTS),
    *[
        Row("streamed", f"dataset.{value}", WEIGHTS)
        for value in (
            "folder=other",
            "image_size=6",
            "resize=15",
            "mean=[0.1,0.2,0.3]",
            "std=[0.1,0.2,0.3]",
            "augment=true",
        )
    ],
    *[
        Row("tiny", f"dataset.{value}", WEIGHTS)
        for value in (
            "folder=tiny",
            "image_size=32",
            "mean=[0.1,0.2,0.3]",
            "std=[0.1,0.2,0.3]",
            "augment=true",
        )
    ],
    Row("tiny", "dataset.cache_dir=kept", "@folders", same=WEIGHTS),
    Row("mnist", "dataset.augment=true", WEIGHTS),
    Row("mnist", "dataset.augment=true", WEIGHTS, "dataset=fashion_mnist"),
    *[
        Row("mnist", "dataset.augment=true", WEIGHTS, f"dataset={name}", slow=True)
        for name in ("cifar10", "cifar100")
    ],
    # models
    Row("train", "model.width=5", WEIGHTS),
    Row("train", "model.depth=2", WEIGHTS),
    Row("train", "model.activation=tanh", WEIGHTS),
    Row("train", "model.bias=false", WEIGHTS),
    Row("train", "model.init=orthogonal", WEIGHTS),
    Row("train", "model.freeze=[output]", WEIGHTS),
    Row("train", "model.freeze_exceptions=[output.bias]", WEIGHTS, "model.freeze=[output]"),
    Row("residual", "model.bn_init=uniform", WEIGHTS),
    Row("residual", "model.depth=14", WEIGHTS),
    Row("residual", "model.width=3", WEIGHTS),
    Row("residual", "model.shortcut=projection", WEIGHTS),
    Row("residual", "model.norm=layer", WEIGHTS),
    Row("cnn", "model.dropout=0.1", WEIGHTS),
    *[
        Row(
            "images",
            f"model.{value}",
            WEIGHTS,
            "-model.width -model.depth model=resnet18 model.width=2 model.stem=cifar",
        )
        for value in ("width=3", "depth=34", "stem=imagenet")
    ],
    Row("images", "model.depth=4", WEIGHTS, "-model.width -model.depth model=conv2"),
    Row(
        "images",
        "model.depth=13",
        WEIGHTS,
        "-model.width -model.depth dataset.image_size=32 model=vgg11",
        slow=True,
    ),
    Row(
        "tiny",
        "model.dropout=0.1",
        METRICS,
        "-model.width -model.depth model=alexnet save_weights=false",
        slow=True,
    ),
    # optimizers
    Row("train", "optimizer.lr=0.2", WEIGHTS),
    Row("train", "optimizer.momentum=0.5", WEIGHTS),
    Row("train", "optimizer.weight_decay=0.1", WEIGHTS),
    Row("train", "optimizer.nesterov=true", WEIGHTS),
    *[
        Row("train", f"optimizer.{value}", WEIGHTS, f"optimizer={name}")
        for name in ("adam", "adamw")
        for value in ("lr=0.2", "beta1=0.5", "beta2=0.5", "eps=1e-2", "weight_decay=0.1")
    ],
    *[
        Row("train", f"optimizer.{value}", WEIGHTS, "optimizer=lookahead")
        for value in ("lr=0.2", "momentum=0.5", "weight_decay=0.1", "period=2", "alpha=0.5")
    ],
    # schedules
    Row("train", "scheduler.warmup=4it", WEIGHTS),
    *[
        Row("train", "scheduler.warmup=4it", WEIGHTS, f"scheduler={n}")
        for n in ("cosine", "linear")
    ],
    *[
        Row(
            "train", f"scheduler.{value}", WEIGHTS, "scheduler=multistep scheduler.milestones=[4it]"
        )
        for value in ("milestones=[5it]", "gamma=0.5", "warmup=2it")
    ],
    Row("train", "scheduler.period=4it", WEIGHTS, "scheduler=step_effnet scheduler.period=3it"),
    Row("train", "scheduler.gamma=0.5", WEIGHTS, "scheduler=step_effnet scheduler.period=3it"),
    *[
        Row(
            "train",
            f"scheduler.{value}",
            WEIGHTS,
            "scheduler=plateau scheduler.patience=0 optimizer.lr=5 -hparams.steps hparams.epochs=8",
        )
        for value in ("gamma=0.5", "patience=1", "cooldown=2", "threshold=0.9", "min_factor=0.2")
    ],
    # averages
    Row("averaged", "averaged.decay=0.7", "*.ema_*.safetensors"),
    Row("residual", "averaged.bn=reset", "*.ema_*.safetensors", "averaged=ema averaged.decay=0.5"),
    *[
        Row(
            "residual",
            f"averaged.{value}",
            "*.swa*.safetensors",
            "averaged=swa averaged.start=3it averaged.every=2it hparams.steps=8it",
        )
        for value in ("start=5it", "every=1it", "bn=reset")
    ],
    *[
        Row(
            "residual",
            f"averaged.{value}",
            "*.latest*.safetensors",
            "averaged=latest averaged.num=2 averaged.every=2it hparams.steps=8it",
        )
        for value in ("num=3", "every=1it", "bn=reset")
    ],
    # parametrizations
    *[
        Row("wide", f"parametrization.{value}", WEIGHTS, "parametrization=mup optimizer=sgd")
        for value in ("a=[0,0,0.5]", "b=[0,0.5,0.5]", "c=[0,-1,0]", "std=2", "mean=1")
    ],
    Row("wide", "parametrization.c_adam=[0,1,0]", WEIGHTS, "parametrization=mup optimizer=adam"),
    *[
        Row(
            "wide",
            f"parametrization.{value}",
            WEIGHTS,
            "parametrization=ipllr optimizer=sgd model.activation=tanh",
        )
        for value in (
            "warmup_steps=2",
            "calibrate_lrs=false",
            "cap=0.1",
            "output_change=0.2",
            "random_biases=true",
            "std=2",
        )
    ],
    *[
        Row(
            "wide",
            f"parametrization.{value}",
            WEIGHTS,
            "parametrization=mean_field optimizer=sgd model.depth=1",
        )
        for value in ("a=[0,0.5]", "b=[0,0.5]", "c=[0,-1]", "std=2")
    ],
    Row("wide", "parametrization.mean=1", "@code", "parametrization=mean_field model.depth=1"),
    Row(
        "wide",
        "parametrization.c_adam=[0,1]",
        WEIGHTS,
        "parametrization=mean_field optimizer=adam model.depth=1",
    ),
]

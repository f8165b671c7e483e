"""What another value of each option of the other scripts changes; and options without effect."""

import re
from dataclasses import replace

from tests.scripts.option_commands import PIXELS, RESIDUAL, RESULT, WEIGHTS, Row
from tests.scripts.option_rows import TRAIN, training_rows

STUDIES = [
    # eval.py
    Row("eval", "checkpoint=<network:step_12.ema_0.5.safetensors>", RESULT),
    Row("eval", "dataset=clusters", "@code"),
    Row("eval_images", "dataset.root=<images>/inner", RESULT),
    Row("eval", "dataset.val_fraction=0.3", RESULT),
    Row("eval", "dataset.val_seed=5", RESULT),
    Row("eval", "dataset.subsample_fraction=0.3", RESULT),
    Row("eval", "dataset.subsample_seed=5", RESULT),
    Row("eval", "dataset.random_labels_fraction=0.5", RESULT),
    Row("eval", "dataset.blur_factor=2", RESULT),
    Row("eval", "dataset.test=false", RESULT),
    Row("eval", "splits=[test]", RESULT),
    Row("eval_normalized", "bn=reset", RESULT),
    Row("eval", "allow_nonfinite=true", "@code", "checkpoint=<nan>"),
    Row("eval", "precision=bf16", RESULT),
    Row("eval", "output_dir=elsewhere", "@folders", same=RESULT),
    Row("eval", "runtime.device=toaster", "@code"),
    Row("eval", "runtime.num_threads=2", "@threads", same=RESULT),
    Row("eval_streamed", "runtime.num_workers=1", "@processes", same=RESULT, slow=True),
    Row("eval_normalized", "runtime.channels_last=false", "@format"),
    # average.py
    Row(
        "average",
        "checkpoints=[<network:step_2.safetensors>,<kept:step_3.safetensors>]",
        WEIGHTS,
        "-run checkpoints=[<network:step_2.safetensors>,<kept:step_5.safetensors>]",
    ),
    Row("average", "run=<kept:seed_5>", WEIGHTS),
    Row("average", "steps=[2it,12it]", WEIGHTS),
    Row("average", "kind=ema_0.5", WEIGHTS, "kind=plain"),
    Row("average", "method=ema decay=0.5", WEIGHTS),
    Row("average", "method=greedy_soup", WEIGHTS),
    Row("average", "weights=[1,2,3,4]", WEIGHTS, "method=weighted weights=[1,1,1,1]"),
    Row("average", "decay=0.7", WEIGHTS, "method=ema decay=0.5"),
    Row("average", "num=3", WEIGHTS, "method=latest num=2"),
    Row("average_normalized", "bn=average", WEIGHTS),
    Row("average", "splits=[test]", RESULT),
    Row("average", "dataset=clusters", "@code"),
    Row("average_images", "dataset.root=<images>/inner", RESULT),
    Row("average", "dataset.val_fraction=0.3", RESULT),
    Row("average", "precision=bf16", RESULT),
    Row("average", "output_dir=elsewhere", "@folders", same=RESULT),
    Row("average", "runtime.device=toaster", "@code"),
    Row("average", "runtime.num_threads=2", "@threads", same=RESULT),
    Row("average_streamed", "runtime.num_workers=1", "@processes", same=RESULT, slow=True),
    Row("average_normalized", "runtime.channels_last=false", "@format"),
    # spawn.py
    *training_rows("spawn", slow=True),
    Row("spawn", "runtime.num_jobs=2", "@processes", same=WEIGHTS, slow=True),
    Row("spawn", "snapshots=[3it]", "*parent/weights/step_3.safetensors", again=True),
    Row("spawn", "dataset@pretrain.dataset=digits", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("spawn", "optimizer@pretrain.optimizer=adam", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("spawn", "scheduler@pretrain.scheduler=cosine", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("spawn", "pretrain.hparams.steps=3it", WEIGHTS),
    Row("spawn", "pretrain.weights=<network:step_12.safetensors>", WEIGHTS),
    Row("spawn", "vary=[augmentation]", WEIGHTS, "dataset.augment=true"),
    Row("spawn", "spawn_steps=[0ep,3it]", "*children/*.safetensors", again=True),
    Row(
        "spawn",
        "spawn_step=3it",
        "*children/*.safetensors",
        "-spawn_steps spawn_step=0it",
        again=True,
    ),
    Row("spawn", "only=1", "*children/*.safetensors", "spawn_steps=[0ep,3it] only=0", again=True),
    Row("spawn", "child_seeds=[1,2,3]", "*children/*.safetensors", again=True),
    Row("spawn", "child_steps=[3it]", "*children/*step_3.safetensors", again=True),
    Row("spawn", "child_length=7it", "*children/*.safetensors", again=True),
    Row("spawn", "averages=[back_plus_one]", "*averages.csv", again=True),
    Row(
        "spawn",
        "num_children=[3]",
        "*avg_across/*.csv",
        "child_seeds=[1,2,3] num_children=[2]",
        again=True,
    ),
    Row(
        "spawn",
        "models=[plain,averaged]",
        "*averages.csv",
        "averaged=ema averaged.decay=0.5 models=[plain]",
        again=True,
    ),
    Row("spawn", "bn=average", "*averages.csv", f"-model.width {RESIDUAL}", again=True),
    Row("spawn", "splits=[val]", "*averages.csv", again=True),
    Row("spawn", "save_averages=true", "*avg*.safetensors", again=True),
    Row("spawn", "split_merge.num_legs=2", WEIGHTS, again=True),
    Row("spawn", "split_merge.strategy=decrease_lr", WEIGHTS, "split_merge.num_legs=2"),
    # interpolate.py
    *training_rows(
        "interpolate",
        slow=True,
        **{"hparams.patience": "@code", "hparams.patience_model": "@code|*.safetensors"},
    ),
    Row(
        "interpolate",
        "runtime.num_jobs=2",
        "@processes",
        "child_seeds=[2,3]",
        same=WEIGHTS,
        slow=True,
    ),
    Row("interpolate", "snapshots=[3it]", "*step_3.safetensors", again=True),
    Row("interpolate", "dataset@pretrain.dataset=digits", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("interpolate", "optimizer@pretrain.optimizer=adam", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row(
        "interpolate", "scheduler@pretrain.scheduler=cosine", WEIGHTS, "pretrain.hparams.steps=3it"
    ),
    Row("interpolate", "pretrain.hparams.steps=3it", WEIGHTS),
    Row("interpolate", "pretrain.weights=<network:step_12.safetensors>", WEIGHTS),
    Row("interpolate", "vary=[augmentation]", WEIGHTS, "dataset.augment=true"),
    Row("interpolate", "k1=0", "*lines.csv", again=True),
    Row("interpolate", "k2=[3it]", "*lines.csv", again=True),
    Row("interpolate", "child_seeds=[3]", "*lines.csv", again=True),
    Row("interpolate", "alphas=5", "*lines.csv", again=True),
    Row("interpolate", "refine=3", "*lines.csv", again=True),
    Row("interpolate", "align=weights", "*lines.csv", again=True),
    Row("interpolate", "bn=repair", "*lines.csv", again=True),
    Row("interpolate", "splits=[val]", "*lines.csv", again=True),
    Row("line", "start=<third:step_12.safetensors>", "*lines.csv"),
    Row("line", "end=<third:step_12.safetensors>", "*lines.csv"),
    Row("line", "alphas=5", "*lines.csv", again=True),
    Row("line", "refine=3", "*lines.csv", again=True),
    Row("line", "align=activations", "*lines.csv", again=True),
    Row("line", "bn=repair", "*lines.csv", again=True),
    Row("line", "splits=[val]", "*lines.csv", again=True),
    Row("line", "precision=bf16", "*lines.csv"),
    Row("line", "dataset.val_fraction=0.3", "*lines.csv"),
    Row(
        "plane",
        (
            "plane=[<network:step_12.safetensors>,<third:step_12.safetensors>,<kept:step_12.safetensors>]"
        ),
        "*plane.csv",
    ),
    Row("plane", "project=[<kept:step_12.safetensors>]", "*plane_networks.csv", again=True),
    Row("plane", "points=5", "*plane.csv", again=True),
    Row("plane", "margin=0.5", "*plane.csv"),
    Row("plane", "align=weights", "*plane.csv"),
    Row(
        "plane",
        "bn=average",
        "*plane.csv",
        (
            "dataset=imagefolder dataset.root=<images> dataset.test_folder=test "
            "plane=[<normalized:step_2.safetensors>,<normalized:step_6.safetensors>,<normalized:step_8.safetensors>]"
        ),
    ),
    Row("plane", "splits=[val]", "*plane.csv", again=True),
    # prune.py
    *training_rows("prune", slow=True),
    Row("prune", "snapshots=[3it]", "*step_3.safetensors", again=True),
    Row("prune", "dataset@pretrain.dataset=digits", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("prune", "optimizer@pretrain.optimizer=adam", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("prune", "scheduler@pretrain.scheduler=cosine", WEIGHTS, "pretrain.hparams.steps=3it"),
    Row("prune", "pretrain.hparams.steps=3it", WEIGHTS),
    Row("prune", "pretrain.weights=<network:step_12.safetensors>", WEIGHTS),
    Row("prune", "pruning=random", WEIGHTS),
    *[
        Row("prune", "pruning.fraction=0.3", "*level_1/*.safetensors", f"pruning={name}")
        for name in ("fc19", "han", "random", "sparse_global")
    ],
    *[
        Row(
            "prune",
            "pruning.ignore=[hidden.0]",
            "*level_1/*.safetensors",
            f"pruning={name} model.depth=2",
        )
        for name in ("fc19", "han", "random", "sparse_global")
    ],
    Row("prune", "pruning.seed=5", "*level_1/*.safetensors", "pruning=random"),
    Row("prune", "levels=2", "*level_2/*.safetensors", again=True),
    Row(
        "prune", "one_shot=0.7", "*level_1/*.safetensors", "-levels -pruning.fraction one_shot=0.5"
    ),
    Row("prune", "rewind=lr", "*level_1/*.safetensors"),
    Row("prune", "rewind_step=3it", "*level_1/*.safetensors"),
    Row("prune", "retrain_lr=0.3", "*level_1/*.safetensors", "rewind=none"),
    Row("prune", "branch=randomly_reinitialize", "*randomly_reinitialize*.safetensors", again=True),
    Row(
        "prune",
        "branch_levels=[1]",
        "*randomly_reinitialize*.safetensors",
        "branch=randomly_reinitialize levels=2 branch_levels=[2]",
        again=True,
    ),
    Row(
        "prune",
        "randomly_prune.strategy=global",
        "*randomly_prune*.safetensors",
        "branch=randomly_prune model.depth=2",
        again=True,
    ),
    Row(
        "prune",
        "randomly_prune.start_at=end",
        "*randomly_prune*.safetensors",
        "branch=randomly_prune",
        again=True,
    ),
    Row(
        "prune",
        "randomly_prune.seed=5",
        "*randomly_prune*.safetensors",
        "branch=randomly_prune",
        again=True,
    ),
    Row(
        "prune",
        "randomly_reinitialize.start_at=init",
        "*randomly_reinitialize*.safetensors",
        "branch=randomly_reinitialize rewind_step=3it",
        again=True,
    ),
    Row(
        "prune",
        "randomly_reinitialize.seed=5",
        "*randomly_reinitialize*.safetensors",
        "branch=randomly_reinitialize",
        again=True,
    ),
    Row(
        "prune",
        "dataset@retrain.dataset=digits",
        "*retrain*.safetensors",
        "branch=retrain retrain.hparams.steps=3it",
        again=True,
    ),
    Row(
        "prune",
        "optimizer@retrain.optimizer=adam",
        "*retrain*.safetensors",
        "branch=retrain retrain.hparams.steps=3it",
        again=True,
    ),
    Row(
        "prune",
        "scheduler@retrain.scheduler=cosine",
        "*retrain*.safetensors",
        "branch=retrain retrain.hparams.steps=3it",
        again=True,
    ),
    Row(
        "prune",
        "retrain.hparams.steps=4it",
        "*retrain*.safetensors",
        "branch=retrain retrain.hparams.steps=3it",
        again=True,
    ),
    Row(
        "prune",
        "retrain.start_at=init",
        "*retrain*.safetensors",
        "branch=retrain retrain.hparams.steps=6it rewind_step=3it",
        again=True,
    ),
    Row(
        "prune",
        "instability.seeds=[1,2,3]",
        "*instability.csv",
        "branch=instability instability.alphas=3",
        again=True,
    ),
    Row(
        "prune",
        "instability.vary=[augmentation]",
        "*instability.csv",
        "branch=instability instability.alphas=3 dataset.augment=true",
        again=True,
    ),
    Row(
        "prune",
        "instability.alphas=5",
        "*instability.csv",
        "branch=instability instability.alphas=3",
        again=True,
    ),
    Row(
        "prune",
        "instability.bn=repair",
        "*instability.csv",
        "branch=instability instability.alphas=3",
        again=True,
    ),
    Row(
        "prune",
        "instability.splits=[val]",
        "*instability.csv",
        "branch=instability instability.alphas=3",
        again=True,
    ),
    Row("prune", "compare=[<prune:seed_1>]", "*figures/*.csv", "pruning.fraction=0.3"),
    # tune.py
    *training_rows("tune", slow=True, **{"runtime.device": "@code|*trials.csv"}),
    Row("tune", "snapshots=[3it]", "*step_3.safetensors", slow=True),
    Row("tune", "maximize_averaged=true", "*trials.csv", "averaged=ema averaged.decay=0.5"),
    Row("tune", "hydra.sweeper.n_trials=2", "*trials.csv", again=True),
    Row("tune", "hydra.sweeper.storage=sqlite:///other.db", "@files", slow=True),
    Row(
        "tune",
        "hydra.sweeper.study_name=mine",
        "@said",
        "hydra.sweeper.study_name=other",
        slow=True,
    ),
    Row("tune", "hydra.sweeper.direction=minimize", "@code"),
    Row(
        "tune",
        "hydra/sweeper/sampler=tpe hydra.sweeper.sampler.n_startup_trials=1",
        "*trials.csv",
        "hydra.sweeper.n_trials=4",
        slow=True,
    ),
    Row("tune", "hydra.sweeper.sampler.seed=2", "*trials.csv", slow=True),
    Row(
        "tune",
        "hydra.sweeper.n_jobs=2",
        "@said",
        "hydra.sweeper.n_trials=2 hydra/launcher=joblib",
        slow=True,
    ),
    # extract.py
    Row(
        "extract",
        "teacher=<network:step_12.safetensors>",
        WEIGHTS,
        (
            "-synthetic.num_inputs -synthetic.width -synthetic.seed extraction.beta=1.5 "
            "teacher=<second:step_12.safetensors>"
        ),
    ),
    *[
        Row("extract", f"synthetic.{value}", WEIGHTS)
        for value in ("num_inputs=2", "width=3", "num_outputs=2", "activation=sigmoid", "seed=5")
    ],
    Row(
        "extract", "extraction.gamma=0.75", "*cluster*.csv|*reconstruction.safetensors", again=True
    ),
    Row("extract", "extraction.beta=1.2", "*cluster*.csv|*reconstruction.safetensors", again=True),
    Row("extract_saved", "extraction.mask=variance", "*clustering*/*.csv", again=True),
    Row(
        "extract",
        "extraction.affine=skip",
        "*reconstruction.safetensors",
        "synthetic.activation=relu extraction.epochs=600 extraction.beta=0.5",
        again=True,
    ),
    Row(
        "extract",
        "extraction.refit_epochs=9",
        "*reconstruction.safetensors",
        "synthetic.width=[2,2] extraction.beta=1.5 extraction.refit_epochs=5",
        again=True,
    ),
    Row("extract", "extraction.finetune_epochs=9", "*reconstruction.safetensors", again=True),
    Row("extract", "extraction.finetune_lr=0.02", "*reconstruction.safetensors", again=True),
    Row("extract", "extraction.datagen=uniform", WEIGHTS),
    Row("extract", "extraction.num_samples=150", WEIGHTS),
    Row("extract", "extraction.span=2", WEIGHTS, "extraction.datagen=uniform"),
    Row(
        "extract",
        "extraction.file=<inputs>/b.npz",
        WEIGHTS,
        "extraction.num_samples=50 extraction.datagen=file extraction.file=<inputs>/a.npz",
    ),
    Row("extract", "extraction.num_students=5", WEIGHTS),
    Row("extract", "extraction.expansion=2", WEIGHTS),
    Row("extract", "extraction.width=5", WEIGHTS),
    Row("extract", "extraction.activation=sigmoid", WEIGHTS),
    Row("extract", "extraction.lr=0.02", WEIGHTS),
    Row("extract", "extraction.batch_size=40", WEIGHTS),
    Row("extract", "extraction.epochs=50", WEIGHTS),
    Row(
        "extract",
        "extraction.factor=0.5",
        WEIGHTS,
        "extraction.lr=0.1 extraction.beta=1.5 extraction.patience=0 extraction.cooldown=2",
    ),
    Row(
        "extract",
        "extraction.patience=1",
        WEIGHTS,
        "extraction.lr=0.1 extraction.beta=1.5 extraction.patience=0 extraction.cooldown=2",
    ),
    Row(
        "extract",
        "extraction.cooldown=4",
        WEIGHTS,
        "extraction.lr=0.1 extraction.beta=1.5 extraction.patience=0 extraction.cooldown=2",
    ),
    Row(
        "extract",
        "extraction.min_lr=0.004",
        WEIGHTS,
        "extraction.lr=0.1 extraction.beta=1.5 extraction.patience=0 extraction.cooldown=2",
    ),
    Row(
        "extract",
        "dataset.root=/nowhere",
        "@code|@files",
        (
            "dataset.root=<images> extraction.datagen=mnist synthetic.num_inputs=784 "
            "extraction.epochs=9 extraction.num_samples=18 "
        ),
    ),
    Row("extract", "global_seed=2", WEIGHTS),
    Row("extract", "output_dir=elsewhere", "@folders", same=WEIGHTS),
    Row("extract", "runtime.device=toaster", "@code"),
    Row("extract", "runtime.num_threads=2", "@threads", slow=True),
    Row("extract", "runtime.progress=true", "@said", same=WEIGHTS),
    Row("extract", "runtime.save_every=0", "@states", same=WEIGHTS),
    # plots.py
    Row("plots", "figure=lr_table", PIXELS, "-compare.x figure=ema_study"),
    Row(
        "plots", "runs=<made>/train_constant_0.1", "*plots/*.csv", "runs=<made>/train_multistep_0.1"
    ),
    Row("plots", "where={scheduler:multistep}", "*plots/*.csv", "runs=<made>/train_*"),
    *[
        Row(
            "plots",
            f"persistence.{value}",
            "*persistence_barcode.csv",
            "-compare.x figure=persistence runs=<network:seed_1> images=false",
        )
        for value in ("sort=random", "num_examples=2", "examples=[77]")
    ],
    Row("plots", "window=2", "*.csv", "-compare.x figure=mismatch_over_time"),
    Row("plots", "compare.x=averaged.decay", PIXELS, "compare.hue=scheduler"),
    Row("plots", "compare.metric=loss", PIXELS),
    Row("plots", "compare.split=val", "*plots/*.csv", "runs=<network:seed_1>"),
    Row("plots", "compare.model=ema_0.9", "*plots/*.csv"),
    Row("plots", "compare.hue=model", PIXELS),
    Row("plots", "epochs=[2,4]", "*plots/*.csv", "-compare.x figure=misclassification"),
    Row("plots", "images=false", "@files", "-compare.x figure=persistence runs=<network:seed_1>"),
    *[
        Row("plots", f"style.{value}", PIXELS)
        for value in (
            "font_size=12",
            "line_width=3",
            "scale=1.3",
            "background=grey",
            "foreground=blue",
            "grid=red",
            "dpi=50",
        )
    ],
    Row("plots", "style.marker_size=9", PIXELS, "-compare.x runs=<made>/tune_1 figure=history"),
    Row("plots", "size=[4,3]", PIXELS),
    *[
        Row("plots", f"labels.{name}=word", PIXELS, "compare.hue=model")
        for name in ("title", "x", "y", "legend")
    ],
    Row("plots", "colours=magma", PIXELS, "compare.hue=model"),
    Row("plots", "output_dir=elsewhere", "@folders", same=PIXELS),
]

# Rows that take long: trials are trainings, studies several; what is in every study stays.
LONG = re.compile(
    r"tune|(interpolate|prune) \S*pretrain|prune (pruning[.]|random|\S*retrain[.]|branch|instab)"
    r"|spawn (bn|split_merge[.]strategy|models|only|spawn_step=|vary|num_children|\w+@|snapshots)"
    r"|extract(_saved)? (teacher|synthetic|extraction[.](affine|batch|width|num_students|datagen"
    r"|expansion|activation|file|refit|factor|patience|cooldown|min_lr|mask|span|num_samples|lr"
    r"|beta|finetune)|global_seed|output_dir)"
    r"|residual averaged|plane (plane|bn)|line start"
)
ROWS = [
    replace(row, slow=row.slow or bool(LONG.match(f"{row.base} {row.typed}")))
    for row in [*TRAIN, *STUDIES]
]

# Combinations in which an option changes nothing, known from the options alone: it is refused where
# it is typed, and left out of the name of the run where it comes from an experiment.
WITHOUT_EFFECT = [
    Row("train", "hparams.epochs=3", ""),
    Row("spawn", "hparams.epochs=3", ""),
    Row("spawn", "pretrain.hparams.epochs=3", "", "pretrain.hparams.steps=2it"),
    Row("prune", "retrain.hparams.epochs=3", "", "branch=retrain retrain.hparams.steps=2it"),
    *[
        Row("spawn", typed, "", "-spawn_steps -child_steps split_merge.num_legs=1")
        for typed in (
            "child_steps=[3it]",
            "averages=[back]",
            "num_children=[2]",
            "models=[plain]",
            "save_averages=true",
        )
    ],
    *[
        Row(script, f"runtime.{name}", "")
        for script in ("eval", "average")
        for name in ("compile=true", "progress=false", "save_every=1", "tensorboard=false")
    ],
    *[Row("line", f"runtime.{name}", "") for name in ("save_every=1", "tensorboard=true")],
    *[
        Row(script, "dataset.augment=true", "", "dataset=digits")
        for script in ("eval", "average", "line", "plane")
    ],
    Row("eval", "dataset.cutout=1", "", "dataset=digits"),
    Row("train", "dataset.val_seed=3", "", "dataset.val_fraction=0"),
    Row("train", "dataset.subsample_seed=3", "", "dataset.subsample_fraction=1"),
    Row("train", "save_predictions=false", "", "dataset.val_fraction=0"),
    Row("train", "seeds.label_noise=3", "", "dataset.random_labels_fraction=0"),
    Row("train", "seeds.augmentation=3", "", "dataset.augment=false dataset.cutout=0"),
    Row("train", "diagnostics.examples=3", ""),
    Row("train", "model.freeze_exceptions=[output.bias]", "", "model.freeze=[]"),
    Row("wide", "parametrization.c_adam=[0,1,0]", "", "parametrization=mup optimizer=sgd"),
    Row("wide", "parametrization.c=[0,1,0]", "", "parametrization=mup optimizer=adam"),
    Row("wide", "parametrization.cap=3", "", "parametrization=ipllr_bias optimizer=sgd"),
    Row("wide", "parametrization.output_change=3", "", "parametrization=ipllr_bias optimizer=sgd"),
    # Those that follow from others are refused alone.
    Row("extract", "fingerprint=0123456789", ""),
    Row("extract", "extraction.fingerprint=0123456789", ""),
    *[
        Row(name, "pretrain.fingerprint=0123456789", "")
        for name in ("train", "spawn", "interpolate", "prune")
    ],
    *[Row(name, "dataset.fingerprint=0123456789", "") for name in ("images", "streamed", "tiny")],
]

# Options that only the built network leaves unused: one line says so, and nothing else changes.
LOGGED = [
    Row("train", "model.bn_init=uniform", "", same="*step_12.safetensors"),
    Row("train", "seeds.dropout=5", "", same="*step_12.safetensors"),
    Row("train", "averaged.bn=reset", "", "averaged=ema averaged.decay=0.5", same="*step_12*"),
    Row("eval", "bn=reset", "", same="*result.json"),
    Row("line", "bn=keep", "", same="*lines.csv"),
]

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from isthmus import tables
from isthmus.extraction import fitting, input_masks, measures, queries, results, study
from isthmus.extraction.options import Extraction, ExtractRuntime
from isthmus.extraction.plan import ExtractionTree
from isthmus.store import files
from isthmus.training import rebuild

QUICK = {
    "num_students": 4, "num_samples": 200, "batch_size": 50, "epochs": 60, "lr": 0.01,
    "patience": 20, "cooldown": 5, "refit_epochs": 5, "finetune_lr": 0.01, "finetune_epochs": 20,
    "beta": 1.5,
}  # fmt: skip
RUNNING, CPU = ExtractRuntime(save_every=1e9, progress=False), torch.device("cpu")


def options(**changes):
    return Extraction(**(QUICK | changes))


def asked(sizes=(3, 2, 2, 1), activation="gelu"):
    teacher = queries.synthetic_teacher(sizes, activation, seed=1)
    found = queries.collect_queries(Extraction(num_samples=200), "", sizes[0], seed=1)
    return study.make_task(teacher, found, None, CPU)


def recovered(task, folder, **changes):
    own, tree = options(**changes), ExtractionTree(folder, "c")
    students = study.train(task, own, 1, tree, RUNNING)
    return students, study.recover(task, students, own, tree, RUNNING, folder / "mask")


def compared(task, found, folder):
    """Both networks in one order, and the tables written of all."""
    tree = ExtractionTree(folder, "c")
    aligned = measures.align_to_teacher(task, found, found.network, 1.5)
    results.write_tables(tree, measures.layer_rows(task, found, 1.5))
    results.write_tables(tree, measures.comparison_rows(task, found, aligned))
    return aligned


@pytest.mark.parametrize("affine", ["fold", "skip"])
def test_a_deep_teacher_is_put_together_and_told_of(affine, tmp_path):
    task = asked()
    students, found = recovered(task, tmp_path, affine=affine)
    aligned = compared(task, found, tmp_path)
    for columns in (results.OF_STUDENTS, results.OF_CLUSTERING):
        for name, names in columns.items():
            assert tuple(tables.read(ExtractionTree(tmp_path, "c").table(name))) == names
    result = json.loads(json.dumps(measures.summarize(task, students, found, 0.5, 1.5)))
    assert len(result["layers"]) == 2 and result["num_teacher"] == 4
    for layer in result["layers"]:
        assert layer["num_found"] + layer["num_excess"] == layer["num_units"]
        assert layer["num_found"] + layer["num_missing"] == layer["num_teacher"]
        assert layer["num_student_units"] == 4 * 8
        assert 0 <= layer["num_silent"] <= layer["num_in_no_cluster"]
    assert result["num_found"] == sum(layer["num_found"] for layer in result["layers"])
    assert result["mse"] <= result["before_finetuning"]["mse"]
    outputs = aligned.reconstruction.outputs([task.held_out])[0]
    error = (outputs - task.held_out_targets).double().square().mean()
    assert result["mse"] == pytest.approx(float(error), rel=1e-3)
    paths = [layer["affine_path"] for layer in result["layers"]]
    blocks = [len(layer.blocks) for layer in found.network.layers]
    assert [path == 0 for path in paths] == [num == 1 for num in blocks[1:]]
    if affine == "skip":
        assert blocks == [1, 2, 3]
    path = tmp_path / "network.safetensors"
    study.save_network(task, found.network, path)
    weights, metadata = files.load_weights(path)
    model = rebuild.build_model(metadata)
    model.load_state_dict(weights)
    torch.testing.assert_close(model(task.inputs), found.network.outputs([task.inputs])[0])


def test_it_goes_on_where_it_was_and_is_drawn(tmp_path):
    task = asked((3, 2, 1), "tanh")
    students, found = recovered(task, tmp_path)
    states = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pt")}
    assert len(states) == 2  # the students' and the reconstruction's
    again, same = recovered(task, tmp_path)
    assert again.losses == students.losses and again.epochs == students.epochs
    for one, other in zip(found.network.tensors(), same.network.tensors(), strict=True):
        assert one.equal(other)
    assert {path: path.stat().st_mtime_ns for path in states} == states
    assert compared(task, found, tmp_path)


def test_pairs_need_no_teacher(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(220, 3))
    np.savez(tmp_path / "a.npz", inputs=inputs, outputs=np.tanh(inputs @ np.ones((3, 1))))
    found = queries.collect_queries(
        Extraction(datagen="file", file=str(tmp_path / "a.npz")), "", None, 1
    )
    task = study.make_task(None, found, "tanh", CPU)
    assert study.layer_sizes(task, options(width=[5, 4])) == [3, 5, 4, 1]
    students, found = recovered(task, tmp_path, width=6)
    result = measures.summarize(task, students, found, 0.5, 1.5)
    assert "num_teacher" not in result and result["mse"] < 0.1
    np.savez(tmp_path / "a.npz", inputs=inputs)
    found = queries.collect_queries(
        Extraction(datagen="file", file=str(tmp_path / "a.npz")), "", None, 1
    )
    with pytest.raises(ValueError, match="^extraction.file: has no outputs, and teacher=null has"):
        study.make_task(None, found, "tanh", CPU)


def test_pixels_that_vary_by_noise_alone_are_not_kept_by_variance(tmp_path):
    teacher = queries.synthetic_teacher((64, 2, 1), "tanh", seed=1)
    both, images = (
        study.make_task(
            teacher,
            queries.collect_queries(Extraction(datagen=names, num_samples=num), "", 64, seed=1),
            None,
            CPU,
        )
        for names, num in (("digits+gaussian", 400), ("digits", 200))
    )
    kept = study.input_mask(both, "variance", tmp_path)
    assert 0 < kept.sum() < 64  # corners of the digits are always empty
    assert kept.equal(input_masks.variance_mask(images.inputs))
    assert study.input_mask(asked(), "variance", tmp_path).all()  # of noise alone
    assert study.input_mask(both, None, tmp_path) is None


@pytest.mark.parametrize(
    ("sizes", "activation", "changes", "unused"),
    [
        (
            (3, 2, 1),
            "tanh",
            {"affine": "skip", "refit_epochs": 7},
            ["affine=skip", "refit_epochs=7"],
        ),
        ((3, 2, 2, 1), "tanh", {"affine": "skip", "refit_epochs": 7}, ["affine=skip"]),
        ((3, 2, 1), "gelu", {"affine": "skip", "refit_epochs": 1000}, []),
        ((3, 2, 2, 1), "relu", {"affine": "fold", "refit_epochs": 7}, []),
    ],
)
def test_options_that_a_teacher_makes_useless_are_named(sizes, activation, changes, unused):
    named = study.unused_options(asked(sizes, activation), options(**changes))
    assert [text.partition(":")[0] for text in named] == [f"extraction.{name}" for name in unused]


def test_outputs_of_a_teacher_have_to_be_finite():
    teacher = queries.synthetic_teacher((3, 2, 1), "relu", seed=1)
    teacher.network.layers[0].bias[0, 0] = torch.inf
    found = queries.collect_queries(Extraction(num_samples=20), "", 3, seed=1)
    with pytest.raises(ValueError, match="^teacher: its outputs are not finite"):
        study.make_task(teacher, found, None, CPU)


def test_students_have_the_teachers_layers():
    task = asked((3, 2, 4, 1))
    assert study.layer_sizes(task, options()) == [3, 8, 16, 1]
    assert study.layer_sizes(task, options(width=5)) == [3, 5, 5, 1]
    with pytest.raises(ValueError, match=r"^extraction.width=\[5\]: 1 hidden layers, and the teac"):
        study.layer_sizes(task, options(width=[5]))


def test_a_small_step_is_one_that_a_second_thread_does_not_help():
    assert study.is_small(asked(), options())
    assert not study.is_small(asked(), options(width=4000, batch_size=512))


def test_of_many_units_some_are_shown(tmp_path, monkeypatch):
    task = asked((3, 2, 1), "tanh")
    _, found = recovered(task, tmp_path)
    monkeypatch.setattr(measures, "MOST_LEAVES", 7)
    monkeypatch.setattr(measures, "MOST_ROWS", 5)
    (level,) = found.levels
    count = int(level.clustering.active.sum())
    merges = measures.merge_rows(1, level, found.network.symmetry)
    assert len(merges) == 6 and {row[-2:] for row in merges} == {(7, count)}
    matrix = measures.matrix_rows(1, level, found.network.symmetry)
    assert len(matrix) == 25 and {row[-2:] for row in matrix} == {(5, count)}
    assert all(row[3] == 0 for row in matrix if row[1] == row[2])


@pytest.mark.parametrize("sizes", [(3, 2, 1), (5, 4, 3, 2)])
def test_the_size_of_a_step_is_the_multiplications_that_torch_counts(sizes, monkeypatch):
    task, values = asked(sizes), options(batch_size=32)
    stack = fitting.initialize_students(range(4), study.layer_sizes(task, values), "gelu", seed=1)
    counter = FlopCounterMode(display=False)
    with counter:
        stack.outputs([torch.ones(32, sizes[0])])
    multiplications = counter.get_total_flops() // 2
    monkeypatch.setattr(study, "SMALL", multiplications)
    assert not study.is_small(task, values)
    monkeypatch.setattr(study, "SMALL", multiplications + 1)
    assert study.is_small(task, values)

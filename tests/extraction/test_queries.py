import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits

from isthmus.extraction import queries
from isthmus.extraction.options import Extraction
from isthmus.models.mlp import MLP
from isthmus.store import files


def collect(*names, num=None, num_inputs=2, seed=1, file=None, span=3.0):
    return queries.collect_queries(
        Extraction(datagen="+".join(names), num_samples=num, span=span, file=file),
        "nowhere",
        num_inputs,
        seed,
    )


def test_images_are_those_of_the_data_set_normalized_and_flat():
    found = collect("digits", num_inputs=64)
    assert found.inputs.shape == (1437, 64) and found.held_out.shape == (360, 64)
    assert abs(float(found.inputs.mean())) < 0.01 and float(found.inputs.std()) == pytest.approx(
        1, abs=0.01
    )
    assert found.labels.unique().tolist() == list(range(10))


def test_the_number_of_samples_is_honoured_and_shared():
    found = collect("gaussian", "digits", "uniform", num=101, num_inputs=64)
    assert len(found.inputs) == len(found.labels) == 101
    assert ((found.labels >= 0).nonzero().flatten() == torch.arange(34, 68)).all()
    some = collect("digits", num=20, num_inputs=64).inputs
    whole = {tuple(row) for row in collect("digits", num_inputs=64).inputs.tolist()}
    assert len({tuple(row) for row in some.tolist()} & whole) == 20
    assert not some.equal(collect("digits", num=20, num_inputs=64, seed=2).inputs)


def test_what_is_drawn_has_its_distribution_and_held_out_inputs_are_others():
    normal, uniform = collect("gaussian"), collect("uniform", span=2.0)
    assert len(normal.inputs) == queries.DRAWN
    assert float(normal.inputs.std()) == pytest.approx(1, abs=0.02)
    assert float(uniform.inputs.abs().max()) == pytest.approx(2, abs=0.01)
    assert float(uniform.inputs.std()) == pytest.approx(2 / 3**0.5, abs=0.02)
    for found in (normal, uniform):
        one, other = (set(map(tuple, x.tolist())) for x in (found.inputs, found.held_out))
        assert not one & other
        assert found.inputs.equal(
            collect("gaussian" if found is normal else "uniform", span=2.0).inputs
        )


def test_a_grid_has_both_ends_in_each_direction():
    found = collect("grid", num=9, span=1.0).inputs
    assert sorted(map(tuple, found.tolist())) == [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    assert collect("grid", num=5, num_inputs=1, span=1.0).inputs.flatten().tolist() == [
        -1, -0.5, 0, 0.5, 1,
    ]  # fmt: skip
    for num in (8, 1):
        with pytest.raises(ValueError, match=f"^extraction.num_samples={num}: a grid of 2 dim"):
            collect("grid", num=num)


def test_a_file_gives_inputs_and_outputs_and_holds_some_out(tmp_path):
    path, inputs = tmp_path / "pairs.npz", np.arange(60.0).reshape(20, 3)
    np.savez(path, inputs=inputs, outputs=inputs.sum(axis=1, keepdims=True))
    found = collect("file", file=str(path), num_inputs=None)
    assert (len(found.inputs), len(found.held_out)) == (18, 2)
    for some, outputs in (
        (found.inputs, found.outputs),
        (found.held_out, found.held_out_outputs),
    ):
        assert outputs.equal(some.sum(dim=1, keepdim=True))
    assert len(collect("file", num=5, file=str(path), num_inputs=3).inputs) == 5
    np.savez(path, inputs=inputs)
    assert collect("file", file=str(path), num_inputs=3).outputs is None


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "pairs.npz"
    with pytest.raises(FileNotFoundError, match=f"^extraction.file={path}: there is no such file$"):
        collect("file", file=str(path))
    np.savez(path, images=np.ones((4, 2)))
    with pytest.raises(ValueError, match="has no inputs; it has images"):
        collect("file", file=str(path))
    np.savez(path, inputs=np.ones((4, 2)), outputs=np.ones((3, 1)))
    with pytest.raises(ValueError, match="one output per input, got 3 for 4"):
        collect("file", file=str(path))
    with pytest.raises(ValueError, match="^extraction.num_samples: 9999 of digits, which has 1437"):
        collect("digits", num=9999, num_inputs=64)
    with pytest.raises(
        ValueError, match="^extraction.datagen=digits: has inputs of 64 features, an"
    ):
        collect("digits", num_inputs=2)


PAIRS = {"inputs": np.ones((4, 2)), "outputs": np.ones((4, 1))}
NAN = np.where(np.arange(8).reshape(4, 2) > 4, np.nan, 1.0)  # in rows 2 and 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.ones(4)}, r"inputs must have the shape .*\(4,\)"),
        ({"outputs": np.ones(4)}, r"outputs must have the shape .*array\[:, None\]"),
        ({"inputs": np.ones((4, 0))}, r"inputs must have the shape .*\(4, 0\)"),
        ({"inputs": np.float64(3)}, r"inputs must have the shape .*\(\)"),
        ({"inputs": np.full((4, 2), "a")}, "inputs must be real numbers, are <U1"),
        ({"outputs": np.ones((4, 1), complex)}, "outputs must be real numbers, are complex128"),
        ({"inputs": np.array([[1], ["a"]], object)}, "is no whole file of arrays .*Object arrays"),
        ({"inputs": NAN}, "inputs must be finite in float32, are not in 2 of 4 rows, row 2 first"),
        ({"outputs": np.full((4, 1), 1e300)}, "outputs must be finite in float32, are not in 4 of"),
        (
            {"inputs": np.ones((1, 2)), "outputs": np.ones((1, 1))},
            "must have .*2 inputs.* has 1$",
        ),
        (
            {"inputs": np.ones((0, 2)), "outputs": np.ones((0, 1))},
            "must have .*2 inputs.* has 0$",
        ),
    ],
)
def test_arrays_that_are_no_pairs_are_refused_naming_the_file(changes, message, tmp_path):
    path = tmp_path / "pairs.npz"
    np.savez(path, **(PAIRS | changes))
    with pytest.raises(ValueError, match=f"^extraction.file={path}: {message}"):
        collect("file", file=str(path))


def test_files_of_another_kind_are_refused_naming_the_file(tmp_path):
    np.save(tmp_path / "inputs.npy", PAIRS["inputs"])
    (tmp_path / "text.npz").write_text("1,2\n3,4\n")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, message in (
        ("inputs.npy", "holds one array without a name; .*np.savez"),
        ("text.npz", "is no whole file of arrays"),
        ("empty.npz", "is no whole file of arrays"),
    ):
        path = tmp_path / name
        with pytest.raises(ValueError, match=f"^extraction.file={path}: {message}"):
            collect("file", file=str(path))
    with pytest.raises(FileNotFoundError, match=f"^extraction.file={tmp_path}: "):
        collect("file", file=str(tmp_path))


def test_inputs_of_files_and_data_sets_are_data_and_others_are_not(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.ones((10, 64)))
    names = ("gaussian", "digits", "file")
    found = collect(*names, num=9, num_inputs=64, file=str(tmp_path / "a.npz"))
    assert found.is_data.tolist() == [False] * 3 + [True] * 6


def write(path, target, model, **values):
    node = {"_target_": target, "_partial_": True, **values}
    metadata = {"config": {"model": node}, "input_shape": [1, 8, 8], "num_classes": 3}
    files.save_weights(path, model.state_dict(), metadata)
    return str(path)


@pytest.mark.parametrize("bias", [True, False])
def test_a_teacher_of_a_file_answers_as_its_model_does(bias, tmp_path):
    model = MLP((1, 8, 8), 3, [5, 4], activation="g", bias=bias)
    values = {"width": [5, 4], "activation": "g", "bias": bias}
    teacher = queries.read_teacher(
        write(tmp_path / "a.safetensors", "isthmus.models.mlp.MLP", model, **values)
    )
    inputs = torch.randn(9, 64)
    assert (teacher.num_inputs, teacher.network.widths) == (64, [5, 4, 3])
    torch.testing.assert_close(teacher.outputs(inputs, rows=4), model(inputs).detach())


def test_only_an_mlp_with_a_hidden_layer_is_a_teacher(tmp_path):
    from isthmus.models.cnn import CNN

    path = write(tmp_path / "c.safetensors", "isthmus.models.cnn.CNN", CNN((1, 8, 8), 3))
    with pytest.raises(
        ValueError, match=f"^teacher={path}: is a CNN; only an MLP can be recovered"
    ):
        queries.read_teacher(path)
    model = MLP((1, 8, 8), 3, [])
    path = write(tmp_path / "d.safetensors", "isthmus.models.mlp.MLP", model, width=[])
    with pytest.raises(ValueError, match=f"^teacher={path}: has no hidden layer"):
        queries.read_teacher(path)
    with pytest.raises(FileNotFoundError, match="that folder has c, d"):
        queries.read_teacher(str(tmp_path / "e.safetensors"))


def test_a_synthetic_teacher_is_what_its_seed_says_and_each_unit_matters():
    teacher = queries.synthetic_teacher([4, 8, 5, 2], "tanh", seed=3)
    for layer in teacher.network.layers[:-1]:
        lengths = layer.blocks[0].norm(dim=2)
        torch.testing.assert_close(lengths, torch.full_like(lengths, queries.LENGTH))
        assert layer.bias.abs().max() <= 1
    outgoing = teacher.network.layers[-1].blocks[0].abs() * 5**0.5
    assert outgoing.min() >= 0.5 and outgoing.max() <= 1
    again, other = (queries.synthetic_teacher([4, 8, 5, 2], "tanh", seed) for seed in (3, 4))
    inputs = torch.randn(7, 4)
    assert teacher.outputs(inputs).equal(again.outputs(inputs))
    assert not teacher.outputs(inputs).equal(other.outputs(inputs))
    assert teacher.metadata is None


@pytest.mark.parametrize("num", [3, 10, 101, 1000])
def test_several_sources_give_one_after_the_other_what_each_gives_alone(num):
    names, num_inputs = ("uniform", "digits", "gaussian"), 64
    together = collect(*names, num=num, num_inputs=num_inputs)
    parts, start = [], 0
    for place, name in enumerate(names):
        share = len(range(place, num, 3))  # dealt one by one
        part = collect(name, num=share, num_inputs=num_inputs)
        assert together.inputs[start : start + share].equal(part.inputs)
        expected = part.labels if name == "digits" else torch.full((share,), -1)
        assert together.labels[start : start + share].equal(expected)
        start += share
        parts.append(part.held_out)
    assert start == num == len(together.inputs)
    assert together.held_out.equal(torch.cat(parts))
    assert together.outputs is None


@pytest.mark.parametrize("seed", range(3))
def test_digits_are_those_of_scikit_learn_normalized_in_their_order(seed):
    found = collect("digits", num=50, num_inputs=64, seed=seed)
    content = load_digits()
    images = (content.data / 16 - 0.3054) / 0.3761
    places = [int(np.abs(images - row).max(axis=1).argmin()) for row in found.inputs.numpy()]
    np.testing.assert_allclose(found.inputs, images[places], atol=1e-5)
    assert places == sorted(set(places))
    assert content.target[places].tolist() == found.labels.tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("span", [0.5, 3.0])
def test_drawn_inputs_pass_a_test_of_their_distribution(span, seed):
    for name, law in (("gaussian", stats.norm()), ("uniform", stats.uniform(-span, 2 * span))):
        found = collect(name, num=2000, seed=seed, span=span)
        for inputs in (found.inputs, found.held_out):
            for column in inputs.double().numpy().T:
                assert stats.kstest(column, law.cdf).pvalue > 1e-3
            assert abs(stats.pearsonr(*inputs.double().numpy().T).statistic) < 0.1


@pytest.mark.parametrize(("side", "dims"), [(2, 1), (5, 1), (4, 2), (3, 3), (2, 5), (10, 3)])
def test_a_grid_is_that_of_numpy(side, dims):
    found = collect("grid", num=side**dims, num_inputs=dims, span=1.5).inputs
    axes = np.meshgrid(*[np.linspace(-1.5, 1.5, side)] * dims, indexing="ij")
    np.testing.assert_allclose(found, np.stack(axes, axis=-1).reshape(-1, dims), atol=1e-6)


@pytest.mark.parametrize("num", [None, 1, 7])
@pytest.mark.parametrize("length", [2, 9, 10, 31])
def test_pairs_of_a_file_are_trained_on_or_held_out_and_stay_pairs(length, num, tmp_path):
    inputs = np.arange(2.0 * length).reshape(length, 2)
    path = tmp_path / "pairs.npz"
    np.savez(path, inputs=inputs, outputs=10 * inputs[:, :1])
    num_held_out = max(1, length // 10)
    if num is not None and num > length - num_held_out:
        with pytest.raises(ValueError, match=f"^extraction.num_samples: {num} of the "):
            collect("file", file=str(path), num=num)
        return
    found = collect("file", file=str(path), num=num)
    train, held_out = (x[:, 0].div(2).int().tolist() for x in (found.inputs, found.held_out))
    assert (len(train), len(held_out)) == (num or length - num_held_out, num_held_out)
    assert len({*train, *held_out}) == len(train) + len(held_out) and train == sorted(train)
    for ours, outputs in ((found.inputs, found.outputs), (found.held_out, found.held_out_outputs)):
        np.testing.assert_array_equal(outputs[:, 0], 10 * ours[:, 0])
        np.testing.assert_array_equal(ours[:, 1], ours[:, 0] + 1)


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_a_synthetic_teacher_pass_tests_of_their_documented_laws(seed):
    first, second, last = queries.synthetic_teacher([3, 600, 500, 4], "relu", seed).network.layers
    for layer in (first, second):
        lengths = np.linalg.norm(layer.blocks[0][0], axis=1)
        np.testing.assert_allclose(lengths, 2, rtol=1e-5)
        bias = layer.bias[0].double().numpy()
        assert stats.kstest(bias, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    # On a sphere of three dimensions every coordinate is uniform (Archimedes).
    for coordinate in first.blocks[0][0].double().numpy().T:
        assert stats.kstest(coordinate, stats.uniform(-2, 4).cdf).pvalue > 1e-3
    outgoing = last.blocks[0][0].double().numpy() * 500**0.5
    sizes = np.abs(outgoing).ravel()
    assert stats.kstest(sizes, stats.uniform(0.5, 0.5).cdf).pvalue > 1e-3
    assert stats.binomtest(int((outgoing > 0).sum()), outgoing.size).pvalue > 1e-3
    assert stats.spearmanr(np.sign(outgoing).ravel(), sizes).pvalue > 1e-3


@pytest.mark.parametrize("name", ["tanh", "elu", "g"])
@pytest.mark.parametrize("rows", [1, 4, 9, 100])
def test_a_synthetic_teacher_answers_as_the_module_with_its_weights(name, rows):
    teacher = queries.synthetic_teacher([4, 6, 5, 2], name, seed=1)
    model = MLP((4,), 2, [6, 5], activation=name)
    for parameter, tensor in zip(model.parameters(), teacher.network.tensors(), strict=True):
        parameter.data = tensor[0]
    inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(teacher.outputs(inputs, rows=rows), model(inputs).detach())
    assert teacher.num_inputs == 4

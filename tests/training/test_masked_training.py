import pytest
import torch
from torch import nn

from isthmus.averaging.ema import EMA
from isthmus.averaging.latest import Latest
from isthmus.averaging.swa import SWA
from isthmus.models.mlp import MLP
from isthmus.store import files as store_files
from isthmus.store import fingerprints
from isthmus.training import loop, masked_training, masks
from isthmus.training.fit import fit, update_averages
from isthmus.training.loop import Callback, after_every_step
from isthmus.training.masked_training import Masking
from isthmus.training.optimizers import adam, adamw, lookahead, sgd
from isthmus.training.session import Session
from tests import toys
from tests.pruning.studies import assert_sparse, some_mask

OPTIMIZERS = {
    "momentum": lambda p: sgd(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: sgd(p, lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: adam(p, lr=0.01, weight_decay=0.01),
    "adamw": lambda p: adamw(p, lr=0.01),
    "lookahead": lambda p: lookahead(p, lr=0.05, momentum=0.9, weight_decay=0.01, period=2),
}
AVERAGES = {
    "ema bank": lambda: EMA(decay=[0.5, 0.9]),
    "swa": lambda: SWA(start="0ep", every="2it"),
    "latest": lambda: Latest(num=3, every="1it"),
}


def sparse(recipe=None, share=0.6, runtime=None):
    """A session of toys that is kept sparse, and its mask."""
    session = Session(recipe or toys.recipe(), toys.data(), toys.SEEDS, runtime or toys.RUNTIME)
    mask = some_mask(session.model, share)
    session.set_constraint(lambda model: Masking(model, mask))
    session.restart(toys.SEEDS, session.initial_weights(1))
    return session, mask


def trained(session, watch):
    callbacks = [*update_averages(session), Callback(after_every_step, watch)]
    loop.train(session.training, session.batches, session.end, callbacks)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("averages", AVERAGES.values(), ids=AVERAGES)
def test_pruned_stays_pruned_after_every_step(optimizer, averages):
    session, mask = sparse(toys.recipe(optimizer=optimizer, averages=averages))
    parameters, seen = dict(session.model.named_parameters()), []

    def watch(training):
        seen.append(training.iteration)
        assert_sparse(session.model.state_dict(), mask)
        for state in session.averages.state_dicts().values():
            assert_sparse(state, mask)
        for name, kept in mask.items():
            assert not parameters[name].grad[~kept].any() and parameters[name].grad[kept].any()
            for key, value in training.optimizer.state[parameters[name]].items():
                if value.shape == kept.shape:
                    assert not value[~kept].any(), key

    trained(session, watch)
    assert seen == list(range(1, 10))


def test_without_the_constraint_pruned_weights_would_come_back():
    session, mask = sparse()
    session.training.constraint = None
    trained(session, lambda _: None)
    state = session.model.state_dict()
    assert any(state[name][~kept].any() for name, kept in mask.items())


def test_sparse_training_is_that_of_the_network_without_these_weights():
    """By hand: gradients masked, plain SGD, nothing of this package."""
    optimizer = {"optimizer": lambda p: sgd(p, lr=0.05), "averages": None, "epochs": 1}
    session, mask = sparse(toys.recipe(**optimizer))
    twin = toys.Small((2, 4, 4), 3)
    twin.load_state_dict(session.model.state_dict())
    twin.train()
    step = session.training.step

    def by_hand(inputs, labels):
        from isthmus import rng

        rng.start_stream(inputs.device, 1, "dropout", session.training.iteration)
        loss = nn.functional.cross_entropy(twin(inputs), labels)
        twin.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                gradient = parameter.grad * mask[name] if name in mask else parameter.grad
                parameter -= 0.05 * gradient
        step(inputs, labels)

    session.training.step = by_hand
    trained(session, lambda _: None)
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(session.model.state_dict()[name], tensor)


def test_gradients_of_pruned_weights_are_not_in_the_norm_that_is_clipped():
    session, mask = sparse(toys.recipe(grad_clip_max_norm=0.01, averages=None))
    norms = []

    def watch(_):
        gradients = [p.grad.flatten() for p in session.model.parameters()]
        norms.append(torch.cat(gradients).norm().item())

    trained(session, watch)
    assert norms == pytest.approx([0.01] * 9, rel=1e-3)


def test_frozen_layers_are_pruned_and_stay_so():
    session, mask = sparse(toys.recipe(freeze=["others"], freeze_exceptions=["conv.bias"]))
    before = session.model.conv.weight.clone()
    trained(session, lambda _: assert_sparse(session.model.state_dict(), mask))
    assert session.model.conv.weight.equal(before)


def test_saved_networks_are_sparse_and_so_are_best_and_snapshots(tmp_path):
    run = store_files.Run(tmp_path)
    session, mask = sparse()
    fit(run, lambda: session, snapshots=["0", "4it"])
    files = sorted(path.name for path in (tmp_path / "weights").glob("*.safetensors"))
    assert len(files) == 3 * 3 + 2  # and best, best_averaged
    for name in files:
        assert_sparse(store_files.load_weights(tmp_path / "weights" / name)[0], mask)


def test_a_dense_session_is_made_sparse_in_all_that_it_remembers():
    for optimizer in OPTIMIZERS.values():
        for averages in AVERAGES.values():
            recipe = toys.recipe(optimizer=optimizer, averages=averages)
            session = Session(recipe, toys.data(), toys.SEEDS, toys.RUNTIME)
            trained(session, lambda _: None)
            mask = some_mask(session.model)
            masked_training.mask_session_(session, mask)
            assert_sparse(session.model.state_dict(), mask)
            for state in session.averages.state_dicts().values():
                assert_sparse(state, mask)
            for name, kept in mask.items():
                state = session.training.optimizer.state[session.model.get_parameter(name)]
                moments = [v for v in state.values() if getattr(v, "shape", None) == kept.shape]
                assert moments
                for value in moments:
                    assert not value[~kept].any() and value[kept].any()


def test_a_mask_of_another_model_is_refused():
    mask = some_mask(MLP((2,), 3))
    with pytest.raises(ValueError, match="^a mask of another model: it has hidden.0.weight, and"):
        Masking(toys.Small((2, 4, 4), 3), mask)


def ticket(folder, named=True):
    """Weights as `prune.py` saves them, with their mask beside."""
    model = toys.Small((2, 4, 4), 3)
    mask = some_mask(model)
    masks.save_mask(folder / "mask.safetensors", mask, {})
    digest = fingerprints.file_digest(str(folder / "mask.safetensors"))
    said = {"mask": {"file": "../mask.safetensors", "digest": digest}} if named else {}
    path = folder / "weights" / "step_9.safetensors"
    store_files.save_weights(path, masks.apply_mask(model.state_dict(), mask), said)
    return path, mask


def test_weights_say_what_keeps_them_sparse(tmp_path):
    path, mask = ticket(tmp_path)
    model = toys.Small((2, 4, 4), 3)
    masked_training.masking_from_file(str(path))(model).on_weights()
    assert_sparse(model.state_dict(), mask)
    other = toys.Small((2, 4, 4), 5)
    masked_training.masking_from_file(str(path))(other).on_weights()
    assert_sparse(other.state_dict(), {"conv.weight": mask["conv.weight"]})
    assert other.output.weight.all()


def test_nothing_keeps_dense_weights_sparse(tmp_path):
    assert masked_training.masking_from_file(None) is None
    assert masked_training.masking_from_file(str(ticket(tmp_path, named=False)[0])) is None


def test_a_mask_that_is_gone_or_another_one_is_named(tmp_path):
    path, mask = ticket(tmp_path)
    masks.save_mask(tmp_path / "mask.safetensors", {n: ~m for n, m in mask.items()}, {})
    with pytest.raises(ValueError, match="mask.safetensors is not the mask that .*step_9"):
        masked_training.masking_from_file(str(path))
    (tmp_path / "mask.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no checkpoint .*mask.safetensors"):
        masked_training.masking_from_file(str(path))


@pytest.mark.parametrize("name", ["/etc/passwd", "../../mask.safetensors", "..", "a/b", ""])
def test_weights_name_no_mask_outside_of_their_run(tmp_path, name):
    path, _ = ticket(tmp_path)
    weights, metadata = store_files.load_weights(path)
    store_files.save_weights(path, weights, metadata | {"mask": {"file": name, "digest": "0"}})
    with pytest.raises(ValueError, match="step_9.safetensors: its mask: "):
        masked_training.masking_from_file(str(path))


def test_a_mean_of_networks_with_one_mask_keeps_its_zeros_exactly(tmp_path):
    from isthmus import state_dicts

    session, mask = sparse()
    found = []
    trained(session, lambda _: found.append(state_dicts.copy(session.model.state_dict())))
    assert_sparse(state_dicts.mean(found, [1.0] * len(found)), mask)

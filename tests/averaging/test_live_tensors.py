import pytest
import torch
from torch import nn

from isthmus.averaging.live_tensors import PACKED_BELOW, LiveTensors


def network(dtype=torch.float32):
    """Tensors that are packed, tensors that are not, an integer, and one in channels_last."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.Linear(4, 5))
    assert layers[0].weight.numel() >= PACKED_BELOW > layers[2].weight.numel()
    return layers.to(dtype).to(memory_format=torch.channels_last)


def floating(model):
    return {n: t for n, t in model.state_dict().items() if t.is_floating_point()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_copy_has_every_floating_tensor_in_float32(dtype):
    model = network(dtype)
    live = LiveTensors(model)
    copied = live.named_tensors(live.copy())
    assert copied.keys() == floating(model).keys()
    for name, tensor in floating(model).items():
        assert copied[name].dtype == torch.float32
        assert torch.equal(copied[name], tensor.float())


def test_values_are_read_anew_and_copies_stay():
    model = network()
    live = LiveTensors(model)
    before = live.copy()
    with torch.no_grad():
        for tensor in floating(model).values():
            tensor += 1
    now = live.named_tensors(live.read())
    for name, old in live.named_tensors(before).items():
        torch.testing.assert_close(now[name], old + 1)


def test_a_state_dict_has_the_types_and_memory_format_of_the_model():
    model = network(torch.bfloat16)
    live = LiveTensors(model)
    state_dict = live.state_dict(live.copy())
    assert list(state_dict) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert state_dict[name].dtype == tensor.dtype
        assert state_dict[name].stride() == tensor.stride()
        assert torch.equal(state_dict[name], tensor)
        assert state_dict[name].data_ptr() != tensor.data_ptr()


def test_loading_overwrites_values_by_what_was_saved():
    live = LiveTensors(network())
    saved = {name: tensor + 2 for name, tensor in live.named_tensors(live.copy()).items()}
    values = live.copy()
    live.load(values, saved)
    for name, tensor in live.named_tensors(values).items():
        assert torch.equal(tensor, saved[name])


def test_a_model_whose_tensors_were_replaced_is_refused():
    model = network()
    live = LiveTensors(model)
    model.load_state_dict(network().state_dict(), assign=True)
    with pytest.raises(RuntimeError, match="was moved or replaced after start"):
        live.state_dict(live.copy())

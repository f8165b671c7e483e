import pytest
import torch
from torch import nn

from isthmus.connectivity import fast_forward
from isthmus.connectivity.tracing import trace_network
from isthmus.models.resnet_cifar import ResNetCifar
from isthmus.training.batch_norm import ChannelStats, merge_stats


def test_a_segment_ends_before_each_batch_norm_and_keeps_only_what_is_needed_later():
    graph = trace_network(ResNetCifar((2, 16, 16), 3, depth=8, width=4))
    found, held = fast_forward.cut_segments(graph), {next(iter(graph.graph.nodes))}
    norms = [name for name, module in graph.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert [segment.ends.target for segment in found] == norms
    for segment in found:
        assert set(segment.takes) <= held
        held = held | set(segment.gives)
        assert set(segment.spent) <= held
        held -= set(segment.spent)
        assert segment.ends.all_input_nodes[0] in held
        assert len(held) <= 2  # what is normalized next, and a residual stream


@pytest.mark.parametrize("compiled", [False, True])
def test_moments_far_from_zero_are_right_in_float32(compiled):
    moments_of = fast_forward.channel_moments
    if compiled:
        moments_of = torch.compile(moments_of, backend="eager", fullgraph=True)
    values = 1000 + torch.randn(40, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    parts = [ChannelStats(*moments_of(part), len(part) * 25) for part in values.split(7)]
    mean, variance, count = merge_stats(parts)
    exact = values.double()
    assert count == 40 * 25
    torch.testing.assert_close(mean, exact.mean(dim=(0, 2, 3)), rtol=1e-6, atol=0)
    expected = exact.var(dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(variance, expected, rtol=1e-4, atol=0)

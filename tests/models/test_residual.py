import pytest
import torch

from isthmus.models.layers import BasicBlock, Bottleneck, PadShortcut

IMAGES = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))


def test_pad_shortcut_keeps_every_second_pixel_and_appends_zeros():
    outputs = PadShortcut(num_zeros=2, stride=2)(IMAGES)
    assert outputs.shape == (2, 5, 3, 4)
    for row in range(3):
        for column in range(4):
            assert outputs[:, :3, row, column].equal(IMAGES[:, :, 2 * row, 2 * column])
    assert outputs[:, 3:].eq(0).all()


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_basic_block_halves_odd_images_as_its_shortcut_does(shortcut, norm):
    block = BasicBlock(3, 6, stride=2, shortcut=shortcut, norm=norm)
    assert block(IMAGES).shape == (2, 6, 3, 4)
    assert IMAGES.equal(torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)))


def test_a_block_whose_last_weights_are_0_is_its_shortcut():
    basic, bottleneck = BasicBlock(3, 3, stride=1), Bottleneck(4, 1, stride=1)
    torch.nn.init.zeros_(basic.norm2.weight)
    torch.nn.init.zeros_(bottleneck.norm3.weight)
    assert basic(IMAGES).equal(IMAGES.relu())
    wide = torch.cat([IMAGES, IMAGES[:, :1]], dim=1)
    assert bottleneck(wide).equal(wide.relu())


def test_a_bottleneck_has_its_stride_at_the_3x3_convolution():
    block = Bottleneck(3, 2, stride=2)
    assert block(IMAGES).shape == (2, 8, 3, 4)
    strides = [conv.stride[0] for conv in (block.conv1, block.conv2, block.conv3)]
    assert strides == [1, 2, 1]


def test_a_shortcut_between_equal_shapes_has_no_parameters():
    for shortcut in ("pad", "projection"):
        block = BasicBlock(3, 3, stride=1, shortcut=shortcut)
        assert not list(block.shortcut.parameters())

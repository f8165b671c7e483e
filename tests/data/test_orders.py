import pytest
import torch

from isthmus.data.orders import check_start, data_order


def test_an_order_has_every_position_once():
    assert torch.equal(data_order(1, 2, 100).sort().values, torch.arange(100))
    assert data_order(0, 0, 1).tolist() == [0] and len(data_order(0, 0, 0)) == 0


def test_an_order_depends_on_seed_and_epoch_and_nothing_drawn_before():
    first = data_order(1, 2, 100)
    torch.rand(3)
    assert torch.equal(data_order(1, 2, 100), first)
    assert not torch.equal(data_order(2, 2, 100), first)
    assert not torch.equal(data_order(1, 3, 100), first)


@pytest.mark.parametrize("start", [-1, 5])
def test_a_start_outside_the_epoch_is_refused(start):
    check_start(0, 4)
    check_start(4, 4)
    with pytest.raises(ValueError, match=rf"start: must be in \[0, 4\], got {start}"):
        check_start(start, 4)

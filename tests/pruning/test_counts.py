import pytest

from isthmus.training import masks


@pytest.mark.parametrize(
    ("num_weights", "fraction", "level", "expected"),
    [
        (268336, 0.2, 0, 0),
        (268336, 0.2, 1, 53667),  # .2 x 268,336 = 53,667.2
        (268336, 0.2, 2, 96601),  # .36 x 268,336 = 96,600.96
        (268336, 0.2, 3, 130948),  # .488 x 268,336 = 130,947.968
        (15980, 0.2, 1, 3196),
        (5, 0.5, 1, 2),  # 2.5 to the even number
        (7, 0.5, 1, 4),  # 3.5 likewise
        (10, 0.1, 1, 1),
        (50, 0.29, 1, 14),  # 14.5; in floating point a little less
        (3, 0.2, 20, 3),
        (1, 0.01, 1, 0),
    ],
)
def test_counts_are_the_closed_form(num_weights, fraction, level, expected):
    assert masks.num_pruned(num_weights, fraction, level) == expected


def test_roundings_do_not_add_up_over_levels():
    for level in range(40):
        exact = 1001 * (1 - 0.8**level)
        assert abs(masks.num_pruned(1001, 0.2, level) - exact) <= 0.5 + 1e-9


def test_more_is_pruned_with_every_level():
    found = [masks.num_pruned(97, 0.07, level) for level in range(100)]
    assert found == sorted(found) and found[0] == 0 and found[-1] == 97


@pytest.mark.parametrize(
    ("sizes", "total", "expected"),
    [
        ({"a": 10, "b": 10}, 10, [5, 5]),
        ({"a": 10, "b": 10}, 9, [5, 4]),  # the first of two equal ones
        ({"a": 72, "b": 192, "c": 3}, 100, [27, 72, 1]),  # 26.97, 71.91, 1.12
        ({"a": 4}, 0, [0]),
        ({"a": 4, "b": 1}, 5, [4, 1]),
    ],
)
def test_shares_sum_to_the_total(sizes, total, expected):
    assert list(masks.share_out(sizes, total).values()) == expected
    assert sum(expected) == total


def test_a_level_with_fewer_weights_than_layers_is_named():
    groups = [({"a": 8, "b": 8}, 0.5), ({"c": 100}, 0.1)]
    masks.check_room(groups, 3, "pruning.fraction=0.5")  # 16, 8, 4, 2
    message = (
        "^pruning.fraction=0.5: level 4 would keep 1 of the 16 weights of a, b, and so empty a "
        "layer; at most 3 levels are possible$"
    )
    with pytest.raises(ValueError, match=message):
        masks.check_room(groups, 9, "pruning.fraction=0.5")

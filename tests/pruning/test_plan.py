import pytest

from isthmus.pruning.options import Prune
from isthmus.pruning.plan import PruningPlan
from isthmus.training.options import Pretrain
from tests import toys


def plan(per_epoch=10, end=40, **changes):
    asked = {"levels": 2, "rewind": "weights"} | changes
    return PruningPlan(toys.options(Prune, **asked), per_epoch, end)


def before(step):
    """A section with a pretraining of some length."""
    return Pretrain(hparams={"steps": step})


@pytest.mark.parametrize(
    ("asked", "begins"),
    [
        ({}, [0, 0, 0]),
        ({"rewind_step": 0}, [0, 0, 0]),  # as YAML reads it
        ({"rewind_step": "2ep5it"}, [0, 25, 25]),
        ({"rewind_step": "2ep", "rewind": "lr"}, [0, 20, 20]),
        ({"rewind": "none"}, [0, 0, 0]),
        ({"pretrain": before("1ep")}, [10, 10, 10]),
        ({"pretrain": before("1ep"), "rewind_step": "15it"}, [10, 15, 15]),
        ({"pretrain": before("1ep"), "rewind": "none"}, [10, 10, 10]),
    ],
)
def test_where_levels_begin(asked, begins):
    assert [plan(**asked).begin(level) for level in plan(**asked).levels] == begins


def test_level_0_keeps_what_is_rewound_to():
    assert plan().snapshots(0) == plan().snapshots(1) == []
    rewound = plan(rewind_step="15it", snapshots=["1ep", "2ep", "4ep"])
    assert rewound.snapshots(0) == [10, 15, 20, 40]
    assert rewound.snapshots(1) == [20, 40]  # from where it begins
    assert plan(pretrain=before("1ep"), snapshots="every").snapshots(0) == [10, 20, 30, 40]


def test_branches_are_of_all_sparse_levels_or_of_those_asked_for():
    assert plan().branch_levels == []
    assert plan(branch="retrain").branch_levels == [1, 2]
    assert plan(branch="retrain", branch_levels=[2, 0]).branch_levels == [0, 2]
    assert plan(levels=0, branch="retrain").branch_levels == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"rewind_step": "5ep"},
            r"^rewind_step=5ep: must be before the end of training, 4ep \(40 iterations\)$",
        ),
        ({"rewind_step": "40it"}, "^rewind_step=40it: must be before the end"),
        (
            {"rewind_step": "5it", "pretrain": before("1ep")},
            "^rewind_step=5it: must be from 1ep, the end of pretraining, before the end of trai",
        ),
        (
            {"pretrain": before("4ep")},
            "^pretrain: takes 4ep, which is taken off the training, and that has 4ep: nothing wou",
        ),
        ({"snapshots": ["9ep"]}, "^9ep is after the end of training"),
    ],
)
def test_steps_that_lie_outside_are_named(asked, message):
    with pytest.raises(ValueError, match=message):
        plan(**asked).snapshots(0)

"""What a tree lacks of what is asked for. Imports no torch: a finished study ends at once."""

from isthmus.pruning.plan import Plan
from isthmus.pruning.tree import Tree


def nothing(tree: Tree, plan: Plan) -> bool:
    """Whether all levels and branches that are asked for are trained.

    Args:
        tree: of which level 0 is done.
        plan: what is asked for.
    """
    if not all(tree.level(level).is_complete(plan.kept(level)) for level in plan.levels):
        return False
    branch = plan.request.branch
    return branch is None or all(
        tree.branch(level, branch).is_complete(None) for level in plan.branch_levels
    )

"""Tree search: golden trees that were computed by hand, a slow reference, and worlds whose best action is known."""

import math

import pytest
import torch
from planning_worlds import TableWorld, place

from dreamgym.planners.tree_search import TreeConfig, TreeSearch

NAN = float("nan")
NOTHING = lambda features: torch.zeros(len(features))  # noqa: E731  the value of a new node
EVENLY = {"c_base": 1e9, "discount": 1.0}  # the weight of the prior is c_init at every count

# action 0 leads to place 1 and pays 1; action 1 leads to place 2, where action 0 pays 4; place 3 pays nothing
GOLDEN = TableWorld(after=[[1, 2], [3, 3], [3, 3], [3, 3]], reward=[[1, 0], [0, 0], [4, 0], [0, 0]])


@pytest.mark.parametrize(
    ("simulations", "visits", "worth", "value"),
    [
        (1, [1, 0], [1, NAN], 1 / 2),  # both bounds are 4 * 1 / 2 = 2: the first action is taken, return 1
        (2, [1, 1], [1, 0], 1 / 3),  # 1 + 4 * 2**.5 / 4 = 2.41 against 4 * 2**.5 / 2 = 2.83: return 0
        (3, [2, 1], [1, 0], 2 / 4),  # 1 + 1.73 against 1.73: on to place 3, return 1
        (4, [3, 1], [1, 0], 3 / 5),  # 1 + 1.33 against 2: the other way to place 3, return 1
        (5, [3, 2], [1, 2], 7 / 6),  # 1 + 1.12 against 2.24: the 4 are found, return 4
        (6, [3, 3], [1, 4 / 3], 7 / 7),  # 1.22 against 1 + 1.63; there 1 + 1.41 against 2.83: return 0
        (7, [3, 4], [1, 2], 11 / 8),  # 1.32 against 1 + 1.32; there 1 + 1.73 against 1.73: return 4
        (8, [3, 5], [1, 12 / 5], 15 / 9),  # 1.41 against 1 + 1.13; there 1 + 1.33 against 2: return 4
    ],
)
def test_a_tree_is_the_one_that_was_computed_by_hand(simulations, visits, worth, value):
    config = TreeConfig(horizon=3, num_simulations=simulations, c_init=4.0, **EVENLY)
    plan = TreeSearch(config, NOTHING).plan(GOLDEN, place(0, 0), torch.tensor([0, 5]))
    for lane in range(2):
        assert plan.info["visits"][lane].tolist() == visits
        assert plan.info["worth"][lane].tolist() == pytest.approx(worth, nan_ok=True)
        assert plan.value[lane].item() == pytest.approx(value)
        assert plan.action[lane].tolist() == ([1, 0] if simulations < 6 else [0, 1])  # of as many visits the most worth
        assert plan.imagined[lane] == simulations


def reference(world: TableWorld, place: int, config: TreeConfig, values: list[float]) -> tuple[list, float]:
    """Return the root's visits and value after a search of one lane, node by node, as a textbook has it."""
    discount, actions = config.discount, world.after.shape[1]

    def node(place: int, depth: int) -> dict:
        return {"place": place, "depth": depth, "n": 1, "v": values[place], "kids": {}}

    def worth(kid: tuple) -> float:
        below, reward, keep = kid
        return reward + keep * below["v"]

    def bound(node: dict, action: int) -> float:
        known = [worth(kid) for kid in node["kids"].values()] + [node["v"]]
        span = max(max(known) - min(known), 1e-8)
        kid = node["kids"].get(action)
        scaled = 0.0 if kid is None else (worth(kid) - min(known)) / span
        weight = config.c_init + math.log((node["n"] + config.c_base + 1) / config.c_base)
        return scaled + weight * math.sqrt(node["n"]) / actions / (1 + (kid[0]["n"] if kid else 0))

    root = node(place, 0)
    for _ in range(config.num_simulations):
        path, now = [], root
        while True:
            if now["depth"] == config.horizon:
                back = now["v"]
                break
            action = max(range(actions), key=lambda a, now=now: round(bound(now, a), 5))
            path.append((now, action))
            if action not in now["kids"]:
                below = node(int(world.after[now["place"], action]), now["depth"] + 1)
                keep = discount * float(1 - world.termination[now["place"], action])
                now["kids"][action] = below, float(world.reward[now["place"], action]), keep
                now, back = below, below["v"]
                break
            now = now["kids"][action][0]
        if now["n"] and now["depth"] == config.horizon and (not path or path[-1][0]["kids"][path[-1][1]][0]["n"] > 1):
            pass
        fresh = path and path[-1][0]["kids"][path[-1][1]][0] is now and not now.get("seen")
        if fresh:
            now["seen"] = True
        else:
            now["v"], now["n"] = (now["v"] * now["n"] + back) / (now["n"] + 1), now["n"] + 1
        for above, action in reversed(path):
            _, reward, keep = above["kids"][action]
            back = reward + keep * back
            above["v"], above["n"] = (above["v"] * above["n"] + back) / (above["n"] + 1), above["n"] + 1
    return [root["kids"][a][0]["n"] if a in root["kids"] else 0 for a in range(actions)], root["v"]

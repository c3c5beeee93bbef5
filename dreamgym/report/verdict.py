"""Trustworthy for what, and for what not: rules with a number and a threshold each, which the page states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Found = tuple[bool, str]
"""Whether the claim holds, and the figures that say so."""


@dataclass(frozen=True)
class Rule:
    """When a dream is trustworthy for something."""

    claim: str
    """Completes "trustworthy for"."""
    condition: str
    """In words, with the thresholds that `judge` uses."""
    part: str
    """Of the report that it reads."""
    judge: Callable[[Mapping[str, Any]], Found | None]
    """From that part; None if it cannot say."""


RANK, RANK_LOW = 0.8, 0.5
REGRET = 0.05
SCORE_ERROR = 0.1
AHEAD = 10
REWARD_ERROR = 0.1
FEWEST_ENDINGS = 20
RATE = (0.8, 1.25)
ALARMS = 0.8
COVERAGE, COVERED_STEPS = 0.1, 20
OUTSIDE = 0.05


def _ranking(part: Mapping[str, Any]) -> Found | None:
    if "spearman" not in part or part["spearman"]["value"] != part["spearman"]["value"]:
        return None
    rho = part["spearman"]
    holds = rho["value"] >= RANK and rho["low"] >= RANK_LOW
    return holds, f"Spearman {rho['value']:.2f} [{rho['low']:.2f}, {rho['high']:.2f}], {len(part['policies'])} policies"


def _choosing(part: Mapping[str, Any]) -> Found | None:
    if not part.get("range"):
        return None
    best = part["best"]
    return best["regret"] <= REGRET, f"“{best['name']}” earns {best['regret']:.0%} of the range less than the best"


def _scores(part: Mapping[str, Any]) -> Found | None:
    if not part.get("range"):
        return None
    return part["score_error"] <= SCORE_ERROR, f"{part['score_error']:.0%} of the range, {part['range']:.4g}"


def _ahead(part: Mapping[str, Any]) -> Found | None:
    kind = "observations" if "observations" in part else "features"
    curves = part[kind]
    if len(curves["after"]) == 0 or curves["after"][-1] < AHEAD:
        return None
    return curves["trusted"] >= AHEAD, f"{kind}: {curves['trusted']} of {curves['after'][-1]} steps"


def _rewards(part: Mapping[str, Any]) -> Found | None:
    error = part["calibration_error"] / max(part["scale"], 1e-12)
    return error <= REWARD_ERROR, f"{error:.1%} of {part['scale']:.3g}"


def _rates(part: Mapping[str, Any]) -> Found | None:
    if part["endings"] < FEWEST_ENDINGS:
        return None
    rate = part["rate"]
    holds = RATE[0] <= rate["value"] <= RATE[1]
    return holds, f"{rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}] of {part['endings']} endings"


def _alarms(part: Mapping[str, Any]) -> Found | None:
    if part["endings"] < FEWEST_ENDINGS:
        return None
    recall, precision = part["recall"]["value"], part["precision"]["value"]
    holds = min(recall, precision) >= ALARMS  # without an alarm the precision is NaN, and the recall 0
    said = f"{precision:.0%}" if precision == precision else "none, for want of alarms"
    return holds, f"recall {recall:.0%}, precision {said}"


def _uncertainty(part: Mapping[str, Any]) -> Found | None:
    covered = [c for h, c in zip(part["features"]["after"], part["features"]["covered"], strict=True)
               if h <= COVERED_STEPS and c == c]  # fmt: skip
    if not covered:
        return None
    mean, nominal = sum(covered) / len(covered), part["nominal_coverage"]
    return abs(mean - nominal) <= COVERAGE, f"{mean:.0%}; it should be {nominal:.0%}"


def _inside(part: Mapping[str, Any]) -> Found | None:
    share = part["share"]
    return share["value"] <= OUTSIDE, f"{share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}] of its steps"


def _longer(part: Mapping[str, Any]) -> Found | None:
    if not part["rows"] or "gap" not in part["rows"][0]:
        return None
    last = part["rows"][-1]["decisions"]
    if part["parted"] is None:
        return True, f"not parted after {last:,} decisions"
    return False, f"parted from {part['parted']:,} decisions on"


RULES = (
    Rule("ranking policies", f"the rank correlation of dream and real returns is at least {RANK}, and the lower end of "
         f"its 95% interval at least {RANK_LOW}", "transfer", _ranking),
    Rule("choosing the best policy", f"the policy that the dream likes best earns at most {REGRET:.0%} of the range of "
         "real returns less than the best one", "transfer", _choosing),
    Rule("predicting a policy's score", f"dream and real return differ by at most {SCORE_ERROR:.0%} of the range of "
         "real returns, in the mean over policies", "transfer", _scores),
    Rule(f"looking {AHEAD} steps ahead", f"for {AHEAD} steps with closed eyes, a dream is nearer to the truth than the "
         "last frame, and than a frame of another episode", "horizon", _ahead),
    Rule("the reward of a step", f"expected and real reward differ by at most {REWARD_ERROR:.0%} of the reward's "
         "standard deviation (of its size, if it is always the same), in the mean over ten bins", "reward", _rewards),
    Rule("how often episodes end", f"the probabilities of ending add up to between {RATE[0]:g} and {RATE[1]:g} of the "
         f"endings that came, of which there are at least {FEWEST_ENDINGS}", "endings", _rates),
    Rule("which step ends an episode", f"at least {ALARMS:.0%} of the endings are foreseen one step before with a "
         f"probability above one half, and at least {ALARMS:.0%} of such alarms are right", "endings", _alarms),
    Rule("its own certainty", f"over the first {COVERED_STEPS} steps the truth lies within its draws as often as it "
         f"should, give or take {100 * COVERAGE:.0f} percentage points (features)", "horizon", _uncertainty),
    Rule("the situations that the shipped policy gets into", f"at most {OUTSIDE:.0%} of the policy's "
         "real steps lie outside the data", "outside", _inside),
    Rule("training in it for longer", "dream and real return have not parted by the end of a longer training",
         "exploitation", _longer),
)  # fmt: skip


def judge(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each rule: `claim`, `condition`, `holds` (None: not measured) and the `figures` that decided."""
    rows = []
    for rule in RULES:
        found = rule.judge(report[rule.part]) if rule.part in report else None
        holds, figures = found if found is not None else (None, "not measured")
        rows.append({"claim": rule.claim, "condition": rule.condition, "holds": holds, "figures": figures})
    return rows


def in_words(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the claims by what became of them: `trustworthy`, `not` and `unknown`."""
    names = {True: "trustworthy", False: "not", None: "unknown"}
    return {name: [row["claim"] for row in rows if row["holds"] is holds] for holds, name in names.items()}

"""`dreamgym plan`: what it prints, and the one line that it prints when something is wrong."""

import json

import pytest

from dreamgym.cli.commands import main

FAST = ("--num-candidates", "8", "--horizon", "2", "--num-iterations", "2", "--num-elites", "2")


def run(capsys, *arguments):
    """Return the exit status, output and errors of the command."""
    with pytest.raises(SystemExit) as caught:
        main(["plan", *map(str, arguments)])
    return caught.value.code, *capsys.readouterr()


def test_planning_tells_scores_times_and_settings(capsys):
    status, out, _ = run(capsys, "DreamCartPole-v0", "--planner", "cem", *FAST, "--episodes", 3, "--lanes", 2, "--json")
    figures = json.loads(out)
    assert status == 0
    assert figures["config"] | {"num_candidates": 8, "horizon": 2} == figures["config"]
    assert figures["real"]["episodes"] == len(figures["real"]["returns"]) == 3
    assert figures["decisions"] == sum(figures["real"]["lengths"])
    assert figures["decisions_without_a_finite_plan"] == 0
    imagined = figures["decisions"] * 8 * 2 * 2
    seconds = figures["seconds_per_decision"] * figures["decisions"]
    assert figures["imagined_steps_per_second"] == pytest.approx(imagined / seconds)
    again = json.loads(run(capsys, "DreamCartPole-v0", *FAST, "--episodes", 3, "--lanes", 2, "--json")[1])
    assert again["real"] == figures["real"]
    other = run(capsys, "DreamCartPole-v0", *FAST, "--episodes", 3, "--lanes", 2, "--seed", 90, "--json")
    assert json.loads(other[1])["real"] != figures["real"]


def test_people_get_a_table_and_the_pace(capsys):
    status, out, _ = run(capsys, "DreamCartPole-v0", "--planner", "random", *FAST[:2], "--horizon", 1, "--episodes", 2)
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == "DreamCartPole-v0, random, 2 real episodes"
    assert lines[1].split() == ["planner", "mean", "return", "std", "worst", "best", "a", "decision", "terminated"]
    assert lines[2].split()[0] == "random"
    assert "ms of planning a decision, 1 at once" in lines[3]
    assert lines[3].endswith("imagined steps/s")


def test_wrappers_reach_the_planner(capsys):
    plain, wrapped = (
        json.loads(run(capsys, "DreamCartPole-v0", "--variant", "rssm", *FAST, "--episodes", 2, *wrap, "--json")[1])[
            "real"
        ]["returns"]
        for wrap in ([], ["--wrap", "temperature:temperature=3.0"])
    )
    assert plain != wrapped


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["DreamCart"], "unknown dream 'DreamCart'"),
        (
            ["DreamCartPole-v0", "--planner", "cme"],
            "unknown planner 'cme'; available: cem, gradient, mppi, random, rollout, tree. ",
        ),
        (["DreamCartPole-v0", "--variant", "x"], "unknown variant of DreamCartPole-v0 'x'"),
        (["DreamCartPole-v0", "--wrap", "temprature:temperature=2"], "unknown wrapper 'temprature'"),
        (["DreamCartPole-v0", "--horizon", "0"], "horizon is 0; expected at least 1."),
        (["DreamCartPole-v0", "--num-candidates", "0"], "num_candidates is 0; expected at least 1."),
        (["DreamCartPole-v0", "--num-elites", "500"], "num_elites is 500; expected at most the 400 of num_candidates."),
        (["DreamCartPole-v0", "--episodes", "0"], "episodes is 0; expected at least 1."),
        (["DreamCartPole-v0", "--lanes", "0"], "lanes is 0; expected at least 1."),
        (["DreamPendulum-v0", "--planner", "tree"], "TreeSearch chooses among Discrete actions"),
    ],
)
def test_a_bad_option_is_one_line(capsys, arguments, told):
    status, _, errors = run(capsys, *arguments)
    assert status == 2
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert told in errors

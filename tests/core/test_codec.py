"""Units: there and back again for every space, gradients on the way, and an error for every kind of bad action."""

import re
import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces
from oracle import counting_starts, counting_world
from torch.utils._python_dispatch import TorchDispatchMode

from dreamgym.core.codec import action_dim, check_action, decode_action, decode_obs, encode_action, encode_obs
from dreamgym.errors import InvalidAction, InvalidActionType, InvalidObservation, UnsupportedSpace

PICTURE = spaces.Box(0, 255, (4, 6, 3), np.uint8)
STEER = spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))
VECTORS = {
    "bounded": spaces.Box(-2, 3, (5,), np.float32),
    "unbounded": spaces.Box(-np.inf, np.inf, (5,), np.float32),
    "mixed": STEER,
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "float64": spaces.Box(-0.1, 0.1, (4,), np.float64),
    "integers": spaces.Box(-3, 2**31 - 1, (4,), np.int32),
    "counted from -1": spaces.Discrete(3, start=-1),
    "counted from 5": spaces.Discrete(4, start=5),
}
BOTH = spaces.Dict({"camera": PICTURE, "speed": VECTORS["bounded"], "gear": spaces.Discrete(3)})


def samples(space, count=6):
    space.seed(0)
    return np.stack([space.sample() for _ in range(count)])


def test_pictures_survive_and_are_floats_in_0_to_1_with_channels_first():
    pictures = samples(PICTURE)
    pictures[0, 0, 0], pictures[0, 0, 1] = 0, 255
    encoded = encode_obs(PICTURE, pictures)
    assert encoded.shape == (6, 3, 4, 6)
    assert encoded.dtype == torch.float32
    assert (encoded.min(), encoded.max()) == (0, 1)
    assert encoded[1, 2, 3, 5] == pytest.approx(pictures[1, 3, 5, 2] / 255)
    decoded = decode_obs(PICTURE, encoded)
    assert decoded.dtype == torch.uint8
    assert np.array_equal(decoded, pictures)


def test_all_256_greys_survive():
    greys = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    space = spaces.Box(0, 255, (16, 16, 1), np.uint8)
    assert np.array_equal(decode_obs(space, encode_obs(space, greys)), greys)


def test_a_picture_is_rounded_and_what_lies_outside_is_clipped():
    space = spaces.Box(0, 255, (1, 4, 1), np.uint8)
    decoded = decode_obs(space, torch.tensor([[[[-0.5, 0.0021, 0.99999, 7.0]]]]))
    assert decoded.flatten().tolist() == [0, 1, 255, 255]


@pytest.mark.parametrize("space", VECTORS.values(), ids=VECTORS.keys())
def test_a_vector_or_number_survives_as_observation_and_as_action(space):
    values = samples(space)
    if space.dtype == np.int32:
        values = values % 1000  # float32 holds integers below 2^24 exactly
    for encode, decode in ((encode_obs, decode_obs), (encode_action, decode_action)):
        encoded = encode(space, values)
        assert encoded.shape == (6, action_dim(space))
        assert encoded.dtype == torch.float32
        decoded = decode(space, encoded).numpy()
        assert decoded.dtype == values.dtype
        assert np.allclose(decoded, values, rtol=1e-6)
        assert all(space.contains(np.asarray(value)) for value in decoded)


@pytest.mark.parametrize("name", ["bounded", "mixed", "float64", "integers"])
def test_what_is_decoded_lies_in_the_space_even_at_and_beyond_its_bounds(name):
    space = VECTORS[name]
    for bound in (space.low, space.high, space.low - 1.0, space.high + 1.0):
        encoded = torch.as_tensor(bound, dtype=torch.float32)[None]
        assert space.contains(decode_obs(space, encoded)[0].numpy())


def test_the_bounds_of_a_space_are_copied_to_the_device_only_once():
    class Copies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            self.count += operator is torch.ops.aten._to_copy.default
            return operator(*args, **(kwargs or {}))

    space = spaces.Box(-1, np.arange(7, dtype=np.float32), dtype=np.float32)
    counts = []
    for _ in range(2):
        with Copies() as copies:
            decode_obs(space, torch.zeros(3, 7, device="meta"))
        counts.append(copies.count)
    assert counts[0] > 0 == counts[1]


def test_a_dict_survives_part_by_part():
    obs = {key: samples(part) for key, part in BOTH.items()}
    encoded = encode_obs(BOTH, obs)
    assert {key: tuple(part.shape) for key, part in encoded.items()} == {
        "camera": (6, 3, 4, 6),
        "gear": (6, 3),
        "speed": (6, 5),
    }
    for key, part in decode_obs(BOTH, encoded).items():
        assert np.allclose(part, obs[key])


@pytest.mark.parametrize("space", [PICTURE, STEER, VECTORS["matrix"], VECTORS["counted from 5"]], ids=str)
def test_an_empty_batch_keeps_its_width(space):
    empty = samples(space)[:0]
    assert len(encode_obs(space, empty)) == 0
    assert encode_obs(space, empty).shape[1:] == encode_obs(space, samples(space)).shape[1:]
    assert encode_action(STEER, np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_read_only_and_reversed_arrays_are_encoded_without_a_warning():
    frozen = samples(PICTURE)
    frozen.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(encode_obs(PICTURE, frozen), encode_obs(PICTURE, frozen.copy()))
        assert torch.equal(encode_obs(PICTURE, frozen[::-1]), encode_obs(PICTURE, frozen[::-1].copy()))
        buttons = np.arange(3)[::-1]
        assert encode_action(spaces.Discrete(3), buttons).argmax(1).tolist() == [2, 1, 0]


def test_encoding_shares_no_memory_with_what_was_given():
    given, picture = np.zeros((2, 5), np.float32), torch.zeros(2, 4, 6, 3)
    encode_obs(VECTORS["bounded"], given).add_(1)
    encode_action(VECTORS["bounded"], given).add_(1)
    encode_obs(PICTURE, picture).add_(1)
    assert not given.any()
    assert not picture.any()


def test_a_discrete_action_is_one_hot_and_decodes_to_the_largest_entry():
    space = spaces.Discrete(3, start=5)
    assert encode_action(space, np.array([5, 7])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert decode_action(space, torch.tensor([[0.2, 0.5, 0.3]])).tolist() == [6]


def test_gradients_reach_one_hot_actions():
    model, state = counting_world(), counting_starts().sample(torch.rand(2))
    action = encode_action(model.action_space, np.array([1, 2])).requires_grad_()
    (slope,) = torch.autograd.grad(model.step(state, action).reward.sum(), action)
    assert slope.tolist() == [[0, pytest.approx(0.1), pytest.approx(0.2)]] * 2


def test_observations_of_another_shape_are_refused_by_it():
    with pytest.raises(InvalidObservation, match=r"observation has shape \(2, 6, 4, 3\); expected \(B, 4, 6, 3\)"):
        encode_obs(PICTURE, np.zeros((2, 6, 4, 3), np.uint8))
    with pytest.raises(InvalidObservation, match=r"observation has shape \(2, 1\); expected \(B,\)"):
        encode_obs(spaces.Discrete(3), np.zeros((2, 1), int))


def test_a_dict_without_a_part_is_refused_by_the_name_of_the_part():
    with pytest.raises(InvalidObservation, match="observation lacks 'gear'; expected camera, gear, speed"):
        encode_obs(BOTH, {"camera": samples(PICTURE), "speed": samples(VECTORS["bounded"])})


def test_other_spaces_are_refused_by_name():
    many = spaces.MultiDiscrete([2, 3])
    with pytest.raises(UnsupportedSpace, match=r"action space MultiDiscrete\(\[2 3\]\) is not supported"):
        action_dim(many)
    for call in (encode_obs, encode_action):
        with pytest.raises(UnsupportedSpace, match=r"space MultiDiscrete\(\[2 3\]\) is not supported; expected a Box"):
            call(many, np.zeros((1, 2), int))
    nested = spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})})
    with pytest.raises(UnsupportedSpace, match="a Dict inside a Dict is not supported; flatten"):
        encode_obs(nested, {"a": {"b": np.zeros(1, int)}})


STEERS = "Car-v0 expects (2, 3) float32 [-1..1, 0..1, 0..1]."
PRESSES = "Car-v0 expects (2,) integers 5..7."
STEERS_ONE = "Car-v0 expects (3,) float32 [-1..1, 0..1, 0..1]."
PRESSES_ONE = "Car-v0 expects integers 5..7."
KEYS = spaces.Discrete(3, start=5)


@pytest.mark.parametrize(
    ("space", "action", "error", "message"),
    [
        (STEER, np.zeros((2, 2), np.float32), InvalidAction, f"action has shape (2, 2); {STEERS}"),
        (STEER, np.zeros((3, 3), np.float32), InvalidAction, f"action has shape (3, 3); {STEERS}"),
        (STEER, torch.zeros(3), InvalidAction, f"action has shape (3,); {STEERS}"),
        (STEER, [[0, np.nan, 0]] * 2, InvalidAction, f"action holds nan; {STEERS}"),
        (STEER, [[0, 0, 0], [-np.inf, 0, 0]], InvalidAction, f"action holds -inf; {STEERS}"),
        (STEER, torch.tensor([[0, 0, 0], [0, 0, torch.inf]]), InvalidAction, f"action holds inf; {STEERS}"),
        (STEER, [[0.0, 0.0, 0.0], [0.0, 1.5, 0.0]], InvalidAction,
         f"action of lane 1 is [0.0, 1.5, 0.0], out of range; {STEERS} Clip it first."),
        (STEER, 3, InvalidActionType, f"action is 3; {STEERS}"),
        (STEER, None, InvalidActionType, f"action is None; {STEERS}"),
        (STEER, torch.tensor(0.5), InvalidActionType, f"action is 0.5; {STEERS}"),
        (STEER, [[0, 0, 0], [0, 0]], InvalidActionType, f"action is [[0, 0, 0], [0, 0]]; {STEERS}"),
        (STEER, [["a", "b", "c"]] * 2, InvalidActionType, f"action has dtype <U1; {STEERS}"),
        (STEER, [[None, 0, 0]] * 2, InvalidActionType, f"action has dtype object; {STEERS}"),
        (STEER, np.zeros((2, 3), complex), InvalidActionType, f"action has dtype complex128; {STEERS}"),
        (KEYS, np.array([5, 8]), InvalidAction, f"action of lane 1 is 8, out of range; {PRESSES}"),
        (KEYS, np.array([4, 6]), InvalidAction, f"action of lane 0 is 4, out of range; {PRESSES}"),
        (KEYS, np.array([5.0, 6.0]), InvalidAction, f"action has dtype float64; {PRESSES}"),
        (KEYS, torch.tensor([5.0, 6.0]), InvalidAction, f"action has dtype torch.float32; {PRESSES}"),
        (KEYS, np.array([True, True]), InvalidAction, f"action has dtype bool; {PRESSES}"),
        (KEYS, np.array([5]), InvalidAction, f"action has shape (1,); {PRESSES}"),
        (KEYS, 5, InvalidActionType, f"action is 5; {PRESSES}"),
        (KEYS, np.array([5, None]), InvalidActionType, f"action has dtype object; {PRESSES}"),
    ],
)  # fmt: skip
def test_a_bad_batch_of_actions_is_refused_by_its_value(space, action, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$") as caught:
        check_action(space, action, 2, "Car-v0")
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) == (error is InvalidActionType)


@pytest.mark.parametrize(
    ("space", "action", "error", "message"),
    [
        (STEER, np.zeros(2, np.float32), InvalidAction, f"action has shape (2,); {STEERS_ONE}"),
        (STEER, [0, 2, 0], InvalidAction, f"action is [0, 2, 0], out of range; {STEERS_ONE} Clip it first."),
        (STEER, 0.5, InvalidAction, f"action has shape (); {STEERS_ONE}"),
        (STEER, [0, [1, 2], 0], InvalidActionType, f"action is [0, [1, 2], 0]; {STEERS_ONE}"),
        (KEYS, 8, InvalidAction, f"action is 8, out of range; {PRESSES_ONE}"),
        (KEYS, 5.0, InvalidAction, f"action has dtype float64; {PRESSES_ONE}"),
        (KEYS, [5], InvalidAction, f"action has shape (1,); {PRESSES_ONE}"),
        (KEYS, None, InvalidActionType, f"action is None; {PRESSES_ONE}"),
        (KEYS, "5", InvalidActionType, f"action has dtype <U1; {PRESSES_ONE}"),
    ],
)
def test_a_bad_single_action_is_refused_by_its_value(space, action, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check_action(space, action, None, "Car-v0")


def test_large_spaces_are_described_by_their_dtype_alone():
    space = spaces.Box(-1, 1, (20,), np.float32)
    with pytest.raises(InvalidAction, match=r"X expects \(1, 20\) float32\.$"):
        check_action(space, np.zeros(20), 1, "X")


@pytest.mark.parametrize(
    "action", [[[1, 1, 1]] * 2, np.float64([[-1, 0, 0]] * 2), torch.tensor([[1 + 1e-6, 0, 0]] * 2)]
)
def test_good_actions_pass_whatever_they_are_made_of(action):
    checked = check_action(STEER, action, 2, "X")
    assert tuple(checked.shape) == (2, 3)


@pytest.mark.parametrize("action", [6, np.int32(6), np.array(6, np.uint8), torch.tensor(6)])
def test_a_single_button_may_be_any_kind_of_integer(action):
    assert int(check_action(KEYS, action, None, "X")) == 6


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_space_without_bounds_takes_finite_actions_only(value: float) -> None:
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert check_action(space, np.float32([[3e38, -3e38]]), 1, "Free-v0") is not None
    for action in (np.float32([[0.0, value]]), torch.tensor([[0.0, value]])):
        with pytest.raises(InvalidAction, match=f"action holds {value}; Free-v0 expects"):
            check_action(space, action, 1, "Free-v0")

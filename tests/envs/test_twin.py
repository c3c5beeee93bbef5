"""The real twin: the dream's spaces and encoding, its keys, and cards that must not choose what is run."""

import warnings
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pygame
import pytest
from dreamgym.wrappers.feature_observation import FeatureObservation
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from oracle import BUTTONS, PICTURES, counting_dream

import dreamgym
from dreamgym.core.starts import observe_moments
from dreamgym.envs.twin import keys_to_action, real_id
from dreamgym.errors import ForeignDream, InvalidArgument, InvalidObservation
from dreamgym.hub import LoadedDream


def test_the_twin_has_the_spaces_of_the_dream_in_every_mode(dream_id):
    for observation in ("pixels", "features", "both"):
        real = dreamgym.make_real(dream_id, observation=observation)
        dream = gym.make(dream_id, observation=observation)
        assert real.observation_space == dream.observation_space
        assert real.action_space == dream.action_space
        assert real.reset(seed=0)[0] in dream.observation_space
        assert real.step(1)[0] in dream.observation_space


def test_the_twin_is_the_real_env_with_the_real_rewards_and_endings(dream_id):
    real = dreamgym.make_real(dream_id, observation="features")
    real.reset(seed=0)
    steps = [real.step(2) for _ in range(5)]
    assert [step[1] for step in steps] == pytest.approx([1.2, 2.2, 3.2, 4.2, 5.2])
    assert [step[2] for step in steps] == [False] * 4 + [True]


def test_features_are_those_of_the_posterior_and_begin_afresh_with_each_episode(dream_id):
    real = dreamgym.make_real(dream_id, observation="both")
    for actions in ((1, 2, 0), (2, 2, 2)):
        seen = [real.reset(seed=0)[0], *(real.step(action)[0] for action in actions)]
        pixels = np.stack([obs["pixels"] for obs in seen])
        model = dreamgym.load(dream_id).model
        one = SimpleNamespace(obs=pixels, action=np.array(actions))
        states = observe_moments(model, [one], [np.arange(len(seen))])
        for obs, state in zip(seen, states, strict=True):
            assert np.array_equal(obs["features"], model.features(state)[0].numpy())
        assert seen[-1]["features"].tolist() == [7, 3, sum(actions), 0]


@pytest.mark.filterwarnings("ignore:.*(A Box observation space|has a wrapper applied)")
def test_gymnasiums_checker_finds_no_fault_in_a_filtered_env(dream_id):
    real = type(gym.make("RealCounting-v0").unwrapped)()
    env = FeatureObservation(real, dreamgym.load(dream_id).model, "both")
    check_env(env, skip_render_check=True)


def test_filtering_draws_no_random_numbers_of_the_action_space(dream_id):
    real = dreamgym.make_real(dream_id, observation="features")
    real.action_space.seed(0)
    expected = [real.action_space.sample() for _ in range(5)]
    real.action_space.seed(0)
    drawn = []
    for _ in range(5):
        real.reset()
        drawn.append(real.action_space.sample())
    assert drawn == expected


def test_buttons_that_do_not_begin_at_zero_are_filtered_too():
    class Env(gym.Env):
        observation_space, action_space = PICTURES, gym.spaces.Discrete(3, start=4)

        def reset(self, *, seed=None, options=None):
            return np.full((4, 6, 3), 7, np.uint8), {}

        def step(self, action):
            return np.full((4, 6, 3), 7, np.uint8), 0.0, False, False, {}

    env = FeatureObservation(Env(), counting_dream(PICTURES, gym.spaces.Discrete(3, start=4)).model)
    assert env.reset()[0].tolist() == [7, 0, 0, 0]
    assert env.step(6)[0].tolist() == [7, 1, 2, 0]


def test_a_twin_with_other_spaces_is_refused_by_both_of_them(dream_id):
    dream = counting_dream(gym.spaces.Box(0, 255, (8, 8, 3), np.uint8))
    other = LoadedDream(dream.model, dream.starts, {"id": "Other", "real": "RealCounting-v0"})
    expected = r"RealCounting-v0 has observation_space Box.*\(4, 6, 3\).*; Other was trained on Box.*\(8, 8, 3\)"
    with pytest.raises(InvalidObservation, match=expected):
        dreamgym.make_real(other)


@pytest.mark.parametrize("real", [None, "", "evil.module:Env-v0", "os:system"])
def test_a_card_that_names_no_twin_or_a_module_is_refused_by_what_it_says(real):
    card = {"id": "Evil"} if real is None else {"id": "Evil", "real": real}
    dream = LoadedDream(counting_dream().model, counting_dream().starts, card)
    for call in (dreamgym.make_real, real_id, keys_to_action):
        with pytest.raises(ForeignDream, match=f"the card of Evil says real = {real!r}; expected the id"):
            call(dream)


def test_an_unknown_observation_is_refused_by_its_name(dream_id):
    with pytest.raises(InvalidArgument, match="observation is 'latent'; expected one of 'pixels', 'features', 'both'"):
        dreamgym.make_real(dream_id, observation="latent")


def test_the_keys_of_a_dream_are_those_of_its_twin(dream_id):
    assert gym.make(dream_id).get_wrapper_attr("get_keys_to_action")() == {(ord("a"),): 1, (ord("d"),): 2}


def twin_of(real, action_space=BUTTONS):
    """Return a dream of other pictures with the keys of a real env."""
    dream = counting_dream(PICTURES, action_space)
    return LoadedDream(dream.model, dream.starts, {"real": real})


def test_a_twin_that_says_nothing_of_keys_has_the_usual_ones():
    assert keys_to_action(twin_of("CartPole-v1", spaces.Discrete(2))) == {(pygame.K_LEFT,): 0, (pygame.K_RIGHT,): 1}
    pendulum = twin_of("Pendulum-v1", spaces.Box(-2, 2, (1,)))
    keys = keys_to_action(pendulum)
    assert {held: action.item() for held, action in keys.items()} == {
        (pygame.K_LEFT,): -2, (pygame.K_RIGHT,): 2, (pygame.K_RIGHT, pygame.K_LEFT): 0,
    }  # fmt: skip
    assert keys_to_action(pendulum, idle=True)[()].tolist() == [0]


def test_a_twin_without_keys_says_so_where_none_are_usual():
    with pytest.raises(InvalidArgument, match="CartPole-v1 does not say which keys mean which action, and no keys are"):
        keys_to_action(twin_of("CartPole-v1", spaces.Discrete(10)))


def test_what_a_twin_does_with_its_keys_let_go_is_known():
    assert keys_to_action(twin_of("MountainCar-v0"), idle=True)[()] == 1
    assert () not in keys_to_action(twin_of("MountainCar-v0"))


def test_the_arrow_keys_drive_the_dreamed_car():
    keys = keys_to_action(twin_of("CarRacing64-v0"), idle=True)
    assert keys[(pygame.K_UP,)].tolist() == pytest.approx([0, 0.4, 0])
    assert keys[(pygame.K_LEFT,)].tolist() == pytest.approx([-0.4, 0, 0])
    assert keys[(pygame.K_RIGHT, pygame.K_DOWN)].tolist() == pytest.approx([0.4, 0, 0.25])
    assert keys[()].tolist() == [0, 0, 0]
    assert len(keys) == 9
    space = spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))
    assert all(space.contains(action) for action in keys.values())


def test_the_keys_move_the_ship_of_dodge():
    assert keys_to_action(twin_of("Dodge-v0")) == {(ord("a"),): 1, (ord("d"),): 2}


@pytest.mark.parametrize(
    ("name", "key", "idle", "action"),
    [
        ("DreamDodge-v0", pygame.K_d, 0, 2),
        ("DreamCarRacing-v0", pygame.K_LEFT, np.zeros(3, np.float32), np.float32([-0.4, 0, 0])),
    ],
)
def test_gymnasium_plays_a_dream(name, key, idle, action):
    env = gym.make(name, render_mode="rgb_array")
    done = []

    def follow(obs, next_obs, act, *rest):
        done.append(act)
        if len(done) == 1:  # once: before 1.2 a key that is pressed twice is another combination
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        if len(done) == 3:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a plot that nobody wants
        from gymnasium.utils.play import play
    play(env, fps=1000, callback=follow, noop=idle, seed=0)
    assert np.array_equal(done, [idle, action, action])

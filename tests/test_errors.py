"""Errors are also the builtins that they refine, and print what they were given."""

import inspect
import pickle

import pytest

from dreamgym import errors
from dreamgym.errors import MissingExtra, UnknownName

REFINED = {
    "UnknownName": KeyError,
    "InvalidArgument": ValueError,
    "InvalidArgumentType": TypeError,
    "InvalidTemperature": ValueError,
    "InvalidAction": ValueError,
    "InvalidActionType": TypeError,
    "InvalidObservation": ValueError,
    "UnsupportedSpace": TypeError,
    "InvalidModel": TypeError,
    "MissingHead": NotImplementedError,
    "NotDecodable": NotImplementedError,
    "StepBeforeReset": RuntimeError,
    "CorruptDream": ValueError,
    "ForeignDream": ValueError,
    "PolicyMismatch": ValueError,
    "InvalidDataset": ValueError,
    "NotWritable": OSError,
    "TrainingFailed": RuntimeError,
    "MissingExtra": ImportError,
}
CLASSES = {name: cls for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}


def test_every_error_is_known_here():
    assert CLASSES.keys() == {"DreamgymError", *REFINED}


@pytest.mark.parametrize("name", REFINED)
def test_an_error_is_dreamgyms_and_the_builtin_that_it_refines(name):
    assert issubclass(CLASSES[name], errors.DreamgymError)
    assert issubclass(CLASSES[name], REFINED[name])
    assert CLASSES[name].__doc__


def test_a_scalar_action_is_both_a_bad_value_and_a_bad_type():
    assert issubclass(errors.InvalidActionType, (ValueError, errors.InvalidAction))


def test_an_unknown_name_prints_what_was_asked_what_there_is_and_the_closest():
    error = errors.UnknownName("world model", "rsm", ["vae_mdn_rnn", "rssm"])
    assert str(error) == "unknown world model 'rsm'; available: rssm, vae_mdn_rnn. Did you mean 'rssm'?"
    assert str(errors.UnknownName("variant", "x", [])) == "unknown variant 'x'; available: none."
    assert "Did you mean" not in str(errors.UnknownName("variant", "qqq", ["rssm"]))


def test_a_missing_extra_says_what_to_install():
    error = errors.MissingExtra("dreamgym play", "pygame-ce", "play")
    assert str(error) == 'dreamgym play needs pygame-ce: pip install "dreamgym[play]"'


@pytest.mark.parametrize(
    "error", [UnknownName("model", "rsm", ["rssm"]), MissingExtra("the viewer", "a window", "play")]
)
def test_an_error_comes_back_from_a_worker_process_as_it_was(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)

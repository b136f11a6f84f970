"""How a reading becomes channels."""

import pytest

from services.common.channels import count_not_known, split
from services.common.message import Reading


def reading(name="sensor", accuracy=None, **values):
    made = Reading(name=name, time=1_764_000_000_000_000_000, values=values)
    if accuracy is not None:
        made.accuracy = accuracy
    return made


def test_kinds_of_values_stay_apart():
    """Numbers, text, booleans, null and lists of one reading never affect each other."""
    numbers, texts = split(reading(a=1, b=2.5, c="3", d=True, e=False, f=None, g=[1, "x"], h={"k": None}))
    assert numbers == {"a": 1.0, "b": 2.5, "d": 1.0, "e": 0.0}
    assert texts == {"c": "3", "g": '[1,"x"]', "h": '{"k":null}'}


def test_accuracy_is_a_channel():
    """The accuracy that Android adds beside the values is a channel of the reading."""
    assert split(reading(accuracy=3, x=1.0)) == ({"x": 1.0, "accuracy": 3.0}, {})


def test_own_accuracy_value_is_kept():
    """A value that is itself called accuracy is not overwritten by the reading's."""
    own = Reading(name="s", time=0, values={"accuracy": 9.5}, accuracy=3)
    assert split(own) == ({"accuracy": 9.5}, {})


@pytest.mark.parametrize(
    ("name", "values", "known"),
    [
        ("location", {"latitude": -51.5, "speed": -1, "bearing": -1.0}, {"latitude": -51.5}),
        ("location", {"speed": 0, "horizontalAccuracy": 0.0}, {"speed": 0.0, "horizontalAccuracy": 0.0}),
        ("locationGps", {"latitude": 1, "speed": -1}, {"latitude": 1.0}),
        ("watch location", {"altitude": -5, "course": -1, "courseAccuracy": -1}, {"altitude": -5.0}),
        ("battery", {"batteryLevel": -1, "x": -1}, {"x": -1.0}),
        ("other", {"speed": -1, "batteryLevel": -1}, {"speed": -1.0, "batteryLevel": -1.0}),
    ],
)
def test_not_known_is_absent(name, values, known):
    """The app's negative "not known" values are left out, and only where they mean that."""
    assert split(reading(name, **values)) == (known, {})
    assert count_not_known(reading(name, **values)) == len(values) - len(known)


@pytest.mark.parametrize("value", [1.5e300, -1e101, 10**400])
def test_numbers_too_large_to_square_are_text(value):
    """A number that windows cannot hold is kept as text and costs its neighbours nothing."""
    numbers, texts = split(reading(a=value, b=2))
    assert numbers == {"b": 2.0}
    assert texts["a"].lstrip("-")[0] == "1"

"""Recorded motion brought to any rate, and the attitude that fits it."""

import json
import math
from pathlib import Path

import pytest

from services.simulator import attitude
from services.simulator.motion import ACTIVITIES, fade, interpolate, loop, recordings

DATA = Path(__file__).parents[2] / "services" / "simulator" / "data"


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_recordings_are_whole(activity):
    """Each activity has recordings of 100 samples with six values."""
    for recording in recordings()[activity]:
        assert [len(sample) for sample in recording] == [6] * 100


def test_activities_differ():
    """Who runs is shaken more than who walks, who walks more than who stands."""

    def shaking(activity):
        return [math.hypot(*sample[:3]) for recording in recordings()[activity] for sample in recording]

    means = [sum(shaking(activity)) / 300 for activity in ("standing", "walking", "running")]
    assert means == sorted(means)
    assert means[2] > 2 * means[1]


def test_file_to_replay_holds_the_recording_unaltered():
    """`walking.jsonl` holds exactly the samples of the first walk, every 100 ms."""
    payload = [r for line in (DATA / "walking.jsonl").read_text().splitlines() for r in json.loads(line)["payload"]]
    for name, columns in (("accelerometer", slice(0, 3)), ("gyroscope", slice(3, 6))):
        readings = [reading for reading in payload if reading["name"] == name]
        values = [[reading["values"][axis] for axis in "xyz"] for reading in readings]
        assert values == [sample[columns] for sample in recordings()["walking"][0]]
        times = [reading["time"] for reading in readings]
        assert times == list(range(times[0], times[0] + 100 * 10**8, 10**8))


def test_loop_at_the_recorded_rate_is_the_recording():
    """At 10 Hz the samples after the faded second are the recorded ones."""
    looped = loop("walking", 1, 10.0)
    recorded = recordings()["walking"][1]
    assert [[*m.acceleration, *m.rotation] for m in looped[10:]] == [pytest.approx(s) for s in recorded[10:90]]


def test_interpolation_passes_through_the_samples():
    """At ten times the rate every tenth sample is a given one."""
    samples = [[math.sin(i), i % 3] for i in range(20)]
    assert interpolate(samples, 200)[::10] == [pytest.approx(sample) for sample in samples]


def test_interpolation_follows_a_smooth_wave():
    """Between the samples of a sine the spline is close to the sine, over the seam too."""
    samples = [[math.sin(2 * math.pi * i / 40)] for i in range(40)]
    for index, (value,) in enumerate(interpolate(samples, 400)):
        assert value == pytest.approx(math.sin(2 * math.pi * index / 400), abs=1e-3)


def test_loop_has_no_seam():
    """The recording goes on over the seam as if it had never been cut."""
    recorded = recordings()["running"][0]
    faded = fade(recorded)
    assert len(faded) == 90
    assert faded[0] == pytest.approx(recorded[90])  # what followed the loop's last sample, recorded[89]
    assert faded[-1] == recorded[89]


@pytest.mark.parametrize("rate", [1.0, 33.3, 200.0])
def test_loop_has_the_rate(rate):
    """A loop of 9 s has 9 s worth of samples, whatever the rate."""
    assert len(loop("running", 0, rate)) == round(9 * rate)


def test_attitude_follows_the_gyroscope():
    """A turn about the screen's axis for half a second at 1 rad/s turns the phone by about half a radian."""
    rates = [(0.0, 0.0, 1.0)] * 50 + [(0.0, 0.0, 0.0)] * 5000
    yaw, pitch, roll = attitude.angles(attitude.swing(rates, 0.01)[50])
    assert 0.35 < yaw < 0.5  # a little has leaked back already
    assert (pitch, roll) == (0, 0)


def test_swing_has_no_seam():
    """Whoever turns steadily is turned as far at the loop's start as at its end."""
    turns = attitude.swing([(0.5, 0.0, 0.0)] * 900, 0.01)
    assert turns[0] == pytest.approx(turns[-1], abs=1e-3)
    assert attitude.angles(turns[0])[2] > 0.3


@pytest.mark.parametrize(("bearing", "yaw"), [(0, 0), (90, -math.pi / 2), (270, math.pi / 2)])
def test_facing(bearing, yaw):
    """A bearing turns clockwise, yaw the other way."""
    assert attitude.angles(attitude.facing(bearing))[0] == pytest.approx(yaw)


def test_north_is_ahead_of_a_phone_facing_it():
    """A level phone facing east has north on its left: minus x."""
    assert attitude.to_phone(attitude.facing(90), (0, 1, 0)) == pytest.approx((-1, 0, 0))

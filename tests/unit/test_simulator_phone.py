"""What a phone sends: messages that the contract accepts, sensors that agree with each other."""

import math
import statistics
from collections import defaultdict
from itertools import islice

import pytest

from services.common.message import Message, encode_json, parse_message
from services.simulator.phone import Phone, Recording
from services.simulator.sensors import DECLINATION, GRAVITY, MAGNETIC_FIELD
from services.simulator.walk import PARK, turn

START = 1_790_000_000 * 10**9
MOTION = {"accelerometer", "gyroscope", "gravity", "orientation", "magnetometer"}
SLOW = {
    *("battery", "network", "activity", "compass", "microphone", "location", "barometer"),
    *("annotation", "light", "brightness", "pedometer"),
}


def messages(count=200, *, seed=0, number=1, start=START, **recording):
    phone = Phone(seed, number, start, Recording(**{"rate": 10.0, **recording}))
    return list(islice(phone.messages(), count))


def by_sensor(dues):
    sensors = defaultdict(list)
    for due in dues:
        for reading in due.message.payload:
            sensors[reading.name].append(reading)
    return sensors


def test_messages_pass_the_contract():
    """Every message with every sensor is read back as it was made."""
    dues = messages(600, batch_period=1.0)
    assert set(by_sensor(dues)) == MOTION | SLOW
    for due in dues:
        parsed, _ = parse_message(encode_json(due.message))
        assert type(parsed) is Message
        assert parsed == due.message


def test_same_arguments_same_messages():
    """Two phones made alike send the same."""
    assert messages(restarts=0.1) == messages(restarts=0.1)


def test_start_shifts_times_alone():
    """Another start changes times and sessions, and nothing else."""
    first, second = messages(), messages(start=START + 256 * 10**9)
    assert [[(r.time + 256 * 10**9, r.values) for r in due.message.payload] for due in first] == [
        [(r.time, r.values) for r in due.message.payload] for due in second
    ]
    assert first[0].message.deviceId == second[0].message.deviceId
    assert first[0].message.sessionId != second[0].message.sessionId


@pytest.mark.parametrize("other", [{"seed": 1}, {"number": 2}])
def test_other_phones_are_other_devices(other):
    """Another seed or number makes another device that goes another way."""
    first, second = messages(), messages(**other)
    assert first[0].message.deviceId != second[0].message.deviceId
    assert by_sensor(first)["location"][0].values != by_sensor(second)["location"][0].values


def test_messages_count_from_zero():
    """messageIds of one session count from 0 without a gap."""
    dues = messages(50)
    assert [due.message.messageId for due in dues] == list(range(50))
    assert len({due.message.sessionId for due in dues}) == 1


def test_restart_is_a_new_session():
    """After a restart the device is the same, the session another, and its messages count from 0."""
    dues = messages(100, restarts=0.1)
    sessions = defaultdict(list)
    for due in dues:
        sessions[due.message.sessionId].append(due.message.messageId)
    assert len(sessions) > 3
    assert all(ids == list(range(len(ids))) for ids in sessions.values())
    assert len({due.message.deviceId for due in dues}) == 1


def test_session_begins_with_what_changes_seldom():
    """Battery, network and activity are in the first second, so that nobody waits for them to change."""
    assert {"battery", "network", "activity"} <= set(by_sensor(messages(2)))


@pytest.mark.parametrize(("rate", "period"), [(100.0, 0.5), (100.0, 0.2), (33.3, 1.0), (10.0, 2.5), (7.0, 0.1)])
def test_rate_and_batches(rate, period):
    """A minute holds the wanted number of samples, each message those of its batch period, in order of time."""
    dues = [due for due in messages(700, rate=rate, batch_period=period) if due.time <= START + 60 * 10**9]
    assert abs(len(by_sensor(dues)["accelerometer"]) - 60 * rate) <= 1
    for due in dues:
        times = [reading.time for reading in due.message.payload]
        assert times == sorted(times)
        assert due.time - period * 1e9 - 256 <= times[0] <= times[-1] < due.time


def test_times_are_those_of_javascript():
    """Every time is a whole number that a float64 holds exactly."""
    times = {reading.time for due in messages(rate=33.3) for reading in due.message.payload}
    assert all(time % 256 == 0 for time in times)


def test_sensors_share_one_attitude():
    """Gravity and the magnetic field, turned back by the orientation, point up and north as they do in the world."""
    sensors = by_sensor(messages(400))
    for gravity, orientation, field in zip(
        sensors["gravity"], sensors["orientation"], sensors["magnetometer"], strict=True
    ):
        assert to_world(orientation.values, gravity.values) == pytest.approx((0, 0, GRAVITY), abs=1e-9)
        assert to_world(orientation.values, field.values) == pytest.approx(MAGNETIC_FIELD, abs=1e-9)


def to_world(q, vector):
    """v + 2 cross(u, cross(u, v) + w v): rotation by a unit quaternion (w, u), independent of the simulator's."""
    u, v = (q["qx"], q["qy"], q["qz"]), (vector["x"], vector["y"], vector["z"])
    inner = [a + q["qw"] * b for a, b in zip(cross(u, v), v, strict=True)]
    return [a + 2 * b for a, b in zip(v, cross(u, inner), strict=True)]


def cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def test_total_acceleration_is_the_sum():
    """Total acceleration is what moves the phone plus gravity."""
    sensors = by_sensor(messages(20, total_acceleration=True))
    for total, moved, gravity in zip(
        sensors["totalacceleration"], sensors["accelerometer"], sensors["gravity"], strict=True
    ):
        assert total.values == pytest.approx({axis: moved.values[axis] + gravity.values[axis] for axis in "xyz"})


def test_location_moves_as_fast_as_it_says():
    """Over ten minutes the way between the places is the speed times the time."""
    locations = [reading.values for reading in by_sensor(messages(1200))["location"]]
    north = 111_320.0
    east = north * math.cos(math.radians(PARK[0]))
    way = [
        math.hypot((b["latitude"] - a["latitude"]) * north, (b["longitude"] - a["longitude"]) * east)
        for a, b in zip(locations[::5], locations[5::5], strict=False)
    ]
    told = sum(max(0, values["speed"]) for values in locations)
    assert sum(way) == pytest.approx(told, rel=0.15)
    assert max(math.dist(PARK, (v["latitude"], v["longitude"])) for v in locations) < 0.02


def test_activity_fits_the_motion():
    """Speed and shaking while "running" are more than while "walking", and those more than while "stationary"."""
    speeds, shakes, activity = defaultdict(list), defaultdict(list), None
    for reading in (reading for due in messages(2400) for reading in due.message.payload):
        match reading.name:
            case "activity":
                activity = reading.values["activity"]
            case "location":
                speeds[activity].append(reading.values["speed"])
            case "accelerometer":
                shakes[activity].append(math.hypot(*reading.values.values()))
    for seen in (speeds, shakes):
        means = [statistics.fmean(seen[name]) for name in ("stationary", "walking", "running")]
        assert means == sorted(means)
    assert statistics.fmean(speeds["running"]) == pytest.approx(3.0, rel=0.2)


def test_pedometer_and_battery_go_one_way():
    """Steps never fall; the battery never rises."""
    sensors = by_sensor(messages(1200))
    steps = [reading.values["steps"] for reading in sensors["pedometer"]]
    levels = [reading.values["batteryLevel"] for reading in sensors["battery"]]
    assert steps == sorted(steps)
    assert steps[-1] > 300
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < levels[0]


def test_compass_fits_the_walk():
    """The compass shows the bearing of the walk, counted from magnetic north."""
    sensors = by_sensor(messages(400))
    for compass, location in zip(sensors["compass"], sensors["location"], strict=True):
        if location.values["bearing"] != -1:
            shown = turn(compass.values["magneticBearing"], location.values["bearing"])
            assert shown == pytest.approx(DECLINATION)


def test_motion_only():
    """Without the slow sensors only motion is sent."""
    assert set(by_sensor(messages(100, motion_only=True))) == MOTION


def test_android_says_how_accurate_it_is():
    """Android phones add an accuracy to motion readings, iPhones none."""
    android, iphone = (by_sensor(messages(2, number=number))["gravity"][0] for number in (1, 2))
    assert encode_json(android).endswith(b'"accuracy":3}')
    assert b"accuracy" not in encode_json(iphone)

"""Readings in the shapes of the app, made from a phone's state. Pure: the same state makes the same readings."""

import math
from collections.abc import Iterator
from random import Random
from typing import Any, Final, NamedTuple

from msgspec import UNSET, UnsetType

from services.common.message import Reading
from services.simulator.attitude import Quaternion, Vector, angles, multiply, to_phone
from services.simulator.motion import Activity, Motion
from services.simulator.walk import Place

GRAVITY: Final = 9.80665
MAGNETIC_FIELD: Final[Vector] = (1.4, 18.9, -46.0)
"""µT to the east, north and up in Berlin."""
DECLINATION: Final = math.degrees(math.atan2(MAGNETIC_FIELD[0], MAGNETIC_FIELD[1]))
SECOND_NS: Final = 10**9

_MOTION_OFFSETS_NS = (0, 120_000, 180_000, 200_000, 260_000, 20_000)
_APP_ACTIVITIES: dict[Activity, str] = {
    "standing": "stationary",
    "walking": "walking",
    "running": "running",
    "badminton": "unknown",
}
_ANNOTATIONS: dict[Activity, str] = {
    "standing": "break 🧍",
    "walking": "walk on 🚶",
    "running": 'start "of" run 🏃 <b>',
    "badminton": "badminton 🏸",
}


class Traits(NamedTuple):
    """What is particular to one phone and stays so."""

    android: bool
    pose: Quaternion  # how it is usually held, facing north
    acceleration_bias: Vector  # m/s²
    rotation_bias: Vector  # rad/s
    battery: float  # level at the start, 0 to 1
    pressure: float  # hPa at sea level
    total_acceleration: bool

    @property
    def motion_accuracy(self) -> int | UnsetType:
        """Android says how accurate it thinks each reading is; iOS does not."""
        return 3 if self.android else UNSET


def make_traits(random: Random, number: int, total_acceleration: bool) -> Traits:
    """The traits of phone `number`; every second phone is an Android one."""
    tilt = (random.gauss(0.6, 0.2), random.gauss(0.0, 0.15), 0.0)
    return Traits(
        android=number % 2 == 1,
        pose=multiply((math.cos(tilt[0] / 2), math.sin(tilt[0] / 2), 0.0, 0.0), _about_y(tilt[1])),
        acceleration_bias=_bias(random, 0.03),
        rotation_bias=_bias(random, 0.004),
        battery=random.uniform(0.25, 0.98),
        pressure=random.uniform(1005.0, 1021.0),
        total_acceleration=total_acceleration,
    )


def _about_y(angle: float) -> Quaternion:
    return math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0


def _bias(random: Random, spread: float) -> Vector:
    return random.gauss(0, spread), random.gauss(0, spread), random.gauss(0, spread)


def app_time(ns: int) -> int:
    """A time as the app's JavaScript can hold it: today's times become multiples of 256 ns."""
    return int(float(ns))


def motion_readings(motion: Motion, pose: Quaternion, traits: Traits, time: int) -> Iterator[Reading]:
    """One sample of each motion sensor, all of the same attitude: `pose`, turned by the motion."""
    attitude = multiply(pose, motion.turn)
    times = [app_time(time + offset) for offset in _MOTION_OFFSETS_NS]
    accuracy = traits.motion_accuracy
    acceleration = _add(motion.acceleration, traits.acceleration_bias)
    gravity = to_phone(attitude, (0.0, 0.0, GRAVITY))
    yield Reading("accelerometer", times[0], _vector(acceleration), accuracy)
    if traits.total_acceleration:
        yield Reading("totalacceleration", times[5], _vector(_add(acceleration, gravity)), accuracy)
    yield Reading("gyroscope", times[1], _vector(_add(motion.rotation, traits.rotation_bias)), accuracy)
    yield Reading("gravity", times[2], _vector(gravity), accuracy)
    yield Reading("orientation", times[3], _orientation(attitude))
    yield Reading("magnetometer", times[4], _vector(to_phone(attitude, MAGNETIC_FIELD)), accuracy)


def _add(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _vector(values: Vector) -> dict[str, Any]:
    return {"z": values[2], "y": values[1], "x": values[0]}


def _orientation(attitude: Quaternion) -> dict[str, Any]:
    yaw, pitch, roll = angles(attitude)
    w, x, y, z = attitude
    return {"yaw": yaw, "pitch": pitch, "roll": roll, "qx": x, "qy": y, "qz": z, "qw": w}


class Moment(NamedTuple):
    """What the slow sensors see: one second of one session. `second` counts from the start of the phone."""

    second: int
    session_second: int
    place: Place
    traits: Traits


def slow_readings(moment: Moment, start: int, random: Random) -> Iterator[Reading]:
    """The readings of one second of all sensors that are not motion. `start` is the second's time in ns."""
    for offset_ms, name, values in _slow_values(moment, random):
        if values:
            yield Reading(name, app_time(start + offset_ms * 10**6), values)


def _slow_values(moment: Moment, random: Random) -> Iterator[tuple[int, str, dict[str, Any]]]:
    yield 20, "battery", _battery(moment)
    yield 35, "network", _network(moment, random)
    yield 50, "activity", _activity(moment, random)
    yield 110, "compass", {"magneticBearing": (moment.place.bearing - DECLINATION) % 360}
    yield 230, "microphone", {"dBFS": random.gauss(-48 + 6 * moment.place.speed, 2.5)}
    yield 310, "location", _location(moment, random)
    yield 470, "barometer", _barometer(moment, random)
    yield 520, "annotation", _annotation(moment, random)
    yield 660, "light", _light(moment, random)
    yield 700, "brightness", _brightness(moment, random)
    yield 830, "pedometer", _pedometer(moment)


def _battery(moment: Moment) -> dict[str, Any]:
    if moment.session_second % 10:
        return {}
    level = max(0.02, moment.traits.battery - moment.second / 36_000)  # a full one lasts ten hours
    return {"batteryLevel": round(level, 2), "batteryState": "unplugged", "lowPowerMode": level < 0.2}


def _network(moment: Moment, random: Random) -> dict[str, Any]:
    if moment.session_second and random.random() > 1 / 45:
        return {}
    wifi = random.random() < 0.4
    return {
        "type": "wifi" if wifi else "cellular",
        "isConnected": True,
        "isInternetReachable": random.choice([True, None]),
        "isWifiEnabled": True,
        "isConnectionExpensive": not wifi,
        "ssid": "café ☕" if wifi else None,
        "bssid": "02:00:00:00:00:00" if wifi else None,
        "strength": random.randint(30, 95) if wifi else None,
        "ipAddress": f"192.0.2.{random.randint(2, 250)}",
        "frequency": random.choice([2412, 5180]) if wifi else None,
        "cellularGeneration": None if wifi else random.choice(["4g", "5g"]),
        "carrier": None if wifi else "Beispielfunk",
    }


def _activity(moment: Moment, random: Random) -> dict[str, Any]:
    if not moment.place.began and moment.session_second:
        return {}
    confidence = random.choice(["low", "medium", "high"])
    return {"activity": _APP_ACTIVITIES[moment.place.activity], "confidence": confidence}


def _location(moment: Moment, random: Random) -> dict[str, Any]:
    place, known = moment.place, moment.session_second > 1  # the first fixes know neither speed nor bearing
    moving = known and place.speed > 0
    return {
        "latitude": place.latitude + random.gauss(0, 4e-6),
        "longitude": place.longitude + random.gauss(0, 6e-6),
        "altitude": place.height + 39.6 + random.gauss(0, 0.3),
        "altitudeAboveMeanSeaLevel": place.height + random.gauss(0, 0.3),
        "speed": place.speed if known else -1,
        "speedAccuracy": random.uniform(0.2, 0.8) if known else -1,
        "bearing": place.bearing if moving else -1,
        "bearingAccuracy": random.uniform(4, 15) if moving else -1,
        "horizontalAccuracy": random.uniform(3.0, 9.0),
        "verticalAccuracy": 3,
    }


def _barometer(moment: Moment, random: Random) -> dict[str, Any]:
    height = moment.place.height
    pressure = moment.traits.pressure - 0.12 * height + random.gauss(0, 0.01)
    return {"pressure": pressure, "relativeAltitude": height - 34.0 + random.gauss(0, 0.05)}


def _annotation(moment: Moment, random: Random) -> dict[str, Any]:
    if not moment.place.began or random.random() > 0.5:
        return {}
    return {"text": _ANNOTATIONS[moment.place.activity], "millisecond_press_duration": random.randint(60, 900)}


def _light(moment: Moment, random: Random) -> dict[str, Any]:
    return {"lux": round(random.lognormvariate(6.5, 0.4))} if moment.traits.android else {}


def _brightness(moment: Moment, random: Random) -> dict[str, Any]:
    return {} if moment.session_second % 30 else {"brightness": round(random.uniform(0.2, 1.0), 2)}


def _pedometer(moment: Moment) -> dict[str, Any]:
    walks = moment.place.activity in ("walking", "running")
    return {"steps": int(moment.place.steps)} if walks and moment.second % 2 else {}

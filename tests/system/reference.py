"""What PostgreSQL should hold, computed from the simulator's record of answers, with nothing of the services.

The record is one JSON object per line; a message counts when any of its lines has status 200.
"""

import cmath
import json
import math
from collections import defaultdict

EARLIEST_NS = 946_684_800 * 10**9
NOT_KNOWN_BELOW_0 = {
    "location": ["speed", "bearing", "horizontalAccuracy", "verticalAccuracy", "speedAccuracy", "bearingAccuracy"],
    "battery": ["batteryLevel"],
}

TURNS = dict.fromkeys(["yaw", "roll"], math.tau) | dict.fromkeys(["bearing", "magneticBearing", "longitude"], 360)


def messages(record_file):
    """(acknowledged, unanswered): the messages by (device, session, messageId), each in one of the two."""
    acknowledged, others = {}, {}
    for line in record_file.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        message = entry["message"]
        identity = message["deviceId"], message["sessionId"], message["messageId"]
        (acknowledged if entry["status"] == 200 else others)[identity] = message
    return acknowledged, {identity: others[identity] for identity in others.keys() - acknowledged.keys()}


def readings_of(message):
    """The readings whose time can be true. The simulator's clocks never run a day ahead but where they say 2100."""
    limit = 4_000_000_000 * 10**9
    return [reading for reading in message["payload"] if EARLIEST_NS <= reading["time"] < limit]


def numbers_of(reading):
    values = dict(reading["values"])
    if "accuracy" in reading:
        values.setdefault("accuracy", reading["accuracy"])
    hidden = NOT_KNOWN_BELOW_0.get(reading["name"], [])
    for channel, value in values.items():
        if isinstance(value, bool | int | float) and not (channel in hidden and value < 0):
            yield channel, float(value)


def windows(messages, resolution=1):
    """(device, session, sensor, channel, start) -> (count, mean, min, max), over `messages`."""
    values = defaultdict(list)
    for message in messages.values():
        for reading in readings_of(message):
            start = reading["time"] // 10**9 // resolution * resolution
            for channel, value in numbers_of(reading):
                key = message["deviceId"], message["sessionId"], reading["name"], channel, start
                values[key].append(value)
    return {key: (len(v), mean(key[3], v), min(v), max(v)) for key, v in values.items()}


def mean(channel, values):
    """The mean of one channel; of an angle the direction of the sum of its unit vectors."""
    turn = TURNS.get(channel)
    if turn is None:
        return math.fsum(values) / len(values)
    angle = cmath.phase(sum(cmath.rect(1, value * math.tau / turn) for value in values)) * turn / math.tau
    return angle % turn if min(values) >= 0 else angle


def texts(messages):
    """Sorted (device, session, sensor, channel, time in ns, text) of all text values."""
    rows = []
    for message in messages.values():
        for reading in readings_of(message):
            for channel, value in reading["values"].items():
                if isinstance(value, str | list | dict):
                    place = message["deviceId"], message["sessionId"], reading["name"], channel, reading["time"]
                    rows.append((*place, value if isinstance(value, str) else compact(value)))
    return sorted(rows)


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def differences(expected, found):
    """Lines that say where two tables of windows differ: counts exactly, floats beyond 1e-9."""
    lines = [f"missing: {key}" for key in expected.keys() - found.keys()]
    lines += [f"not sent: {key}" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        exact = expected[key][0] == found[key][0]
        if not exact or not all(
            math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(expected[key], found[key], strict=True)
        ):
            lines.append(f"{key}: sent {expected[key]}, stored {found[key]}")
    return lines

"""Attitude of a phone: unit quaternions (w, x, y, z) that turn a vector of the phone into one of the world.

The world is east, north, up; the phone is right, top edge, out of the screen.
"""

import math
from collections.abc import Sequence

Quaternion = tuple[float, float, float, float]
Vector = tuple[float, float, float]

LEVEL: Quaternion = (1.0, 0.0, 0.0, 0.0)
_RETURN_SECONDS = 1.0
"""How fast a hand comes back to its usual pose: without it the gyroscope's bias would turn the phone for ever."""


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """First `b`, then `a`."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def from_rotation(x: float, y: float, z: float) -> Quaternion:
    """The turn about the axis (x, y, z) by its length in radians."""
    angle = math.sqrt(x * x + y * y + z * z)
    if angle == 0.0:
        return LEVEL
    scale = math.sin(angle / 2) / angle
    return math.cos(angle / 2), x * scale, y * scale, z * scale


def facing(bearing: float) -> Quaternion:
    """A level phone whose top edge points to `bearing`, in degrees clockwise from north."""
    half = math.radians(bearing) / 2
    return math.cos(half), 0.0, 0.0, -math.sin(half)


def to_phone(q: Quaternion, world: Vector) -> Vector:
    """The vector of the world as the phone at attitude `q` measures it."""
    w, x, y, z = q
    east, north, up = world
    return (
        (1 - 2 * (y * y + z * z)) * east + 2 * (x * y + w * z) * north + 2 * (x * z - w * y) * up,
        2 * (x * y - w * z) * east + (1 - 2 * (x * x + z * z)) * north + 2 * (y * z + w * x) * up,
        2 * (x * z + w * y) * east + 2 * (y * z - w * x) * north + (1 - 2 * (x * x + y * y)) * up,
    )


def angles(q: Quaternion) -> tuple[float, float, float]:
    """Yaw, pitch and roll in radians: turns about z, then y, then x."""
    w, x, y, z = q
    return (
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x)))),
        math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
    )


def swing(rates: Sequence[Vector], interval: float) -> list[Quaternion]:
    """How far the phone has turned from its usual pose at each sample of a loop of gyroscope rates (rad/s).

    The rates are integrated and leak back to the pose. The second round of the loop starts where the first ended,
    so that the last sample leads to the first.
    """
    keep = math.exp(-interval / _RETURN_SECONDS)
    turns = [from_rotation(x * interval, y * interval, z * interval) for x, y, z in rates]
    q, swings = LEVEL, []
    for turn in [*turns, *turns]:
        swings.append(q)
        q = mix(LEVEL, multiply(q, turn), keep)
    return swings[len(turns) :]


def mix(a: Quaternion, b: Quaternion, share: float) -> Quaternion:
    """Between `a` (share 0) and `b` (share 1), the short way."""
    other = share if sum(p * q for p, q in zip(a, b, strict=True)) >= 0 else -share
    rest = 1 - share
    w, x, y, z = (rest * p + other * q for p, q in zip(a, b, strict=True))
    size = math.sqrt(w * w + x * x + y * y + z * z)
    return w / size, x / size, y / size, z / size

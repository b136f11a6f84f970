"""Makes the data files of this directory from aeon's wheel: `python services/simulator/data/convert.py aeon-*.whl`."""

import json
import sys
import uuid
import zipfile
from pathlib import Path
from typing import Any

_SOURCE = "aeon/datasets/data/BasicMotions/BasicMotions_TRAIN.ts"
_CHOSEN = (0, 4, 8)
"""Recordings taken of each activity, by their position among its ten in the source."""
_RECORDED_NS = 1_767_225_600 * 10**9
"""2026-01-01: the source does not say when it was recorded. A multiple of 256 ns and of 10 s."""
_SAMPLE_NS = 10**8

Samples = list[list[float]]


def main(wheel: str) -> None:
    """Write `recordings.json`, and its first walk as messages to `walking.jsonl`."""
    folder = Path(__file__).parent
    recordings = read_recordings(zipfile.ZipFile(wheel).read(_SOURCE).decode())
    lines = [f'"{activity}": [{_rows(chosen)}]' for activity, chosen in sorted(recordings.items())]
    (folder / "recordings.json").write_text("{" + ",\n".join(lines) + "}\n")
    walk = [json.dumps(message, separators=(",", ":")) for message in as_messages(recordings["walking"][0])]
    (folder / "walking.jsonl").write_text("\n".join(walk) + "\n")


def read_recordings(text: str) -> dict[str, list[Samples]]:
    """The chosen recordings by activity: 100 samples of accelerometer and gyroscope x, y, z each."""
    found: dict[str, list[Samples]] = {}
    for line in text.partition("@data")[2].split():
        *channels, activity = line.split(":")
        columns = [[float(value) for value in channel.split(",")] for channel in channels]
        found.setdefault(activity.lower(), []).append([list(sample) for sample in zip(*columns, strict=True)])
    return {activity: [recordings[index] for index in _CHOSEN] for activity, recordings in found.items()}


def as_messages(samples: Samples) -> list[dict[str, Any]]:
    """The recording as the app would have sent it: ten messages of one second each, the values unaltered."""
    device = uuid.uuid5(uuid.NAMESPACE_URL, _SOURCE)
    return [
        {
            "messageId": second,
            "sessionId": str(uuid.uuid5(device, "walking")),
            "deviceId": str(device),
            "payload": [
                reading
                for index in range(10 * second, 10 * second + 10)
                for reading in _readings(_RECORDED_NS + index * _SAMPLE_NS, samples[index])
            ],
        }
        for second in range(len(samples) // 10)
    ]


def _readings(time: int, sample: list[float]) -> list[dict[str, Any]]:
    return [
        {"name": name, "time": time, "values": dict(zip("zyx", reversed(values), strict=True))}
        for name, values in (("accelerometer", sample[:3]), ("gyroscope", sample[3:]))
    ]


def _rows(recordings: list[Samples]) -> str:
    return ",\n".join(json.dumps(samples, separators=(",", ":")) for samples in recordings)


if __name__ == "__main__":
    main(*sys.argv[1:])

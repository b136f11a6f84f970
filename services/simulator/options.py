"""The simulator's options, from the command line."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.simulator.faults import Faults
from services.simulator.phone import Recording

_DESCRIPTION = "A fleet of phones that send what the Sensor Logger app sends. Ends with 0 if all was acknowledged."


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for. Durations are in seconds."""

    target: str
    token_file: Path | None
    ca_file: str | None
    timeout: float
    patience: float
    phones: int
    duration: float | None
    seed: int
    recording: Recording
    faults: Faults
    replay: Path | None
    speed: float
    align: float | None
    as_recorded: bool
    record: Path | None
    progress: float
    metrics_port: int | None


def parse_options(arguments: Sequence[str]) -> Options:
    """Read the command line. Exits with a usage message and status 2 for what cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m services.simulator", description=_DESCRIPTION)
    for add in (_add_target, _add_phones, _add_faults, _add_files):
        add(parser)
    given = vars(parser.parse_args(arguments))
    recording = Recording(**_take(given, Recording))
    return Options(recording=recording, faults=Faults(**_take(given, Faults)), **given)


def _take(given: dict[str, object], kind: type[Recording | Faults]) -> dict[str, Any]:
    return {field.name: given.pop(field.name) for field in dataclasses.fields(kind)}


def _add_target(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where to")
    group.add_argument(
        "--target", default="http://127.0.0.1:5000/sensor_data", metavar="URL", help="default: %(default)s"
    )
    group.add_argument("--token-file", type=Path, metavar="FILE", help="file with the token to send as a bearer token")
    group.add_argument("--ca-file", metavar="FILE", help="certificate of the CA that signed an https target's")
    group.add_argument("--timeout", type=_positive, default=15.0, metavar="S", help="for one answer (%(default)s)")
    group.add_argument(
        "--patience", type=_positive, default=120.0, metavar="S", help="how long to try a message again (%(default)s)"
    )


def _add_phones(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("phones")
    group.add_argument("--phones", type=_counting, default=3, metavar="N", help="how many (%(default)s)")
    group.add_argument(
        "--rate", type=_positive, default=100.0, metavar="HZ", help="of each motion sensor (%(default)s)"
    )
    group.add_argument(
        "--batch-period", type=_positive, default=0.5, metavar="S", help="time that a message covers (%(default)s)"
    )
    group.add_argument("--duration", type=_positive, metavar="S", help="of the recording (until Ctrl-C)")
    group.add_argument("--seed", type=int, default=0, help="other phones, other walks, other chances (%(default)s)")
    group.add_argument("--motion-only", action="store_true", help="no location, battery and the like")
    group.add_argument("--total-acceleration", action="store_true", help="add the sensor totalacceleration")
    group.add_argument(
        "--restarts", type=_chance, default=0.0, metavar="P", help="chance per message that a new session follows"
    )


def _add_faults(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what goes wrong: chances per message, from 0 to 1")
    for name, meaning in (
        ("duplicates", "sent twice"),
        ("reordering", "sent after its follower"),
        ("gaps", "never sent"),
        ("late", "held back for --late-by"),
        ("wrong-clocks", "holds a reading dated 1970 or 2100; also the chance per phone that its clock is hours off"),
    ):
        group.add_argument(f"--{name}", type=_chance, default=0.0, metavar="P", help=meaning)
    group.add_argument("--late-by", type=_positive, default=60.0, metavar="S", help="%(default)s")


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recordings")
    group.add_argument(
        "--record", type=Path, metavar="FILE", help="write every post with its answer, one JSON per line"
    )
    group.add_argument(
        "--replay", type=Path, metavar="FILE", help="send the messages of FILE instead, as new sessions that begin now"
    )
    group.add_argument("--speed", type=_positive, default=1.0, metavar="X", help="of the replay (%(default)s)")
    group.add_argument(
        "--align", type=_positive, metavar="S", help="begin the replay at the next multiple of S seconds"
    )
    group.add_argument("--as-recorded", action="store_true", help="replay with the ids and times of the file")
    group = parser.add_argument_group("while it runs")
    group.add_argument("--progress", type=_positive, default=5.0, metavar="S", help="between two lines (%(default)s)")
    group.add_argument("--metrics-port", type=_counting, metavar="PORT", help="tell its metrics there, on loopback")


def _number(test: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not test(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return read


_positive = _number(lambda value: 0 < value < 1e9, "a number above 0")
_chance = _number(lambda value: 0 <= value <= 1, "a chance from 0 to 1")


def _counting(text: str) -> int:
    return int(_number(lambda value: value >= 1 and value.is_integer(), "a whole number above 0")(text))

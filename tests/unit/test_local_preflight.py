"""What is looked at before anything starts."""

import errno
import os

import pytest

from ops.local import preflight
from ops.local.errors import LocalError, in_words
from ops.local.processes import Command, find_cause, run
from ops.local.settings import LocalSettings


def test_second_run_is_told_who_runs(tmp_path):
    """A data directory serves one run at a time; the second is told the first one's process."""
    with preflight.lock(tmp_path), pytest.raises(LocalError, match=rf"run \(process {os.getpid()}\) uses {tmp_path}"):
        preflight.lock(tmp_path)
    preflight.lock(tmp_path).close()


def test_missing_programs_come_with_what_to_type(monkeypatch, tmp_path):
    """Without Java and Maven the line to type stands in the error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match=r"sudo apt-get install .*maven.* openjdk-17-jre-headless"):
        preflight.check_programs()


def test_full_disk_is_told_before(tmp_path, monkeypatch):
    """Too little room is told with how much there is."""
    monkeypatch.setattr(preflight, "FREE_MIB", 10**9)
    with pytest.raises(LocalError, match=r"only \d+ MiB are free at .* are needed"):
        preflight.check_space(tmp_path)


def test_enough_room_is_enough(tmp_path):
    """A disk with room is no reason to stop."""
    preflight.check_space(tmp_path)


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("", ""),
        ("one\ntwo\n", "two"),
        ("psql:<stdin>:3: ERROR:  syntax error\nCONTEXT: x\n", "psql:<stdin>:3: ERROR:  syntax error"),
        ("\x1b[0m[ERROR] no such host\n[ERROR] see http://help\n", "no such host"),
        ("Traceback\n  File x\n    raise ValueError(1)\nValueError: 1\n\nDuring\nKeyError: 2\n", "ValueError: 1"),
        ("initdb: error: directory exists\ninitdb: hint: remove it\n", "initdb: error: directory exists"),
    ],
)
def test_cause_is_found_in_what_a_program_says(output, cause):
    """Of all that a failed program writes, one line is for the person at the terminal."""
    assert find_cause(output) == cause


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), "the disk is full: make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "/data: Permission denied"),
        (LocalError("do this"), "do this"),
        (KeyError(), "KeyError"),
    ],
)
def test_any_error_is_one_line(error, words):
    """Whatever goes wrong, the person at the terminal reads words."""
    assert in_words(error) == words


def test_failed_program_is_told_with_its_cause():
    """A program that fails says so in one line, after what it was to do; nothing secret stands in it."""
    with pytest.raises(LocalError, match=r"^roles: ERROR: no such role$"):
        run(Command(["bash", "-c", "echo ERROR: no such role >&2; exit 1"]), "roles")


def test_program_that_is_missing_is_told():
    """A program that cannot be found is named."""
    with pytest.raises(LocalError, match="no-such-program"):
        run(Command(["no-such-program"]), "a step")


def test_programs_are_told_only_what_they_need(monkeypatch):
    """Of our environment only what every program needs is passed on."""
    monkeypatch.setenv("A_SECRET", "x")
    output = run(Command(["env"], {"GIVEN": "1"}), "env")
    assert "GIVEN=1" in output.split()
    assert "A_SECRET" not in output


def test_defaults_are_checked_by_name():
    """Every port that is looked at has the name of its setting."""
    assert set(LocalSettings.load({}).ports) >= {"INGEST_PORT", "KAFKA_PORT", "POSTGRES_PORT", "DASHBOARD_PORT"}

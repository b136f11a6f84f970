"""Java libraries: collected by Maven from a pom.xml, accepted only as the list beside it says."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ops.local.errors import LocalError
from ops.local.processes import REPOSITORY, Command, run

LIBRARIES: Final = REPOSITORY / "var" / "libraries"
"""Where the libraries lie: shared by all data directories, since they are fetched once."""
_GOAL: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def collect(project: Path, destination: Path) -> None:
    """Bring the libraries of `project` (pom.xml, jars.sha256) to `destination`, if they are not there and right.

    Raises `LocalError` when the download fails or brings something else than the list says; nothing is left of it then.
    """
    expected = read_list(project / "jars.sha256")
    if not find_fault(destination, expected):
        return
    with _work_directory(destination) as work:
        if not find_fault(destination, expected):
            return  # another run has just brought them
        jars = work / "jars"
        _download(project / "pom.xml", jars, work / "repository")
        if fault := find_fault(jars, expected):
            raise LocalError(f"{fault}: the download is removed; try again, or look at {project / 'jars.sha256'}")
        shutil.rmtree(destination, ignore_errors=True)
        jars.rename(destination)


def read_list(file: Path) -> dict[str, str]:
    """File names and their SHA-256, as `sha256sum` writes them."""
    lines = file.read_text(encoding="ascii").splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def find_fault(directory: Path, expected: Mapping[str, str]) -> str:
    """What of `directory` differs from the list, in a few words; empty if nothing does."""
    found = {file.name: file for file in directory.glob("*.jar")}
    if missing := expected.keys() - found.keys():
        return f"{min(missing)} is missing"
    if strange := found.keys() - expected.keys():
        return f"{min(strange)} is not on the list"
    for name, digest in expected.items():
        if hashlib.sha256(found[name].read_bytes()).hexdigest() != digest:
            return f"{name} is not what the list says"
    return ""


@contextlib.contextmanager
def _work_directory(destination: Path) -> Iterator[Path]:
    """A directory beside the destination, for one run at a time; what an interrupted run left there is removed."""
    work = destination.with_name(f".{destination.name}-unfinished")
    work.parent.mkdir(parents=True, exist_ok=True)
    with destination.with_name(f".{destination.name}-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _download(pom: Path, jars: Path, repository: Path) -> None:
    """A local repository of its own, so that a broken file is gone with it."""
    arguments = [
        "mvn", "-q", "-B", "-ntp", "-f", str(pom), f"-Dmaven.repo.local={repository}",
        "-DincludeScope=runtime", f"-DoutputDirectory={jars}", _GOAL,
    ]  # fmt: skip
    run(
        Command(arguments, dict(os.environ)),
        f"Maven cannot fetch the jars of {pom.parent.name}; look at the network and try again",
    )

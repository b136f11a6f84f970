"""Java libraries are accepted only as the list says."""

import hashlib

import pytest

from ops.local.libraries import collect, find_fault, read_list


@pytest.fixture
def jars(tmp_path):
    """A directory with two jars, and the list of them."""
    directory = tmp_path / "jars"
    directory.mkdir()
    for name in ("a.jar", "b.jar"):
        (directory / name).write_text(name)
    return directory, {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a.jar", "b.jar")}


def test_right_libraries_have_no_fault(jars):
    """Files that are what the list says are accepted; other files beside them do not matter."""
    directory, expected = jars
    (directory / "classes.jsa").touch()
    assert find_fault(directory, expected) == ""


def test_missing_library_is_named(jars):
    """A library that is not there is named."""
    directory, expected = jars
    (directory / "b.jar").unlink()
    assert find_fault(directory, expected) == "b.jar is missing"


def test_cut_library_is_named(jars):
    """A download that was cut short is named."""
    directory, expected = jars
    (directory / "b.jar").write_text("b.ja")
    assert find_fault(directory, expected) == "b.jar is not what the list says"


def test_strange_library_is_named(jars):
    """A library that nobody listed is not run."""
    directory, expected = jars
    (directory / "c.jar").touch()
    assert find_fault(directory, expected) == "c.jar is not on the list"


def test_no_directory_is_a_fault(jars, tmp_path):
    """Nothing there yet is the same as all of it missing."""
    assert find_fault(tmp_path / "nothing", jars[1]) == "a.jar is missing"


def test_right_libraries_are_left_alone(jars, tmp_path):
    """With everything in place nothing is fetched: there is not even a pom.xml here."""
    directory, expected = jars
    (tmp_path / "jars.sha256").write_text("".join(f"{digest}  {name}\n" for name, digest in expected.items()))
    assert read_list(tmp_path / "jars.sha256") == expected
    collect(tmp_path, directory)
    assert find_fault(directory, expected) == ""

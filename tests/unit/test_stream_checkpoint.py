"""A checkpoint is looked at before Spark reads it."""

import json
import zlib

import pytest

from services.stream.check import Offsets
from services.stream.checkpoint import awaited_offsets, find_fault, planned_offsets, set_aside
from services.stream.resume import Gap, find_gaps, find_other_topic, tell_loss


def write(file, content):
    """A file with its checksums, as Hadoop writes them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    chunks = [zlib.crc32(content[at : at + 512]).to_bytes(4) for at in range(0, len(content), 512)]
    file.with_name(f".{file.name}.crc").write_bytes(b"crc\0\0\0\2\0" + b"".join(chunks))


def offsets(*numbers):
    of_topic = {"t": {str(partition): number for partition, number in enumerate(numbers)}}
    return b"v1\n" + json.dumps({"conf": "x" * 600}).encode() + b"\n" + json.dumps(of_topic).encode()


@pytest.fixture
def checkpoint(tmp_path):
    """Two committed batches, and a third one that was planned."""
    directory = tmp_path / "checkpoint"
    write(directory / "metadata", b'{"id":"1"}')
    write(directory / "sources" / "0" / "0", b'\0v1\n{"t":{"0":0,"1":0}}')
    for batch in range(3):
        write(directory / "offsets" / str(batch), offsets(10 * batch, 20 * batch))
    for batch in range(2):
        write(directory / "commits" / str(batch), b'v1\n{"nextBatchWatermarkMs":0}')
    (directory / "offsets" / ".3.1234.tmp").write_bytes(b"")
    return directory


def test_whole_checkpoint_has_no_fault(checkpoint, tmp_path):
    """What Spark left is right, and so is what is not there yet."""
    assert find_fault(checkpoint) == ""
    assert find_fault(tmp_path / "none") == ""


@pytest.mark.parametrize("name", ["metadata", "offsets/2", "offsets/1", "commits/1", "sources/0/0"])
@pytest.mark.parametrize("length", [0, 9])
def test_emptied_or_cut_file_is_found(checkpoint, name, length):
    """Any file that Spark reads is looked at, with or without its checksums."""
    file = checkpoint / name
    file.write_bytes(file.read_bytes()[:length])
    assert find_fault(checkpoint).startswith(name)
    file.with_name(f".{file.name}.crc").unlink()
    assert find_fault(checkpoint).startswith(name)


@pytest.mark.parametrize("name", ["metadata", "offsets/1"])
def test_missing_file_is_found(checkpoint, name):
    """A checkpoint without one of its files is broken."""
    for file in ("offsets/2", name):
        (checkpoint / file).unlink()
    assert find_fault(checkpoint)


def test_changed_byte_is_found(checkpoint):
    """A file that reads well, but not as it was written, is found by its checksum."""
    file = checkpoint / "offsets" / "2"
    file.write_bytes(file.read_bytes().replace(b"20", b"21"))
    assert find_fault(checkpoint) == "offsets/2 does not fit its checksum"


def test_offsets_that_the_checkpoint_waits_for(checkpoint):
    """The end of the planned batch, and of the committed one; before any commit the beginning."""
    assert planned_offsets(checkpoint, "t") == {0: 20, 1: 40}
    assert awaited_offsets(checkpoint, "t") == {0: 10, 1: 20}
    for batch in range(2):
        (checkpoint / "commits" / str(batch)).unlink()
    assert awaited_offsets(checkpoint, "t") == {0: 0, 1: 0}


def test_put_aside_is_kept(checkpoint):
    """A broken checkpoint is not deleted, but of many only the newest are kept."""
    aside = set_aside(checkpoint)
    assert (aside / "metadata").exists()
    assert not checkpoint.exists()
    for _ in range(5):
        checkpoint.mkdir()
        newest = set_aside(checkpoint)
    kept = sorted(checkpoint.parent.iterdir())
    assert (len(kept), kept[-1]) == (3, newest)


@pytest.mark.parametrize(("first", "gaps"), [(9, []), (10, []), (13, [Gap(0, 10, 13)])])
def test_records_that_kafka_deleted(first, gaps):
    """What the checkpoint waits for and Kafka no longer holds is found."""
    assert find_gaps({0: 10, 1: 5}, [Offsets(0, first, 20), Offsets(1, 5, 5)]) == gaps


def test_loss_is_told_in_one_line():
    """How many records, and which."""
    line = tell_loss(2, [Gap(0, 10, 13), Gap(1, 5, 6)])
    assert line.startswith("2 records are lost: ")
    assert line.endswith("(partition 0: offsets 10 to 12, partition 1: offsets 5 to 5)")


def test_topic_made_anew():
    """A checkpoint beyond the end of its topic is another topic's."""
    assert find_other_topic({0: 10}, [Offsets(0, 0, 10)]) == ""
    assert find_other_topic({0: 10}, [Offsets(0, 0, 9)])

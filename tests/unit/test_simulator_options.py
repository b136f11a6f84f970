"""Options and what is told: the command line, the progress line and the table."""

import pytest

from services.simulator.__main__ import make_plans
from services.simulator.client import Answer, Client, Target, TargetError, read_token
from services.simulator.options import parse_options
from services.simulator.sender import Notices
from services.simulator.tally import Tally, progress_line, summary_table

NOW = 1_790_000_000 * 10**9
REACHED = Answer(200, "", None)


def test_defaults():
    """Without options three phones without faults record at 100 Hz until they are stopped."""
    options = parse_options([])
    assert (options.phones, options.recording.rate, options.recording.batch_period, options.duration) == (
        3,
        100,
        0.5,
        None,
    )
    assert not any((options.faults.duplicates, options.faults.gaps, options.faults.late, options.faults.wrong_clocks))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--phones", "0"],
        ["--phones", "1.5"],
        ["--rate", "0"],
        ["--rate", "nan"],
        ["--rate", "fast"],
        ["--duplicates", "1.1"],
        ["--gaps", "-0.1"],
        ["--duration", "-1"],
        ["--speed", "inf"],
        ["--unknown"],
    ],
)
def test_wrong_options(arguments, capsys):
    """What is not a sensible option ends with status 2 and names the option."""
    with pytest.raises(SystemExit) as caught:
        parse_options(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_duration_is_that_of_the_recording():
    """Ten seconds in messages of half a second are twenty messages of each phone."""
    plans = make_plans(parse_options(["--phones", "2", "--duration", "10", "--rate", "10"]), NOW)
    assert [len(list(plan)) for plan in plans] == [20, 20]


def test_phones_do_not_send_all_at_once():
    """The phones' first messages are spread over one batch period."""
    plans = make_plans(parse_options(["--phones", "5", "--rate", "10"]), NOW)
    firsts = [next(iter(plan)).time - NOW for plan in plans]
    assert firsts == pytest.approx([5e8, 6e8, 7e8, 8e8, 9e8], abs=256)


def test_runs_alike_but_for_the_start():
    """The same seed and options at the same time plan the same messages, faults included."""
    arguments = ["--rate", "10", "--duration", "60", "--wrong-clocks", "0.1", "--duplicates", "0.1", "--late", "0.1"]
    first, second = ([list(plan) for plan in make_plans(parse_options(arguments), NOW)] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("url", ["", "ftp://a/b", "http://", "127.0.0.1:5000/x", "http://a:port/"])
def test_target_that_is_no_url(url):
    """A target that nothing can be posted to is named before anything is sent."""
    with pytest.raises(TargetError, match="--target"):
        Client(Target(url=url, token=None, ca_file=None, timeout=1))


def test_token_is_read_from_its_file(tmp_path):
    """The token is sent without the file's last newline."""
    (tmp_path / "token").write_text("secret\n")
    target = Target(url="http://a/", token=read_token(tmp_path / "token"), ca_file=None, timeout=1)
    assert target.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", "é".encode()])
def test_file_that_holds_no_token(tmp_path, content):
    """A token that no header can hold is refused, without being shown."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(TargetError, match="must hold one line"):
        read_token(tmp_path / "token")


def test_trouble_is_told_once():
    """However many posts fail, the failure is told once, and its end once."""
    told = []
    notices = Notices("http://a", told.append)
    for answer in [Answer(None, "Connection refused", None)] * 50 + [REACHED] * 50:
        notices.answered(answer)
    assert told == ["http://a cannot be reached: Connection refused; trying again", "http://a acknowledges again"]


def test_refusal_is_told_with_its_reason():
    """A refusal for good is told with what the server said."""
    told = []
    Notices("http://a", told.append).answered(Answer(401, '{"error":"no_token"}', None))
    assert told == ['http://a answers 401: {"error":"no_token"}']


@pytest.mark.parametrize(
    ("status", "again"),
    [(None, True), (503, True), (429, True), (200, False), (400, False), (401, False), (499, False)],
)
def test_what_is_tried_again(status, again):
    """A message is sent again when no answer came or the server asks for it, and never when it was refused."""
    assert Answer(status, "", None).try_again is again


def tallied():
    tally = Tally()
    for milliseconds in range(1, 101):
        tally.post(milliseconds / 1000)
        tally.message("acknowledged", 50)
    tally.post(None)
    tally.message("refused", 50)
    return tally


def test_round_trips_to_two_percent():
    """Median and 99th percentile are those of the acknowledged posts, to 2 %."""
    recent = tallied().take_recent()
    assert recent.round_trip(0.5) == pytest.approx(0.050, rel=0.02)
    assert recent.round_trip(0.99) == pytest.approx(0.099, rel=0.02)


def test_total_grows_by_what_was_taken():
    """Recent counts become part of the total when they are taken, once."""
    tally = tallied()
    tally.take_recent()
    assert tally.take_recent().posts == 0
    assert tally.total.posts == 101


def test_progress_and_table():
    """Both say how much was acknowledged and refused, how fast, and how long it took."""
    tally = tallied()
    line = progress_line(3, tally.take_recent(), tally.total, 10.0)
    assert line.startswith(
        "3 phones · 100 acknowledged, 1 refused, 0 unanswered of 101 posts · 10.0 messages/s, 500 readings/s"
    )
    table = {row[:24].strip(): row[24:].strip() for row in summary_table(3, tally.total, 10.0).splitlines()}
    assert table["messages acknowledged"] == "100"
    assert table["messages refused"] == "1"
    assert table["readings/s"] == "500"
    assert table["messages/s"] == "10.0"


def test_nothing_sent_is_shown_too():
    """A run that sent nothing has a table as well."""
    assert "0.0 ms" in summary_table(1, Tally().total, 1.0)

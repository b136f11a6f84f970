"""The message contract: what is a message, what is none, and that nothing changes its meaning on the way."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.message import (
    COUNTED_IDS_END,
    MAX_DEPTH,
    MAX_VALUE_DEPTH,
    Message,
    MessageError,
    TestPush,
    message_number,
    parse_message,
    read_record,
)

PAYLOADS = sorted((Path(__file__).parents[1] / "payloads").glob("*.json"))
MESSAGES = [path for path in PAYLOADS if not path.stem.startswith("test-push")]


def meaning(body):
    """A JSON text that is equal for bodies of the same meaning: order of keys aside, types and digits kept."""
    document = json.loads(body)
    if "sensors" in document:
        document["payload"] = document.pop("sensors")
    return json.dumps(document, sort_keys=True)


def body_with(value, name='"s"'):
    """A message whose only value is the JSON text `value`."""
    return (
        f'{{"deviceId":"d","sessionId":"s","payload":[{{"name":{name},"time":1,"values":{{"x":{value}}}}}]}}'.encode()
    )


def value_of(body):
    message, _ = parse_message(body)
    return message.payload[0].values["x"]


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_every_shape_keeps_its_meaning(path):
    """Every shape that the app sends is accepted and re-encoded to the same meaning."""
    body = path.read_bytes()
    _, record = parse_message(body)
    assert meaning(record) == meaning(body)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_record_reads_as_the_message_it_was_made_from(path):
    """What ingest writes is what the stream reads, with the same identity."""
    message, record = parse_message(path.read_bytes())
    again = read_record(record)
    assert isinstance(message, Message)
    assert (again.deviceId, again.sessionId, again.messageId) == (
        message.deviceId,
        message.sessionId,
        message.messageId,
    )
    assert [(r.name, r.time, r.values) for r in again.payload] == [(r.name, r.time, r.values) for r in message.payload]
    assert message_number(again) == message_number(message)


@pytest.mark.parametrize("name", ["test-push", "test-push-with-values"])
def test_test_push_is_told_apart(name):
    """A test push is one with or without values, and is not a record of the message topic."""
    message, record = parse_message((PAYLOADS[0].parent / f"{name}.json").read_bytes())
    assert isinstance(message, TestPush)
    with pytest.raises(MessageError, match="test push"):
        read_record(record)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=128)
plain_names = st.text(string.ascii_letters + string.digits + " -_é🚲", min_size=1, max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=5
)
readings = st.fixed_dictionaries(
    {
        "name": names.filter(lambda name: name != "test"),
        "time": st.integers(),
        "values": st.dictionaries(names, values, max_size=4),
    },
    optional={"accuracy": scalars, "later": values},
)
messages = st.fixed_dictionaries(
    {"deviceId": plain_names, "sessionId": plain_names, "payload": st.lists(readings, max_size=4)},
    optional={"messageId": st.integers() | plain_names | st.none(), "userId": scalars, "later": values},
)


@given(messages)
def test_any_message_keeps_its_meaning(document):
    """Whatever a message holds, its record has the same meaning and is read without an error."""
    document = {key: value for key, value in document.items() if value is not None}
    body = json.dumps(document).encode()
    _, record = parse_message(body)
    kept = json.loads(meaning(record))
    assert kept == json.loads(meaning(body))
    assert parse_message(record)[1] == record
    read_record(record)


@given(st.binary(max_size=200) | messages.map(lambda document: json.dumps(document).encode()[:-1]))
def test_any_bytes_are_a_message_or_an_error(body):
    """No bytes make the parser raise anything but a message error with a sentence."""
    details = ["accepted."]
    try:
        parse_message(body)
    except MessageError as error:
        details.append(error.detail)
    assert details[-1].endswith(".")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740993", 9007199254740993),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("0.1e1", 1.0),
        ("true", True),
        ("null", None),
        ('"\\\\u0000"', "\\u0000"),
        ('"\\ud83d\\udeb2"', "🚲"),
        ("[1,[2.5,null]]", [1, [2.5, None]]),
        ('{"a":{"b":"c"}}', {"a": {"b": "c"}}),
        ('1,"x":2', 2),
        ("[" * MAX_VALUE_DEPTH + "]" * MAX_VALUE_DEPTH, [[[[[[[[]]]]]]]]),
    ],
)
def test_value_is_kept(text, value):
    """Numbers keep their digits, of duplicate keys the last wins, and lists and objects are values too."""
    found = value_of(body_with(text))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "bad_json", id="empty"),
        pytest.param(b" ", "bad_json", id="blank"),
        pytest.param(b"\xef\xbb\xbf" + body_with("1"), "bad_json", id="byte order mark"),
        pytest.param(body_with("1").decode().encode("utf-16"), "bad_json", id="utf-16"),
        pytest.param(body_with("1").decode().encode("utf-32"), "bad_json", id="utf-32"),
        pytest.param(body_with('"\xff"').replace(b"\xc3\xbf", b"\xff"), "bad_json", id="not utf-8"),
        pytest.param(b"\x80", "bad_json", id="not a character"),
        pytest.param(body_with("1") + body_with("1"), "bad_json", id="two bodies"),
        pytest.param(body_with("NaN"), "bad_json", id="nan"),
        pytest.param(body_with("Infinity"), "bad_json", id="infinity"),
        pytest.param(body_with("-Infinity"), "bad_json", id="minus infinity"),
        pytest.param(body_with("1e999"), "bad_json", id="overflow"),
        pytest.param(body_with("1" * 5000), "bad_json", id="5000 digits"),
        pytest.param(body_with("01"), "bad_json", id="leading zero"),
        pytest.param(body_with('"\\ud800"'), "bad_json", id="lone high surrogate"),
        pytest.param(body_with('"\\udc00"'), "bad_json", id="lone low surrogate"),
        pytest.param(body_with('"\\udc00\\ud800"'), "bad_json", id="reversed surrogates"),
        pytest.param(body_with('"\x00"'), "bad_json", id="raw nul"),
        pytest.param(body_with("[" * 100_000), "bad_json", id="depth bomb"),
        pytest.param(b'{"a":' * 100_000, "bad_json", id="object bomb"),
        pytest.param(body_with('"\\u0000"'), "bad_message", id="nul in a value"),
        pytest.param(body_with("1", '"a\\u0000"'), "bad_message", id="nul in a name"),
        pytest.param(body_with("[" * 9 + "]" * 9), "bad_message", id="value too deep"),
        pytest.param(body_with("1", '""'), "bad_message", id="empty name"),
        pytest.param(body_with("1", f'"{"n" * 129}"'), "bad_message", id="long name"),
        pytest.param(body_with("1", "5"), "bad_message", id="name is a number"),
        pytest.param(b"[]", "bad_message", id="list"),
        pytest.param(b"17", "bad_message", id="number"),
        pytest.param(b'"text"', "bad_message", id="text"),
        pytest.param(b"null", "bad_message", id="null"),
        pytest.param(b"{}", "bad_message", id="empty object"),
    ],
)
def test_what_is_no_message_is_refused(body, code):
    """Everything that is not a message is refused with its code and one sentence that quotes no value."""
    with pytest.raises(MessageError) as error:
        parse_message(body)
    assert error.value.code == code
    assert error.value.detail.endswith(".")
    assert "n" * 129 not in error.value.detail


READING = {"name": "s", "time": 1, "values": {"x": 1}}
GOOD = {"deviceId": "d", "sessionId": "s", "messageId": 1, "payload": [READING]}


@pytest.mark.parametrize(
    "change",
    [
        {"deviceId": None},
        {"deviceId": ""},
        {"deviceId": 7},
        {"deviceId": "d" * 129},
        {"deviceId": "tab\t"},
        {"deviceId": "new\n"},
        {"deviceId": "next line\x85"},
        {"sessionId": None},
        {"sessionId": ["s"]},
        {"sessionId": "s" * 129},
        {"messageId": 1.5},
        {"messageId": True},
        {"messageId": [1]},
        {"messageId": ""},
        {"payload": None},
        {"payload": {}},
        {"payload": "x"},
        {"payload": [[]]},
        {"payload": [READING | {"time": "1"}]},
        {"payload": [READING | {"time": 1.5}]},
        {"payload": [READING | {"time": None}]},
        {"payload": [READING | {"values": [1]}]},
        {"payload": [READING | {"values": None}]},
        {"payload": [READING, {"name": "s", "time": 1}]},
        {"payload": [READING | {"accuracy": [3]}]},
        {"payload": [{"name": "test"}], "deviceId": 7},
    ],
    ids=str,
)
def test_wrong_field_is_refused(change):
    """A missing or wrong field is refused with a sentence that names it; null stands for missing."""
    with pytest.raises(MessageError) as error:
        parse_message(json.dumps(GOOD | change).encode())
    assert error.value.code == "bad_message"
    assert "\\x" not in error.value.detail


@pytest.mark.parametrize("session", [{}, {"sessionId": "s"}], ids=["without session", "with session"])
def test_session_may_be_missing_only_in_a_test_push(session):
    """A test push needs no session, any other message does."""
    parse_message(json.dumps({"deviceId": "d", "payload": [{"name": "test"}], **session}).encode())
    message = json.dumps({"deviceId": "d", "payload": [READING], **session}).encode()
    if session:
        parse_message(message)
    else:
        with pytest.raises(MessageError, match="sessionId"):
            parse_message(message)


@pytest.mark.parametrize(("depth", "accepted"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False), (800, False)])
def test_depth_of_unknown_fields_is_bounded(depth, accepted):
    """Unknown fields are kept up to a fixed depth, so that whoever reads the record later can."""
    body = json.dumps(GOOD).encode()[:-1] + b',"later":' + b"[" * depth + b"]" * depth + b"}"
    if accepted:
        assert parse_message(body)[1].count(b"[") == depth + 1
    else:
        with pytest.raises(MessageError, match="nested too deep"):
            parse_message(body)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (0, 0, True),
        (COUNTED_IDS_END - 1, COUNTED_IDS_END - 2, False),
        ("a", "a", True),
        ("a", "b", False),
        ("7", 7, False),
        (-1, 1, False),
        (COUNTED_IDS_END, 0, False),
        (None, None, True),
        (None, 0, False),
    ],
)
def test_identity(first, second, same):
    """Two messages are the same one exactly when their ids are, and every identity is a signed 64-bit number."""
    numbers = [message_number(read_record(json.dumps(GOOD | {"messageId": i}).encode())) for i in (first, second)]
    assert (numbers[0] == numbers[1]) is same
    assert all(0 <= number < 1 << 63 for number in numbers)


def test_identity_without_id_is_the_content():
    """Without an id, messages with other readings are other messages."""
    other = GOOD | {"messageId": None, "payload": [READING | {"time": 2}]}
    first, second = (read_record(json.dumps(m).encode()) for m in (GOOD | {"messageId": None}, other))
    assert message_number(first) != message_number(second)

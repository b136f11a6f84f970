"""What is stored against what was sent and acknowledged, value by value, with nothing of the services."""

from dataclasses import dataclass, field

from tests.system import reference

OF_DEVICES = """
JOIN session USING (session_id) JOIN device USING (device_id) WHERE device = ANY (%s)
"""
MESSAGES = f"SELECT device, session, number FROM message {OF_DEVICES}"
WINDOWS = f"""
SELECT device, session, sensor, channel, extract(epoch FROM start)::bigint, count, mean, min, max
FROM window_{{resolution}}s JOIN series USING (series_id) {OF_DEVICES}
"""
TEXTS = f"""
SELECT device, session, sensor, channel, time_ns, value FROM text_reading JOIN series USING (series_id) {OF_DEVICES}
"""


@dataclass
class Verdict:
    """Messages by what became of them, and lines that say where values differ."""

    acknowledged: int = 0
    unanswered: int = 0
    unanswered_stored: int = 0
    lost: int = 0
    doubled: int = 0
    strange: int = 0
    differences: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether all is as it should be: every acknowledged message is there once, and nothing else."""
        return not (self.lost or self.doubled or self.strange or self.differences)


def compare(stack, record):
    """The verdict on one simulator's record of answers.

    Everything acknowledged should be in PostgreSQL once; a message whose answer was lost may be stored too, and then
    once like the others.
    """
    acknowledged, unanswered = reference.messages(record)
    devices = [sorted({device for device, _, _ in acknowledged.keys() | unanswered.keys()})]
    rows = stack.query(MESSAGES, devices)
    stored = set(rows)
    verdict = Verdict(
        acknowledged=len(acknowledged),
        unanswered=len(unanswered),
        unanswered_stored=len(unanswered.keys() & stored),
        lost=len(acknowledged.keys() - stored),
        doubled=len(rows) - len(stored),
        strange=len(stored - acknowledged.keys() - unanswered.keys()),
    )
    sent = {identity: message for identity, message in (acknowledged | unanswered).items() if identity in stored}
    for resolution in (1, 10, 60):
        rows = stack.query(WINDOWS.format(resolution=resolution), devices)
        verdict.differences += reference.differences(
            reference.windows(sent, resolution), {row[:5]: row[5:] for row in rows}
        )
    if sorted(stack.query(TEXTS, devices)) != reference.texts(sent):
        verdict.differences.append("the text readings differ")
    return verdict

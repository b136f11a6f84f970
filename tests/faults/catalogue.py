"""Every fault there is, by name and in groups."""

from tests.faults.database import LockTables, OutOfConnections, Slow
from tests.faults.faults import (
    EVERYTHING_S,
    SERVER_S,
    SPARK_S,
    WORKER_S,
    Kill,
    KillAround,
    KillAt,
    KillEverything,
    Pause,
    Restart,
    SecondStream,
    SpoilCheckpoint,
)
from tests.faults.network import CutInTransaction, Delay, Lose
from tests.faults.poison import Poison

KILLS = [
    Kill("kill ingest worker", WORKER_S, "ingest worker"),
    Kill("kill ingest master", SERVER_S, "ingest master"),
    Kill("kill kafka", SERVER_S, "kafka"),
    Kill("kill postmaster", SERVER_S, "postmaster"),
    Kill("kill backend", SERVER_S, "backend"),
    Kill("kill driver", SPARK_S, "driver"),
    Kill("kill jvm", SPARK_S, "jvm"),
    Kill("kill python worker", SPARK_S, "python worker"),
    KillEverything("kill everything", EVERYTHING_S),
]
POINTS = [
    KillAround("kill before offsets", SPARK_S, "planning"),
    KillAround("kill after offsets", SPARK_S, "planned"),
    KillAt("kill in task", SPARK_S, "in_task"),
    KillAt("kill before transaction", SPARK_S, "before_transaction"),
    KillAt("kill before commit", SPARK_S, "before_commit"),
    KillAt("kill between commits", SPARK_S, "after_commit"),
    KillAround("kill after both commits", SPARK_S, "committed"),
]
CHECKPOINTS = [SpoilCheckpoint(f"checkpoint {how}", SPARK_S, how) for how in ("delete", "empty", "cut")]
STREAMS = [
    SecondStream("second stream", SPARK_S, same_checkpoint=False),
    SecondStream("second stream on the same checkpoint", SPARK_S, same_checkpoint=True),
]
PAUSED = ("ingest master", "ingest worker", "kafka", "postmaster", "backend", "driver", "jvm", "python worker")
PAUSES = [Pause(f"pause {name} {seconds} s", SPARK_S, name, seconds) for name in PAUSED for seconds in (5, 30, 120)]
RESTARTED = ("kafka", "postmaster", "ingest master", "driver")
RESTARTS = [Restart(f"restart {each}", SPARK_S if each == "driver" else SERVER_S, each) for each in RESTARTED]
POSTGRES = [
    LockTables("postgres locked 60 s", SERVER_S, 60),
    OutOfConnections("postgres out of connections 30 s", SERVER_S, 30),
    Slow("postgres slow 30 s", SERVER_S, 30),
]
POISON = [Poison("poison records", SPARK_S)]
_PORTS = {"kafka": "KAFKA_PORT", "postgres": "POSTGRES_PORT", "ingest": "INGEST_PORT"}
NETWORK = [
    *(Lose(f"cut {part} {s} s", SPARK_S, port, s) for part, port in _PORTS.items() for s in (10, 120)),
    CutInTransaction("cut postgres in a transaction 60 s", SPARK_S, "POSTGRES_PORT", 60),
    Lose("lossy kafka 60 s", SPARK_S, "KAFKA_PORT", 60, 0.01),
    *(Delay(f"slow {part} 60 s", SPARK_S, port, 60, 0.1) for part, port in _PORTS.items()),
]
GROUPS = {
    "kills": KILLS,
    "points": POINTS,
    "checkpoints": CHECKPOINTS,
    "streams": STREAMS,
    "pauses": PAUSES,
    "restarts": RESTARTS,
    "postgres": POSTGRES,
    "poison": POISON,
}
"""What any stack can be put through."""
APART = {"network": NETWORK}
"""What wants a network of its own."""
FAULTS = {fault.name: fault for group in (GROUPS | APART).values() for fault in group}
"""Every fault by its name."""

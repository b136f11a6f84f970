"""`python -m ops.spark.start master|worker|driver`: one part of the Spark cluster, as its containers run it.

Parts trust each other by a shared secret and speak encrypted; the secret reaches Spark in a file of a tmpfs, never by
an argument. An address is the one on the network that leads to the master: a container has several. Ports are fixed, so
that a scan finds what is known.
"""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

import pyspark

MASTER: Final = ("spark-master", 7077)
PART_PORT: Final = 7078
"""Where the driver, or a worker, is told things."""
BLOCKS_PORT: Final = 7079
"""Where the driver, or the executor of a worker, hands out blocks. A second executor beside it takes the next one."""
_HOME: Final = Path(pyspark.__file__).parent
_EXECUTOR: Final = (
    "-Dlog4j2.configurationFile=file:/app/services/stream/log4j2.properties "
    "-XX:+UseSerialGC -XX:ReservedCodeCacheSize=128m -Duser.timezone=UTC"
)
_WAIT_S: Final = 60


def main(part: str) -> None:
    """Write the configuration and become the part."""
    configuration = Path(os.environ["SPARK_CONF_DIR"])
    configuration.mkdir(parents=True, exist_ok=True)
    configuration.chmod(0o700)
    secret = Path(os.environ["SPARK_SECRET_FILE"]).read_text(encoding="utf-8").strip()
    options = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.saslFallback": "false",
        "spark.io.encryption.enabled": "true",
        "spark.master.rest.enabled": "false",
        "spark.ui.killEnabled": "false",
        "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104  # who has no secret is refused
        "spark.driver.port": str(PART_PORT),
        "spark.blockManager.port": str(BLOCKS_PORT),
        "spark.executor.memory": os.environ["SPARK_EXECUTOR_MEMORY"],
        "spark.executor.extraJavaOptions": _EXECUTOR,
        "spark.executor.logs.rolling.strategy": "size",  # they lie in memory
        "spark.executor.logs.rolling.maxSize": str(1 << 20),
        "spark.executor.logs.rolling.maxRetainedFiles": "3",
    }
    lines = [f"{name} {value}" for name, value in options.items()]
    (configuration / "spark-defaults.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if part == "driver":
        write_exporter(configuration, Path(os.environ["SPARK_METRICS_ACCESS_FILE"]))
    become(part)


def write_exporter(configuration: Path, access: Path) -> None:
    """What the exporter in the driver's JVM tells, and to whom: `jmx-exporter.yml`."""
    parts = (Path(__file__).with_name("jmx-exporter.yml"), access)
    whole = "".join(part.read_text(encoding="utf-8") for part in parts)
    (configuration / "jmx-exporter.yml").write_text(whole, encoding="utf-8")


def become(part: str) -> None:
    """Replace this process by the part."""
    spark_class = [str(_HOME / "bin" / "spark-class")]
    if part != "driver":
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"  # where their web pages listen
    match part:
        case "master":
            address = ["--host", MASTER[0], "--port", str(MASTER[1])]
            command = [*spark_class, "org.apache.spark.deploy.master.Master", *address]
        case "worker":
            size = ["--cores", os.environ["SPARK_WORKER_CORES"], "--memory", os.environ["SPARK_EXECUTOR_MEMORY"]]
            where = ["--host", own_address(), "--port", str(PART_PORT), "--work-dir", os.environ["SPARK_WORKER_DIR"]]
            url = f"spark://{MASTER[0]}:{MASTER[1]}"
            command = [*spark_class, "org.apache.spark.deploy.worker.Worker", *size, *where, url]
        case _:
            os.environ["SPARK_DRIVER_HOST"] = own_address()
            command = [sys.executable, "-m", "services.stream"]
    os.execve(command[0], command, os.environ)  # noqa: S606  # no shell is wanted


def own_address() -> str:
    """The address by which the master sees this container; waits a while for the master's name to be there."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(MASTER)  # sends nothing
                return str(probe.getsockname()[0])
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


if __name__ == "__main__":
    main(sys.argv[1])

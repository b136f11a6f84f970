"""The same stream on a standalone cluster of two workers: the executors store, and one that is killed is replaced."""

import contextlib
import os
import subprocess
import urllib.request
from pathlib import Path

import pyspark
import pytest

from tests.ports import free_ports
from tests.processes import children, command_of, descendants, kill, runs
from tests.system.stack import REPOSITORY, wait_until
from tests.system.stored import compare

pytestmark = pytest.mark.long
_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"


class Cluster:
    """A master and two workers of one core each, as processes on loopback."""

    def __init__(self, directory, environment):
        self.directory, self.environment = directory, environment
        self.port, self.page = free_ports(2)
        self.url = f"spark://127.0.0.1:{self.port}"
        self.processes = []

    def start_master(self):
        address = ["--host", "127.0.0.1", "--port", self.port, "--webui-port", self.page]
        self._run("master", "org.apache.spark.deploy.master.Master", *address)
        wait_until(self._answers, 60, "the master answers")

    def start(self):
        self.start_master()
        for number in range(2):
            work = ["--work-dir", self.directory / f"work-{number}", "--webui-port", 0]
            size = ["--host", "127.0.0.1", "--cores", 1, "--memory", "1100m"]
            self._run(f"worker-{number}", "org.apache.spark.deploy.worker.Worker", *size, *work, self.url)

    def executors(self):
        """The ids of the workers' executors."""
        return [pid for worker in self.processes[1:] for pid in children(worker.pid) if "Executor" in command_of(pid)]

    def stop(self):
        for process in reversed(self.processes):
            kill([process.pid, *descendants(process.pid)])
            process.wait()

    def _run(self, name, *words):
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [str(word) for word in (_CLASS, *words)]
            self.processes.append(
                subprocess.Popen(command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log)
            )

    def _answers(self):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.page}", timeout=1):
            return True
        return False


@pytest.fixture
def cluster(new_lab):
    """A running cluster, and the lab whose stream runs on it."""
    lab = new_lab()
    database = {
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": lab.stack.environment["POSTGRES_PORT"],
        "DATABASE_USER": "stream_writer",
        "DATABASE_PASSWORD_FILE": str(lab.stack.directory / "secrets" / "stream_writer"),
        "DATABASE_SSL_CA_FILE": str(lab.stack.directory / "certificates" / "ca.crt"),
    }
    made = Cluster(
        lab.directory, os.environ | database | {"PYTHONPATH": str(REPOSITORY), "SPARK_LOCAL_IP": "127.0.0.1"}
    )
    try:
        made.start()
        lab.stack.environment["SPARK_MASTER"] = made.url
        lab.stack.start()
        yield made, lab
        lab.stack.stop()
    finally:
        made.stop()


def test_executors_store_and_one_is_killed(cluster):
    """Both executors store; after kill -9 of one and of a worker nothing acknowledged is lost or doubled."""
    made, lab = cluster
    record = lab.directory / "record.jsonl"
    simulator = lab.start_phones(record, 3, 6)
    lab.await_whole(180)
    executors = wait_until(lambda: len(made.executors()) == 2 and made.executors(), 60, "two executors")
    workers = [[pid for pid in descendants(each) if "pyspark.daemon" in command_of(pid)] for each in executors]
    assert all(workers), "an executor has stored nothing"
    kill(executors[:1])
    wait_until(lambda: not runs(executors[0]), 10, "the executor has ended")
    lab.await_whole(180)
    worker = made.processes[2].pid
    kill([worker, *descendants(worker)])
    lab.await_whole(180)
    lab.finish(simulator)
    assert compare(lab.stack, record)


def test_new_master_knows_nothing(cluster):
    """A master that is started anew has no state: the stream is started again and registers with it."""
    made, lab = cluster
    record = lab.directory / "record.jsonl"
    simulator = lab.start_phones(record, 3, 7)
    lab.await_whole(180)
    master = made.processes[0].pid
    kill([master, *descendants(master)])
    made.start_master()
    lab.await_whole(240)
    lab.finish(simulator)
    assert compare(lab.stack, record)

"""`compose.prod.yml` run for real, as a project of its own on loopback ports. Imports nothing of the services."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.compose_file import REPOSITORY
from tests.ports import free_ports
from tests.system import reference

NAME = "localhost"
ANSWERS_WITHIN_S = 60


def docker(*arguments, check=True, timeout=600, **more):
    """Run docker; returns what it printed."""
    result = subprocess.run(
        ["docker", *map(str, arguments)], check=False, capture_output=True, text=True, timeout=timeout, **more
    )
    assert not check or result.returncode == 0, (
        f"docker {' '.join(map(str, arguments))}:\n{result.stdout}{result.stderr}"
    )
    return result.stdout


def wait_until(condition, timeout_s, what):
    """The first true value of `condition()`; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(1)
    return value


class Deployment:
    """One project: its environment, and what an operator does with it. A kept directory goes on with its ports."""

    def __init__(self, directory, project="sensor-stream-test", repository=REPOSITORY):
        ports = directory / "ports.json"
        https, http = json.loads(ports.read_text()) if ports.exists() else free_ports(2)
        ports.write_text(json.dumps([https, http]))
        self.directory = directory
        self.repository = repository
        self.project = project
        self.url = f"https://{NAME}:{https}"
        self.https_port = https
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": project, "COMPOSE_FILE": "compose.prod.yml", "EDGE_NAME": NAME, "YES": "1",
            "SECRETS_DIR": str(directory / "secrets"),
            "PUBLISH_HTTPS": f"127.0.0.1:{https}", "PUBLISH_HTTP": f"127.0.0.1:{http}",
        }  # fmt: skip
        self.left_out = []
        self.phones = []
        self.ca_file = directory / "edge-ca.crt"
        self.token_file = directory / "token"

    def compose(self, *arguments, check=True, timeout=900, text=None):
        """Run `ops/compose`; returns what it printed on standard output."""
        result = subprocess.run(
            [self.repository / "ops" / "compose", *map(str, arguments)], check=False, capture_output=True, text=True,
            timeout=timeout, env=self.environment, cwd=self.repository, input=text,
        )  # fmt: skip
        assert not check or result.returncode == 0, f"{arguments}:\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
        return result.stdout

    def make(self, *arguments, timeout=900):
        """Run `make`, as the operator does; returns all that it printed."""
        result = subprocess.run(
            ["make", "-s", *arguments], check=False, capture_output=True, text=True, timeout=timeout,
            env=self.environment, cwd=self.repository,
        )  # fmt: skip
        assert result.returncode == 0, f"make {arguments}:\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
        return result.stdout + result.stderr

    def config(self):
        return json.loads(self.compose("config", "--format", "json"))

    def leave_out_what_has_no_image(self):
        """Services whose image is neither here nor can be pulled run in no container; the report names them."""
        for name, service in self.config()["services"].items():
            if "build" in service or service["image"].startswith("sensor-stream/"):
                continue
            image = service["image"]
            if (
                docker("image", "ls", "-q", image)
                or not subprocess.run(
                    ["docker", "pull", "-q", image], check=False, capture_output=True, timeout=300
                ).returncode
            ):
                continue
            self.left_out.append((name, image))
            print(f"LEFT OUT: {name}, for there is no image {image}", flush=True)
        if self.left_out:
            file = self.directory / "left-out.json"
            file.write_text(json.dumps({"services": {name: {"profiles": ["left-out"]} for name, _ in self.left_out}}))
            self.environment["COMPOSE_FILE"] += f":{file}"

    def up(self, *more, timeout=420):
        """Start, and wait until all is healthy; returns the seconds it took."""
        began = time.monotonic()
        self.compose("up", "-d", "--no-build", "--wait", *more, timeout=timeout)
        return time.monotonic() - began

    def down(self, *more):
        self.compose("--profile", "tools", "down", "--timeout", "60", *more)

    def destroy_volumes(self, but=None):
        """All of the project, while it is down; secrets are no volume."""
        names = docker("volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={self.project}").split()
        docker("volume", "rm", *(name for name in names if name != f"{self.project}_{but}"))

    def containers(self):
        """Those that run: (service, id)."""
        lines = self.compose("ps", "--format", "{{.Service}} {{.ID}}").splitlines()
        return [tuple(line.split()) for line in lines]

    def container(self, service):
        return next(identity for name, identity in self.containers() if name == service)

    def is_healthy(self, service):
        states = self.compose("ps", "--all", "--format", "{{.Health}}", service).split()
        return bool(states) and set(states) == {"healthy"}

    def kill(self, *services):
        """kill -9 of containers' first processes, as for want of memory: they must come back by themselves.

        Wants root on a Linux host: the processes are the host's, and the engine is told nothing.
        """
        containers = {service: self.container(service) for service in services}
        killed = {service: process_of(identity) for service, identity in containers.items()}
        for process in killed.values():
            os.kill(process, signal.SIGKILL)
        for service, identity in containers.items():
            wait_until(
                lambda service=service, identity=identity: process_of(identity) not in (0, killed[service]),
                60, f"{service} is started again",
            )  # fmt: skip

    def enrol(self):
        """What a phone needs: the root of the edge's own CA, and a token."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(f"{self.url}/edge-ca.crt", timeout=20, context=context) as answer:
            self.ca_file.write_bytes(answer.read())
        if not self.token_file.exists():
            self.token_file.write_text(
                self.compose("run", "--rm", "-T", "--no-deps", "tokens", "add", "--shared", "test")
            )
            wait_until(self.takes_the_token, 30, "ingest knows the token")

    def takes_the_token(self):
        body = json.dumps({"deviceId": "test", "payload": [{"name": "test"}]}).encode()
        return self.post(body)[0] == 200

    def post(self, body):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        request = urllib.request.Request(f"{self.url}/sensor_data", body, headers)
        context = ssl.create_default_context(cafile=self.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def simulate(self, record, *arguments):
        """Start phones that send over HTTPS, other ones each time; the caller waits for them."""
        options = ["--target", f"{self.url}/sensor_data", "--ca-file", self.ca_file, "--token-file", self.token_file]
        command = [sys.executable, "-m", "services.simulator", *options, "--record", record, *arguments]
        command += ["--seed", time.time_ns() % 1_000_000]
        phones = subprocess.Popen(list(map(str, command)), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        self.phones.append(phones)
        return phones

    def check(self):
        """The conservation check: exit status and table."""
        run = ["run", "--rm", "-T", "--no-deps", "stream-tool", "services.stream.check"]
        result = subprocess.run(
            [self.repository / "ops" / "compose", *run],
            check=False, capture_output=True, text=True, timeout=120, env=self.environment, cwd=self.repository,
        )  # fmt: skip
        return result.returncode, result.stdout + result.stderr

    def wait_until_stored(self, timeout_s=240):
        """Wait until the check adds up with no lag left; returns the table."""
        last = [""]

        def adds_up():
            status, last[0] = self.check()
            return status == 0 and last[0].count("lag of 0") == last[0].count("lag of") > 0

        try:
            wait_until(adds_up, timeout_s, "everything is stored")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last[0]}") from None
        return last[0]

    def query(self, statement):
        """Rows of a query as the superuser, from JSON."""
        script = (
            'umask 077; printf "*:*:*:postgres:%s\\n" "$(cat /run/secrets/superuser)" > /tmp/pass; '
            "PGPASSFILE=/tmp/pass PGSSLMODE=verify-full PGSSLROOTCERT=/run/secrets/ca.crt "
            'exec psql -X -q -At -v ON_ERROR_STOP=1 -h postgres -U postgres -d "$DATABASE_NAME" -f -'
        )
        text = f"SELECT coalesce(json_agg(to_json(t)), '[]') FROM ({statement}) t"
        run = ["run", "--rm", "-T", "--no-deps", "--entrypoint", "bash", "backup", "-c", script]
        return json.loads(self.compose(*run, text=text))

    def memory(self):
        """By service: MiB used, and MiB allowed. Of one with several containers, those of one."""
        services = {identity: service for service, identity in self.containers()}
        lines = docker("stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}", *services).splitlines()
        found = {}
        for identity, used, _, limit in map(str.split, lines):
            found[services[identity]] = mebibytes(used), mebibytes(limit)
        return found

    def cpu_seconds(self):
        """By service: what its first container has used of a core until now."""
        engine = docker("context", "inspect", "-f", "{{.Endpoints.docker.Host}}").strip()
        address = os.environ.get("DOCKER_HOST", engine).removeprefix("unix://")
        found = {}
        for service, identity in self.containers():
            path = f"http://engine/containers/{identity}/stats?stream=false&one-shot=true"
            told = subprocess.run(
                ["curl", "-sf", "--unix-socket", address, path], check=True, capture_output=True, timeout=20
            )
            found[service] = json.loads(told.stdout)["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        return found

    def end_phones(self):
        """After a failed test: none outlives it."""
        for phones in self.phones:
            if phones.poll() is None:
                phones.kill()
                phones.wait()

    def remove(self):
        """Everything of the project, its data and secrets."""
        self.down("--volumes", "--remove-orphans")
        image = self.config()["services"]["secrets"]["image"]
        docker("run", "--rm", "--user=0", "--network=none", "-v", f"{self.directory}:/all", "--entrypoint", "rm", image,
               "-rf", "/all/secrets", check=False)  # fmt: skip
        shutil.rmtree(self.directory, ignore_errors=True)


def process_of(container):
    """The host's id of its first process; 0 while there is none."""
    return int(docker("inspect", "-f", "{{.State.Pid}}", container))


def stored_once(deployment, *files):
    """Every acknowledged message of these records is in PostgreSQL, once; returns how many there are."""
    deployment.wait_until_stored()
    acknowledged, unanswered = {}, {}
    for file in files:
        sent = reference.messages(file)
        acknowledged |= sent[0]
        unanswered |= sent[1]
    devices = ", ".join(f"'{device}'" for device in sorted({device for device, _, _ in acknowledged}))
    rows = deployment.query(
        "SELECT device, session, number FROM message JOIN session USING (session_id) JOIN device USING (device_id) "
        f"WHERE device IN ({devices})"
    )
    stored = [(row["device"], row["session"], row["number"]) for row in rows]
    assert len(stored) == len(set(stored))
    assert acknowledged.keys() <= set(stored) <= acknowledged.keys() | unanswered.keys()
    assert len(acknowledged) > 20
    return len(acknowledged)


def mebibytes(text):
    """Of docker's sizes, such as 12.5MiB."""
    number = float(text.rstrip("KMGiB"))
    return round(number * {"K": 1 / 1024, "M": 1, "G": 1024}.get(text.removesuffix("iB")[-1], 1 / 1048576), 1)


def report_path():
    return Path(os.environ.get("COMPOSE_REPORT", REPOSITORY / "artefacts" / "compose-report.md"))

"""What the deployment promises, seen on its running containers. Ordered: from the start to the end of its life."""

import json
import re
import subprocess
import time

import pytest
import yaml
from deployment import docker, stored_once, wait_until

from tests.compose_file import REPOSITORY, load, settings

pytestmark = pytest.mark.long

START_WITHIN_S = 180
MEASURED_S = 60
OPEN_PORTS = {
    "edge": {80, 443, 9104},
    "ingest": {5000, 9101},
    "kafka": {9092, 9105},
    "spark-master": {7077},
    "spark-worker": {7078, 7079},
    "stream": {7078, 7079, 9102, 9106},
    "postgres": {5432},
    "dashboard": {8050, 9103},
    "prometheus": {9090},
    "alertmanager": {9093},
    "postgres-exporter": {9187},
    "node-exporter": {9100},
    "blackbox-exporter": {9115},
    "grafana": {3000},
    "tempo": {3200, 4318},
}
SCAN = """
import socket, sys
def is_open(port):
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((sys.argv[1], port)) == 0
print(*(port for port in range(1, 65536) if is_open(port)))
"""
DATA_PATH = ["ingest", "stream", "spark-worker", "spark-master", "kafka", "postgres", "edge"]
BESIDE_IT = sorted(OPEN_PORTS.keys() - set(DATA_PATH))
KILLED = [*([service] for service in DATA_PATH), BESIDE_IT]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Where the simulator writes down what it sent and what was answered."""
    return tmp_path_factory.mktemp("records")


def from_inside(deployment, network, *command):
    """Run Python in a container that is on one network and has no secret: exit status and output."""
    image = deployment.config()["services"]["ingest"]["image"]
    name = f"{deployment.project}_{network}"
    result = subprocess.run(
        ["docker", "run", "--rm", "--network", name, "--entrypoint", "python", image, "-c", *command],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


def test_compose_reads_the_file_as_the_unit_tests_do(deployment):
    """What the invariants were tested on is what Docker Compose makes of the file."""
    seen = json.loads(deployment.compose("--profile", "*", "config", "--format", "json"))["services"]
    read = load("compose.prod.yml")["services"]
    assert seen.keys() == read.keys()
    for name, service in read.items():
        assert seen[name]["image"] == service["image"]
        assert seen[name]["read_only"] is True
        assert set(seen[name].get("networks") or {}) == set(service.get("networks", []))
        assert (seen[name].get("environment") or {}).keys() == service.get("environment", {}).keys()


def test_all_is_healthy_in_time(deployment, report):
    """From empty volumes to healthy containers within three minutes."""
    assert deployment.first_start_s < START_WITHIN_S
    running = {service for service, _ in deployment.containers()}
    report.say(f"- Running: {', '.join(sorted(running))}.")


def test_phones_send_over_https(deployment, records, report):
    """From a phone through the edge to a row, each message once."""
    phones = deployment.simulate(records / "first.jsonl", "--phones", 5, "--duration", 30, "--duplicates", 0.05)
    assert phones.wait(180) == 0
    count = stored_once(deployment, records / "first.jsonl")
    report.say(f"- {count} messages of 5 phones over HTTPS: each stored once, and the check adds up.")


def test_what_phones_cost(deployment, records, report):
    """CPU and memory of every container with no phone, with 5 and with 20: each keeps a tenth of its memory free."""
    cost = {phones: cost_of(deployment, records / f"cost-{phones}.jsonl", phones) for phones in (0, 5, 20)}
    head = [f"CPU, {phones} phones" for phones in cost] + [f"MiB, {phones} phones" for phones in cost]
    report.say(f"\nCPU is in % of a core, over {MEASURED_S} s.\n\n| service | {' | '.join(head)} | of |")
    report.say("| --- |" + " ---: |" * (len(head) + 1))
    services = sorted(cost[0][1])
    for service in services:
        cpu = [cost[phones][0][service] for phones in cost]
        used = [cost[phones][1][service][0] for phones in cost]
        report.say(row(service, cpu, used, cost[0][1][service][1]))
    cpu = [sum(of_each.values()) for of_each, _ in cost.values()]
    used = [sum(each[0] for each in memory.values()) for _, memory in cost.values()]
    report.say(row("all", cpu, used, sum(limit for _, limit in cost[0][1].values())) + "\n")
    tight = {service for _, memory in cost.values() for service, (mib, limit) in memory.items() if mib > 0.9 * limit}
    assert tight == set()


def cost_of(deployment, record, phones):
    """By service: CPU in % of a core, and (MiB used, MiB allowed), while so many phones send."""
    if phones:
        sending = deployment.simulate(record, "--phones", phones, "--duration", MEASURED_S + 30)
        wait_until(lambda: record.exists() and record.read_text().count('"status":200') > 10 * phones, 90, "they send")
    began, before = time.monotonic(), deployment.cpu_seconds()
    time.sleep(MEASURED_S)
    after, seconds = deployment.cpu_seconds(), time.monotonic() - began
    memory = deployment.memory()
    if phones:
        assert sending.wait(180) == 0
        stored_once(deployment, record)
    return {service: 100 * (after[service] - before[service]) / seconds for service in before}, memory


def row(name, cpu, used, limit):
    """A line of the table of costs."""
    return f"| {name} | " + " | ".join(f"{number:.0f}" for number in (*cpu, *used, limit)) + " |"


def test_prometheus_sees_all(deployment, report):
    """Every job but those of what is left out has a target that answers, and the edge does to who asks as phones do."""
    text = (REPOSITORY / "ops" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    away = {
        name.replace("blackbox-exporter", "edge-probe").removesuffix("-exporter") for name, _ in deployment.left_out
    }
    wanted = {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]} - away
    question = 'up{job!="edge-probe"} == 1 or probe_success == 1'
    wait_until(lambda: jobs_that(deployment, question) == wanted, 60, f"{sorted(wanted)} answer Prometheus")
    report.say(f"- Prometheus reads {', '.join(sorted(wanted))}.")


def jobs_that(deployment, question):
    """The jobs that are in the answer to a question of Prometheus."""
    return set(re.findall(r'job="([^"]+)"', ask_prometheus(deployment, question)))


def ask_prometheus(deployment, question):
    """Its answer, as text; empty while it does not answer."""
    query = ["promtool", "query", "instant", "--http.config.file=/run/secrets/client.yml", "http://127.0.0.1:9090"]
    return deployment.compose("exec", "-T", "prometheus", *query, question, check=False)


def test_hardening_is_in_force(deployment):
    """The engine runs each container as the file says: user, read-only root, capabilities, limits."""
    for service, identity in deployment.containers():
        [seen] = json.loads(docker("inspect", identity))
        host = seen["HostConfig"]
        assert seen["Config"]["User"] not in ("", "0", "root", "0:0"), service
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0, service
        assert host["PidsLimit"] > 0, service


def test_only_the_edge_is_reachable_from_outside(deployment):
    """No port of the host but the edge's two leads in."""
    published = {}
    for service, identity in deployment.containers():
        if ports := docker("port", identity).split("\n")[:-1]:
            published[service] = {line.split(" ")[0] for line in ports}
    assert published == {"edge": {"443/tcp", "80/tcp"}}


@pytest.mark.parametrize("service", OPEN_PORTS)
def test_open_ports_are_those_that_are_meant(deployment, service):
    """A scan of all ports from beside the service finds nothing that nobody knows of."""
    if service in dict(deployment.left_out):
        pytest.skip(f"{service} is left out")
    [network] = list(deployment.config()["services"][service]["networks"])[:1]
    status, output = from_inside(deployment, network, SCAN, service)
    assert status == 0, output
    assert set(map(int, output.split())) == OPEN_PORTS[service]


KAFKA = """
import confluent_kafka.admin as a
c = a.AdminClient({
    "bootstrap.servers": "kafka:9092", "security.protocol": "%s", "enable.ssl.certificate.verification": False
})
c.list_topics(timeout=8)
"""
POSTGRES = """
import psycopg2
psycopg2.connect(host="postgres", user="postgres", dbname="postgres", password="guess", sslmode="%s", connect_timeout=5)
"""
TELL_METRICS = (
    "edge:9104", "ingest:9101", "stream:9102", "dashboard:9103", "kafka:9105", "stream:9106", "postgres-exporter:9187",
    "node-exporter:9100", "blackbox-exporter:9115",
)  # fmt: skip
HTTP = """
import urllib.request
print(urllib.request.urlopen("%s", timeout=5).status)
"""


@pytest.mark.parametrize(
    ("network", "program", "refusal"),
    [
        ("bus", KAFKA % "ssl", "_TRANSPORT"),
        ("bus", KAFKA % "plaintext", "_TRANSPORT"),
        ("data", POSTGRES % "require", "password authentication failed"),
        ("data", POSTGRES % "disable", "no pg_hba.conf entry"),
        ("telemetry", HTTP % "http://prometheus:9090/api/v1/query?query=up", "401"),
        ("telemetry", HTTP % "http://alertmanager:9093/api/v2/alerts", "401"),
        *(("telemetry", HTTP % f"http://{place}/metrics", "401") for place in TELL_METRICS),
    ],
)
def test_inner_ports_refuse_strangers(deployment, network, program, refusal):
    """Who is on an inner network without a certificate or a password gets nothing."""
    if missing := [name for name, _ in deployment.left_out if f"//{name}:" in program]:
        pytest.skip(f"{missing[0]} is left out")
    status, output = from_inside(deployment, network, program)
    assert status != 0
    assert refusal in output


SPARK = """
import socket, struct, sys
body = b"who has no secret"
request = struct.pack(">BQI", 3, 1, len(body)) + body  # one call of Spark's own protocol
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as connection:
    connection.sendall(struct.pack(">Q", 8 + len(request)) + request)
    print(connection.recv(4096))
"""


@pytest.mark.parametrize(
    ("service", "port"),
    [("spark-master", 7077), ("spark-worker", 7078), ("spark-worker", 7079), ("stream", 7078), ("stream", 7079)],
)
def test_parts_of_spark_refuse_strangers(deployment, service, port):
    """Who does not begin by proving that it knows Spark's secret is told so, and nothing else."""
    status, output = from_inside(deployment, "bus", SPARK, service, str(port))
    assert status == 0, output
    assert "Unknown challenge message" in output


def test_inner_networks_lead_nowhere(deployment):
    """From the bus, the data and the telemetry network nothing outside is reached."""
    program = "import socket; socket.create_connection(('1.1.1.1', 443), timeout=3)"
    for network in ("bus", "data", "telemetry"):
        status, output = from_inside(deployment, network, program)
        assert status != 0
        assert "unreachable" in output or "timed out" in output


def test_no_secret_is_in_environment_arguments_or_image(deployment):
    """What `docker inspect` shows of a container and its image holds none of the secrets, and logs do not, either."""
    directory = deployment.directory / "secrets" / "passwords"
    secrets = [file.read_text() for file in directory.iterdir()] + [deployment.token_file.read_text().strip()]
    shown = [docker("inspect", identity) for _, identity in deployment.containers()]
    shown += [docker("history", "--no-trunc", service["image"]) for service in deployment.config()["services"].values()
              if service["image"].startswith("sensor-stream/")]  # fmt: skip
    shown.append(deployment.compose("logs", "--no-color"))
    assert len(secrets) > 8
    assert not [text for text in shown for secret in secrets if secret in text]


@pytest.mark.parametrize("services", KILLED, ids=lambda services: services[0] if len(services) == 1 else "others")
def test_kill_of_each_container_under_load(deployment, records, report, services):
    """kill -9 of any one: it comes back by itself, and nothing acknowledged is lost or doubled."""
    services = [service for service in services if service not in dict(deployment.left_out)]
    record = records / f"kill-{services[0]}.jsonl"
    phones = deployment.simulate(record, "--phones", 3, "--duration", 25, "--patience", 150)
    wait_until(lambda: record.exists() and record.read_text().count('"status":200') > 20, 90, "phones send")
    began = time.monotonic()
    deployment.kill(*services)
    wait_until(lambda: all(map(deployment.is_healthy, services)), 180, f"{services} healthy again")
    seconds = time.monotonic() - began
    assert phones.wait(300) == 0
    count = stored_once(deployment, record)
    report.say(
        f"- kill -9 of {', '.join(services)} under load: healthy {seconds:.0f} s later; "
        f"{count} messages, each stored once."
    )


def test_down_and_up_keeps_all_data(deployment, records, report):
    """`down`, then `up`: everything that was stored is there, phones go on with their tokens."""
    before = deployment.query("SELECT count(*) AS messages FROM message")
    deployment.down()
    seconds = deployment.up()
    assert deployment.query("SELECT count(*) AS messages FROM message") == before
    phones = deployment.simulate(records / "after.jsonl", "--phones", 3, "--duration", 15)
    assert phones.wait(180) == 0
    stored_once(deployment, records / "first.jsonl", records / "after.jsonl")
    report.say(f"- `down` and `up` again ({seconds:.0f} s): all data there, phones go on.")


def test_backlog_fits_the_memory(deployment, records, report):
    """Whole micro-batches, as after an outage, are stored without an executor being ended for want of memory."""
    largest = int(settings()["STREAM_MAX_RECORDS_PER_BATCH"])
    deployment.compose("stop", "stream")
    phones = deployment.simulate(records / "backlog.jsonl", "--phones", 40, "--duration", largest / 60)
    assert phones.wait(300) == 0
    began = int(time.time())
    deployment.compose("start", "stream")
    count = stored_once(deployment, records / "backlog.jsonl")
    seconds = time.time() - began
    assert count > largest
    assert "Lost executor" not in deployment.compose("logs", "--since", began, "stream")
    used, limit = deployment.memory()["spark-worker"]
    report.say(
        f"- A backlog of {count} messages: each stored once within {seconds:.0f} s of the stream's start; "
        f"the Spark worker holds {used:.0f} of {limit:.0f} MiB after it."
    )


def test_scale(deployment, records, report):
    """Three ingests and two Spark workers share the work, and Prometheus finds them all."""
    deployment.up("--scale", "ingest=3", "--scale", "spark-worker=2")
    phones = deployment.simulate(records / "scale.jsonl", "--phones", 12, "--duration", 30)
    assert phones.wait(180) == 0
    count = stored_once(deployment, records / "scale.jsonl")
    workers = [identity for name, identity in deployment.containers() if name == "spark-worker"]
    assert ["CoarseGrainedExecutorBackend" in docker("top", identity) for identity in workers] == [True, True]
    counts = [
        docker("exec", identity, "python", "-c", ACCEPTED).strip()
        for name, identity in deployment.containers()
        if name == "ingest"
    ]
    assert len(counts) == 3
    assert all(float(each) > 0 for each in counts)
    targets = wait_until(lambda: found_by_prometheus(deployment), 60, "Prometheus finds three ingests")
    shares = ", ".join(counts)
    report.say(
        f"- 3 ingests, 2 Spark workers: {count} messages, accepted {shares}; Prometheus finds {targets} ingests."
    )
    deployment.up()


ACCEPTED = """
import base64, re, urllib.request
known = base64.b64encode(b"metrics:" + open("/run/secrets/metrics", "rb").read()).decode()
request = urllib.request.Request("http://127.0.0.1:9101/metrics", headers={"Authorization": "Basic " + known})
text = urllib.request.urlopen(request, timeout=5).read().decode()
print(sum(float(v) for v in re.findall(r"^ingest_messages_accepted_total(?:{[^}]*})? (.+)$", text, re.M)))
"""


def found_by_prometheus(deployment):
    """How many ingests answer Prometheus, once there are three."""
    return 3 if "=> 3 " in ask_prometheus(deployment, 'count(up{job="ingest"} == 1)') else 0


def test_renewed_certificates(deployment, records, report):
    """`make renew-certs` under load: nothing lost, and PostgreSQL, which only reads again, comes back if killed."""
    record = records / "renewed.jsonl"
    phones = deployment.simulate(record, "--phones", 3, "--duration", 60, "--patience", 200)
    wait_until(lambda: record.exists() and record.read_text().count('"status":200') > 20, 90, "phones send")
    began = time.monotonic()
    deployment.make("renew-certs")
    seconds = time.monotonic() - began
    deployment.kill("postgres")
    assert phones.wait(400) == 0
    count = stored_once(deployment, record)
    report.say(f"- `make renew-certs` under load ({seconds:.0f} s): {count} messages, each stored once.")


def test_backup_and_restore(deployment, records, report):
    """Back up under load, destroy every volume but Kafka's, restore: Kafka fills up what came later."""
    record = records / "backup.jsonl"
    phones = deployment.simulate(record, "--phones", 3, "--duration", 40, "--patience", 200)
    wait_until(lambda: record.exists() and record.read_text().count('"status":200') > 20, 90, "phones send")
    backups = deployment.directory / "backups"
    deployment.make("backup", f"DIR={backups}")
    assert phones.wait(300) == 0
    deployment.wait_until_stored()
    deployment.down()
    deployment.destroy_volumes(but="kafka")
    seconds = restore(deployment, sorted(backups.glob("*.tar"))[-1])
    count = stored_once(deployment, *sorted(records.iterdir()))
    report.say(
        f"- Backup under load, every volume but Kafka's destroyed, restored in {seconds:.0f} s: all {count} messages, "
        "those after the backup too, each once, and the check adds up."
    )


def test_restore_where_kafka_is_lost_too(deployment, records, report):
    """Every volume destroyed: what the backup holds is there once, and phones go on beside a Kafka that is empty."""
    deployment.wait_until_stored()
    before = sorted(records.iterdir())
    backups = deployment.directory / "backups"
    deployment.make("backup", f"DIR={backups}")
    lost = deployment.simulate(records / "lost.jsonl", "--phones", 3, "--duration", 10)
    assert lost.wait(180) == 0
    (records / "lost.jsonl").unlink()
    deployment.wait_until_stored()
    deployment.down()
    deployment.destroy_volumes()
    seconds = restore(deployment, sorted(backups.glob("*.tar"))[-1])
    count = stored_once(deployment, *before)
    after = deployment.simulate(records / "anew.jsonl", "--phones", 3, "--duration", 20)
    assert after.wait(180) == 0
    more = stored_once(deployment, *before, records / "anew.jsonl") - count
    assert more > 20
    known = deployment.query("SELECT coalesce(sum(upper(offsets)), 0) AS known FROM partition_progress")
    assert more <= known[0]["known"] < count
    report.say(
        f"- Every volume destroyed, Kafka's too, restored in {seconds:.0f} s: all {count} messages up to the backup, "
        f"and {more} that phones sent after it, each once, and the check adds up."
    )


def restore(deployment, file):
    """`make restore`; returns the seconds it took. The edge's own CA is a new one, which phones have to trust."""
    began = time.monotonic()
    deployment.make("restore", f"FILE={file}")
    seconds = time.monotonic() - began
    deployment.enrol()
    return seconds


def test_status_tells(deployment):
    """`make status` names health, lag, disks and certificates."""
    told = deployment.make("status")
    for word in ("healthy", "lag of 0", "free", "days"):
        assert word in told


def test_operator_asks_postgres(deployment):
    """What `make psql` starts is the superuser's."""
    run = ["run", "--rm", "-T", "--no-deps", "backup", "psql", "-At"]
    assert deployment.compose(*run, text="SELECT current_user").strip() == "postgres"


def test_doctor_tells(deployment):
    """`make doctor` finds a phone able to send, once it trusts the edge's own CA."""
    url = f"URL={deployment.url}/sensor_data"
    told = deployment.make("doctor", url, f"CA_FILE={deployment.ca_file}", f"TOKEN_FILE={deployment.token_file}")
    assert "a test push is acknowledged by Kafka" in told
    assert told.strip().endswith("a phone can send here")

"""Every alert: fires when it should, stays quiet when it should not, and has a runbook. Asked of promtool."""

import re
import subprocess
from typing import NamedTuple

import pytest
import yaml

from ops.local.processes import REPOSITORY

PROMETHEUS = REPOSITORY / "ops" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
ALERTS = {
    rule["alert"]: rule
    for file in RULES
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
MESSAGES = "ingest_messages_accepted_total"
REFUSED = 'ingest_errors_total{code="not_acknowledged"}'
TEST_PUSHES = "ingest_test_pushes_total"
IN_TIME = 'stream_broker_to_commit_seconds_bucket{le="5.0"}'
STORED = "stream_broker_to_commit_seconds_count"
KAFKA_IN = 'kafka_topic_records_in_total{topic="sensor-messages"}'
DISK = '{mountpoint="/",fstype="ext4"}'
DAY = 86400
LONG = 1000
SLOWLY = "4h"


class Case(NamedTuple):
    """The series at which the alert has to fire (by the minute `at`) and those at which it must not.

    In promtool's notation a+bxn is a, a + b, ... a + n * b, one value every 15 s.
    """

    alert: str
    fires: dict[str, str]
    quiet: dict[str, str]
    at: str = "10m"


def ingest(accepted, refused):
    """Counters that grow by these every 15 s."""
    return {MESSAGES: f"0+{accepted}x{LONG}", REFUSED: f"0+{refused}x{LONG}", TEST_PUSHES: f"0x{LONG}"}


def stored(in_time, late):
    return {IN_TIME: f"0+{in_time}x{LONG}", STORED: f"0+{in_time + late}x{LONG}"}


CASES = [
    Case("TargetMissing", {'up{job="kafka"}': "1x10 0x40"}, {'up{job="kafka"}': "1x20 0x2 1x40"}),
    Case(
        "TargetMissing",
        {'prometheus_sd_discovered_targets{name="scrape",config="ingest"}': "0x60"},
        {'prometheus_sd_discovered_targets{name="scrape",config="ingest"}': "2x60"},
    ),
    Case(
        "KafkaDown",
        {'up{job="kafka"}': "0x60"},
        {'up{job="kafka"}': "1x60", "kafka_offline_partitions": "0x60", "kafka_active_controllers": "1x60"},
    ),
    Case("KafkaDown", {"kafka_offline_partitions": "2x60"}, {"kafka_offline_partitions": "0x60"}),
    Case("PostgresDown", {"pg_up": "0x60"}, {"pg_up": "1x60", 'up{job="postgres"}': "1x60"}),
    Case("EdgeUnreachable", {'probe_success{job="edge-probe"}': "0x60"}, {'probe_success{job="edge-probe"}': "1x60"}),
    Case(
        "MonitoringBroken",
        {"prometheus_rule_evaluation_failures_total": "0x20 1x40"},
        {"prometheus_rule_evaluation_failures_total": "3x60", "prometheus_config_last_reload_successful": "1x60"},
    ),
    Case("IngestUnavailable", ingest(100, 4), ingest(100, 0)),
    Case("IngestUnavailable", ingest(0, 4), {MESSAGES: "0x60", REFUSED: "0x60", TEST_PUSHES: "0x60"}),
    Case("IngestUnavailableSlowly", ingest(1000, 4), ingest(10000, 4), SLOWLY),
    Case("IngestRefuses", ingest(100, 4), ingest(1000, 4)),
    Case("DataNotFresh", stored(50, 50), stored(97, 3)),
    Case("DataNotFreshSlowly", stored(95, 5), stored(995, 5), SLOWLY),
    Case(
        "NoData",
        {"sensor_phones_recording": "3x60", MESSAGES: "5x60"},
        {"sensor_phones_recording": "3x60", MESSAGES: "0+1x60"},
    ),
    Case(
        "NoData",
        {"sensor_phones_recording": "1x60", MESSAGES: "5x60"},
        {"sensor_phones_recording": "0x60", MESSAGES: "5x60"},
    ),
    Case(
        "TokensOld",
        {"ingest_tokens_read_timestamp_seconds": "100x60"},
        {"ingest_tokens_read_timestamp_seconds": "0+15x60"},
    ),
    Case(
        "StreamStuck",
        {KAFKA_IN: "0+10x60", 'stream_records_total{outcome="stored"}': "7x60"},
        {KAFKA_IN: "0+10x60", 'stream_records_total{outcome="stored"}': "0+10x60"},
    ),
    Case("StreamStuck", {KAFKA_IN: "0+10x60"}, {KAFKA_IN: "10x60"}),
    Case(
        "StreamLagGrows",
        {'stream_lag_records{partition="0"}': "2000+100x100"},
        {'stream_lag_records{partition="0"}': "20000-100x100"},
        "20m",
    ),
    Case(
        "StreamRestarts",
        {'process_start_time_seconds{job="stream"}': "1x4 2x4 3x4 4x40"},
        {'process_start_time_seconds{job="stream"}': "1x30 2x30"},
    ),
    Case(
        "QuarantineRate",
        {'stream_records_total{outcome="stored"}': "0+95x60", 'stream_records_total{outcome="quarantined"}': "0+5x60"},
        {'stream_records_total{outcome="stored"}': "0+995x60", 'stream_records_total{outcome="quarantined"}': "0+5x60"},
    ),
    Case(
        "DoesNotAddUp",
        {'stream_conservation_difference{sum="records"}': "-1x60"},
        {'stream_conservation_difference{sum="records"}': "0x60"},
    ),
    Case(
        "PartitionsNotMade",
        {'stream_partitions_ahead_days{table="message"}': "0x60"},
        {'stream_partitions_ahead_days{table="message"}': "3x60"},
    ),
    Case(
        "HousekeepingFails",
        {'stream_housekeeping_failures_total{task="retention"}': "0+1x60"},
        {'stream_housekeeping_failures_total{task="retention"}': "0x30 1x30"},
    ),
    Case(
        "DashboardSlow",
        {
            'dashboard_callback_seconds_bucket{callback="news",le="1.0"}': "0+1x80",
            'dashboard_callback_seconds_bucket{callback="news",le="5.0"}': "0+10x80",
            'dashboard_callback_seconds_bucket{callback="news",le="+Inf"}': "0+10x80",
        },
        {
            'dashboard_callback_seconds_bucket{callback="news",le="1.0"}': "0+10x80",
            'dashboard_callback_seconds_bucket{callback="news",le="5.0"}': "0+10x80",
            'dashboard_callback_seconds_bucket{callback="news",le="+Inf"}': "0+10x80",
        },
        "15m",
    ),
    Case(
        "DashboardQueriesFail",
        {"dashboard_query_failures_total": "0+1x60", "dashboard_query_seconds_count": "0+10x60"},
        {"dashboard_query_failures_total": "0+1x60", "dashboard_query_seconds_count": "0+1000x60"},
    ),
    Case(
        "DiskFills",
        {f"node_filesystem_avail_bytes{DISK}": "300-1x280", f"node_filesystem_size_bytes{DISK}": "1000x280"},
        {f"node_filesystem_avail_bytes{DISK}": "900-1x280", f"node_filesystem_size_bytes{DISK}": "1000x280"},
        "1h",
    ),
    Case(
        "DiskFills",
        {f"node_filesystem_avail_bytes{DISK}": "40x60", f"node_filesystem_size_bytes{DISK}": "1000x60"},
        {f"node_filesystem_avail_bytes{DISK}": "300x60", f"node_filesystem_size_bytes{DISK}": "1000x60"},
    ),
    Case(
        "CertificateEnds",
        {'certificate_not_after_timestamp_seconds{certificate="broker"}': f"{13 * DAY}x60"},
        {'certificate_not_after_timestamp_seconds{certificate="broker"}': f"{15 * DAY}x60"},
    ),
    Case(
        "EdgeCertificateEnds",
        {'probe_ssl_earliest_cert_expiry{job="edge-probe"}': f"{13 * DAY}x90"},
        {'probe_ssl_earliest_cert_expiry{job="edge-probe"}': f"{DAY // 2}x90"},
        "20m",
    ),
    Case(
        "EdgeCertificateEnds",
        {'probe_ssl_earliest_cert_expiry{job="edge-probe"}': "5000x90"},
        {'probe_ssl_earliest_cert_expiry{job="edge-probe"}': f"{60 * DAY}x90"},
        "20m",
    ),
    Case(
        "ClocksDiffer",
        {'node_time_seconds{instance="a"}': "3+15x90"},
        {'node_time_seconds{instance="a"}': "0.2+15x90", "node_timex_offset_seconds": "0.001x90"},
    ),
]


def firing(case, series, count):
    """A promtool test: so many alerts of the case are firing at its time."""
    return {
        "interval": "15s",
        "name": f"{case.alert} {'fires' if count else 'is quiet'}: {series}",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) > 0',
                "eval_time": case.at,
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
        ],
    }


def test_rules_fire_and_stay_quiet(tmp_path):
    """promtool evaluates the rules over each case's series, at which its alert fires or does not."""
    tests = [firing(case, case.fires, 1) for case in CASES] + [firing(case, case.quiet, 0) for case in CASES]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules) for rules in RULES], "tests": tests}))
    run("promtool", "test", "rules", file)


def test_every_alert_has_a_case():
    """No rule is without a test, no test without its rule. The watchdog fires always."""
    assert {case.alert for case in CASES} == ALERTS.keys() - {"Watchdog"}


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_tells_what_to_do(name):
    """Severity, summary, description, and a runbook that is a section of the page on operations."""
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "none")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    sections = re.findall(r"^#+ (.+)$", (REPOSITORY / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {section.lower().replace(" ", "-") for section in sections}


def test_configurations_are_valid():
    """promtool and amtool accept what is deployed."""
    run("promtool", "check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    run("amtool", "check-config", PROMETHEUS / "alertmanager.yml")


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "operator"), ("warning", "operator"), ("none", "watchdog")]
)
def test_alerts_reach_their_receiver(severity, receiver):
    """Whatever is to be acted on goes to the operator; the sign of life goes elsewhere."""
    file = PROMETHEUS / "alertmanager.yml"
    told = run("amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}", "alertname=X")
    assert told.strip() == receiver


def run(*command):
    result = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout

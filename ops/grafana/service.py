"""The dashboards of what stands beside the way of the data: PostgreSQL, the dashboard service, phones, resources."""

from typing import Final

from ops.grafana.model import Dashboard, Panel, stat
from ops.grafana.path import quantiles

_OURS: Final = 'datname!~"template.*|postgres"'
_DISKS: Final = 'fstype!~"tmpfs|ramfs|squashfs"'
_TRACE: Final = {
    "title": "Trace of this batch",
    "url": "/grafana/explore?schemaVersion=1&panes=%7B%22t%22:%7B%22datasource%22:%22tempo%22,%22queries%22:%5B%7B%22refId%22:%22A%22,%22queryType%22:%22traceql%22,%22query%22:%22${__value.raw}%22%7D%5D%7D%7D",
    "targetBlank": True,
}

_BATCHES: Final = """
SELECT committed_at, batch_id, topic, partition, offset_from, offset_until, records, messages, duplicates, quarantined,
       readings, trace_id
FROM batch WHERE $__timeFilter(committed_at) ORDER BY committed_at DESC LIMIT 50
"""
_QUARANTINE: Final = """
SELECT quarantined_at, reason, detail, device, session, topic, partition, "offset"
FROM quarantine WHERE $__timeFilter(quarantined_at) ORDER BY quarantined_at DESC LIMIT 50
"""
_PHONES: Final = """
SELECT coalesce(device.name, device.device) AS phone, max(session.last_seen) AS newest_message,
       extract(epoch FROM now() - max(session.last_seen)) AS seconds_ago, count(*) AS recordings,
       sum(messages)::bigint AS messages, sum(readings)::bigint AS readings, sum(duplicates)::bigint AS duplicates,
       sum(readings_quarantined)::bigint AS readings_quarantined
FROM session JOIN device USING (device_id) WHERE messages > 0
GROUP BY device.device_id ORDER BY newest_message DESC LIMIT 100
"""
_RATES: Final = """
SELECT date_bin('10 seconds', broker_time, timestamptz '2000-01-01') AS time,
       coalesce(device.name, left(device.device, 12)) AS metric, {what} AS value
FROM message JOIN session USING (session_id) JOIN device USING (device_id)
WHERE $__timeFilter(broker_time)
GROUP BY 1, device.device_id ORDER BY 1
"""
_DELAY: Final = "extract(epoch FROM avg(message.broker_time - message.last_time))"

POSTGRES: Final = Dashboard(
    name="postgresql",
    title="PostgreSQL",
    description="The database: is it there, who works on it, how large it is, what the stream has written last.",
    job="postgres",
    panels=[
        stat("PostgreSQL", "1: it answers. 0: it does not.", "min(pg_up)", "short", [], "PostgresDown"),
        stat("Size", "Of our database.", f"sum(pg_database_size_bytes{{{_OURS}}})", "bytes", [], "DiskFills"),
        stat("Connections", "Connections of all services.", f"sum(pg_stat_activity_count{{{_OURS}}})"),
        stat("Longest transaction", "A long one holds up the deletion of old rows, and others that wait for its locks.", f"max(pg_stat_activity_max_tx_duration{{{_OURS}}})", "s", [(30, "orange"), (300, "red")]),
        stat("Read from memory", "Share of the blocks that were in PostgreSQL's memory.", f"sum(rate(pg_stat_database_blks_hit{{{_OURS}}}[5m])) / (sum(rate(pg_stat_database_blks_hit{{{_OURS}}}[5m])) + sum(rate(pg_stat_database_blks_read{{{_OURS}}}[5m])))", "percentunit"),
        stat("Deadlocks", "In the last hour. The stream locks in one order, so there should be none.", f"sum(increase(pg_stat_database_deadlocks{{{_OURS}}}[1h]))", "short", [(1, "red")]),
        Panel(title="Transactions", description="Per second, committed and rolled back.", unit="cps", queries=[
            (f'sum(rate(pg_stat_database_xact_commit{{{_OURS},instance=~"$instance"}}[$__rate_interval]))', "committed"),
            (f'sum(rate(pg_stat_database_xact_rollback{{{_OURS},instance=~"$instance"}}[$__rate_interval]))', "rolled back"),
        ]),
        Panel(title="Rows written", description="Rows per second.", unit="cps", queries=[
            (f'sum(rate(pg_stat_database_tup_inserted{{{_OURS},instance=~"$instance"}}[$__rate_interval]))', "inserted"),
            (f'sum(rate(pg_stat_database_tup_updated{{{_OURS},instance=~"$instance"}}[$__rate_interval]))', "updated"),
            (f'sum(rate(pg_stat_database_tup_deleted{{{_OURS},instance=~"$instance"}}[$__rate_interval]))', "deleted"),
        ]),
        Panel(title="Connections by state", description="Many that are active or idle in a transaction for long are waiting for something.", stacked=True, queries=[(f'sum by (state) (pg_stat_activity_count{{{_OURS},instance=~"$instance"}}) > 0', "{{state}}")]),
        Panel(title="Size by table", description="With indexes and large values, all partitions together.", unit="bytes", stacked=True, alert="DiskFills", queries=[('max by (table) (sensor_table_size_bytes{instance=~"$instance"})', "{{table}}")]),
        Panel(title="Size by partition", description="The largest partitions. Retention drops the oldest as a whole.", unit="bytes", queries=[('topk(12, max by (partition) (sensor_partition_size_bytes{instance=~"$instance"}))', "{{partition}}")]),
        Panel(title="Locks", description="By mode. Exclusive ones that stay for minutes hold others up.", queries=[(f'sum by (mode) (pg_locks_count{{{_OURS},instance=~"$instance"}}) > 0', "{{mode}}")]),
        Panel(title="What the stream wrote last", description="A row for each partition of a micro-batch. A trace id leads to its trace.", queries=[(_BATCHES, "")], kind="table", sql=True, zero=False, width=24, height=9, extra={"overrides": [{"matcher": {"id": "byName", "options": "trace_id"}, "properties": [{"id": "links", "value": [_TRACE]}]}]}),
        Panel(title="Newest in quarantine", description="What could not be stored, and why. `python -m services.stream.quarantine` shows and retries it.", queries=[(_QUARANTINE, "")], kind="table", sql=True, zero=False, width=24, alert="QuarantineRate"),
    ],
)  # fmt: skip

DASHBOARD: Final = Dashboard(
    name="dashboard-service",
    title="Dashboard service",
    description="The web pages: who looks, how long they wait, and for what.",
    job="dashboard",
    panels=[
        stat("Viewers", "People who were seen in the last minute.", "sum(dashboard_viewers)"),
        stat("Slowest answer", "19 of 20 answers are quicker than this, for the slowest callback.", "max(histogram_quantile(0.95, sum by (le, callback) (rate(dashboard_callback_seconds_bucket[5m]))))", "s", [(0.5, "orange"), (2, "red")], "DashboardSlow"),
        stat("Slowest query", "19 of 20 queries are quicker than this, for the slowest one.", "max(histogram_quantile(0.95, sum by (le, query) (rate(dashboard_query_seconds_bucket[5m]))))", "s", [(0.5, "orange"), (2, "red")], "DashboardSlow"),
        stat("Queries failed", "Per second.", "sum(rate(dashboard_query_failures_total[5m])) or vector(0)", "cps", [(0.1, "red")], "DashboardQueriesFail"),
        stat("Sessions followed", "Recordings whose newest messages are held for viewers.", "sum(dashboard_sessions_followed)"),
        stat("Memory", "Of the process.", 'sum(process_resident_memory_bytes{job="dashboard"})', "bytes"),
        Panel(title="Time of a callback", description="What a page waits for, by name: 95 %.", unit="s", steps=[(2, "red")], width=12, alert="DashboardSlow", queries=quantiles("dashboard_callback_seconds", 'instance=~"$instance"', "callback", (0.95,))),
        Panel(title="Time of a query", description="What PostgreSQL takes, by name: 95 %.", unit="s", width=12, alert="DashboardSlow", queries=quantiles("dashboard_query_seconds", 'instance=~"$instance"', "query", (0.95,))),
        Panel(title="Callbacks", description="Per second, by name.", unit="cps", queries=[('sum by (callback) (rate(dashboard_callback_seconds_count{instance=~"$instance"}[$__rate_interval]))', "{{callback}}")]),
        Panel(title="Queries", description="Per second, by name.", unit="cps", queries=[('sum by (query) (rate(dashboard_query_seconds_count{instance=~"$instance"}[$__rate_interval]))', "{{query}}")]),
        Panel(title="Query failures", description="Queries per second that PostgreSQL did not answer, by name.", unit="cps", alert="DashboardQueriesFail", queries=[('sum by (query) (rate(dashboard_query_failures_total{instance=~"$instance"}[$__rate_interval]))', "{{query}}")]),
        Panel(title="Sign-ins", description="Per minute, by outcome. Many wrong ones: somebody guesses; they are throttled.", queries=[('sum by (outcome) (60 * rate(dashboard_sign_ins_total{instance=~"$instance"}[$__rate_interval]))', "{{outcome}}")]),
        Panel(title="Age of the newest reading shown", description="How old the newest reading of a running recording is when a page is told of it, by the phone's clock. It holds the phone's batch period, the network and the pipeline.", unit="s", queries=quantiles("dashboard_newest_reading_age_seconds", 'instance=~"$instance"')),
        Panel(title="Size of an answer", description="Bytes that a page gets when it asks what is new.", unit="bytes", queries=quantiles("dashboard_update_bytes", 'instance=~"$instance"')),
        Panel(title="Refused", description="Requests per second that were refused, by reason.", unit="cps", queries=[('sum by (reason) (rate(dashboard_requests_refused_total{instance=~"$instance"}[$__rate_interval]))', "{{reason}}")]),
    ],
)  # fmt: skip

PHONES: Final = Dashboard(
    name="phones",
    title="Phones",
    description="Each phone: when it sent last, how much, how late. From PostgreSQL, for no metric knows a phone.",
    panels=[
        stat("Sending", "Phones whose newest message came within the last minute.", "max(sensor_phones_sending)", alert="NoData"),
        stat("Recording", "Phones whose newest message came within the last ten minutes.", "max(sensor_phones_recording)", alert="NoData"),
        stat("Known", "Phones that have ever sent something.", "max(sensor_phones_known)"),
        Panel(title="Phones", description="The hundred that sent last. Seconds ago: since the broker got their newest message.", queries=[(_PHONES, "")], kind="table", sql=True, zero=False, width=24, height=10),
        Panel(title="Messages by phone", description="Messages in each 10 s, by broker time.", queries=[(_RATES.format(what="count(*)"), "")], sql=True, width=12, height=9),
        Panel(title="Readings by phone", description="Readings in each 10 s, by broker time.", queries=[(_RATES.format(what="sum(message.readings)"), "")], sql=True, width=12, height=9),
        Panel(title="From newest reading to Kafka", description="Mean age of a message's newest reading when Kafka got it, by the phone's clock. Constant and large: that clock is wrong. Growing: the phone's connection is slow.", unit="s", zero=False, queries=[(_RATES.format(what=_DELAY), "")], sql=True, width=24, height=9),
    ],
    range="now-15m",
)  # fmt: skip

RESOURCES: Final = Dashboard(
    name="resources",
    title="Resources and certificates",
    description="Machines, disks, clocks, certificates, and what the processes take.",
    job="node",
    panels=[
        stat("CPU", "Share of all cores in use.", '1 - avg(rate(node_cpu_seconds_total{mode="idle",instance=~"$instance"}[1m]))', "percentunit", [(0.8, "orange"), (0.95, "red")]),
        stat("Memory", "Share in use.", 'max(1 - node_memory_MemAvailable_bytes{instance=~"$instance"} / node_memory_MemTotal_bytes)', "percentunit", [(0.85, "orange"), (0.95, "red")]),
        stat("Disk free", "The fullest disk.", f'min(node_filesystem_avail_bytes{{{_DISKS},instance=~"$instance"}} / node_filesystem_size_bytes)', "percentunit", [], "DiskFills"),
        stat("First certificate ends in", "Of the internal certificates.", "min(certificate_not_after_timestamp_seconds) - time()", "s", [], "CertificateEnds"),
        stat("Edge's certificate ends in", "Of the one that phones see. The edge renews it by itself.", 'min(probe_ssl_earliest_cert_expiry{job="edge-probe"}) - time()', "s", [], "CertificateEnds"),
        stat("Clock", "Largest difference between a machine's clock and Prometheus's.", "max(abs(node_time_seconds - timestamp(node_time_seconds)))", "s", [(0.5, "orange"), (1, "red")], "ClocksDiffer"),
        Panel(title="CPU by use", description="Cores in use.", stacked=True, queries=[('sum by (mode) (rate(node_cpu_seconds_total{mode!="idle",instance=~"$instance"}[$__rate_interval]))', "{{mode}}")]),
        Panel(title="Memory", description="In use and there.", unit="bytes", queries=[
            ('sum(node_memory_MemTotal_bytes{instance=~"$instance"} - node_memory_MemAvailable_bytes{instance=~"$instance"})', "in use"),
            ('sum(node_memory_MemTotal_bytes{instance=~"$instance"})', "there"),
        ]),
        Panel(title="Disk free", description="Bytes left, by where the disk is mounted.", unit="bytes", alert="DiskFills", queries=[(f'min by (mountpoint) (node_filesystem_avail_bytes{{{_DISKS},instance=~"$instance"}})', "{{mountpoint}}")]),
        Panel(title="Disk in 4 hours", description="Bytes left in four hours at the rate of the last hour.", unit="bytes", zero=False, steps=[], alert="DiskFills", queries=[(f'min by (mountpoint) (predict_linear(node_filesystem_avail_bytes{{{_DISKS},instance=~"$instance"}}[1h], 14400))', "{{mountpoint}}")]),
        Panel(title="Disk traffic", description="Bytes per second.", unit="Bps", queries=[
            ('sum(rate(node_disk_read_bytes_total{instance=~"$instance"}[$__rate_interval]))', "read"),
            ('sum(rate(node_disk_written_bytes_total{instance=~"$instance"}[$__rate_interval]))', "written"),
        ]),
        Panel(title="Network", description="Bytes per second.", unit="Bps", queries=[
            ('sum(rate(node_network_receive_bytes_total{instance=~"$instance"}[$__rate_interval]))', "received"),
            ('sum(rate(node_network_transmit_bytes_total{instance=~"$instance"}[$__rate_interval]))', "sent"),
        ]),
        Panel(title="Certificates", description="Seconds until each ends. Renewal is due at 14 days.", unit="s", kind="timeseries", steps=[], alert="CertificateEnds", queries=[("min by (certificate) (certificate_not_after_timestamp_seconds) - time()", "{{certificate}}")]),
        Panel(title="Memory by part", description="Resident memory of those that tell it.", unit="bytes", stacked=True, queries=[("sum by (job) (process_resident_memory_bytes)", "{{job}}")]),
        Panel(title="CPU by part", description="Cores in use by those that tell it.", stacked=True, queries=[("sum by (job) (rate(process_cpu_seconds_total[$__rate_interval]))", "{{job}}")]),
    ],
)  # fmt: skip

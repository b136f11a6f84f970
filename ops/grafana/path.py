"""The dashboards of the way of the data: Pipeline, Ingest, Kafka, Stream."""

from typing import Final

from ops.grafana.model import Dashboard, Panel, stat

_INGEST: Final = 'instance=~"$instance"'
_REFUSED_BY_US: Final = 'code=~"tokens_not_loaded|overloaded|queue_full|not_acknowledged|unexpected"'


def quantiles(
    metric: str, labels: str = "", by: str = "", shares: tuple[float, ...] = (0.5, 0.95, 0.99)
) -> list[tuple[str, str]]:
    """The queries of a histogram's quantiles, for each value of the label `by` if there is one."""
    legend = f" {{{{{by}}}}}" if by else ""
    group = f"le, {by}" if by else "le"
    return [
        (
            f"histogram_quantile({share}, sum by ({group}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))",
            f"{share * 100:g} %{legend}",
        )
        for share in shares
    ]


PIPELINE: Final = Dashboard(
    name="pipeline",
    title="Pipeline",
    description="Is data flowing, how fresh is it, what is lost? From left to right as the data goes: phones, ingest, Kafka, stream, PostgreSQL.",
    panels=[
        stat("Phones sending", "Phones whose newest message came within the last minute.", "max(sensor_phones_sending)", alert="NoData"),
        stat("Messages accepted", "Messages per second that Kafka acknowledged and ingest answered with 200.", "sum(rate(ingest_messages_accepted_total[1m]))", "cps"),
        stat("Messages refused", "Share of the messages that got a 503 over five minutes. Phones send them again.", "ingest:unavailable:ratio5m or vector(0)", "percentunit", [(0.001, "orange"), (0.01, "red")], "IngestUnavailable"),
        stat("Waiting in Kafka", "Messages that are in Kafka and not in PostgreSQL yet.", "sum(stream_lag_records)", "short", [(500, "orange"), (5000, "red")], "StreamLagGrows"),
        stat("Kafka to PostgreSQL", "99 of 100 messages are committed within this time after Kafka had them. Server clocks only.", "histogram_quantile(0.99, sum by (le) (rate(stream_broker_to_commit_seconds_bucket[1m])))", "s", [(2, "orange"), (5, "red")], "DataNotFresh"),
        stat("Reading to PostgreSQL", "99 of 100 messages are committed within this time after their newest reading, by the phone's clock.", "histogram_quantile(0.99, sum by (le) (rate(stream_reading_to_commit_seconds_bucket[1m])))", "s", [(5, "orange"), (30, "red")], "DataNotFresh"),
        stat("Readings stored", "Readings per second that were committed.", 'sum(rate(stream_readings_total{outcome="stored"}[1m]))', "cps"),
        stat("Quarantined", "Share of the records that cannot be stored, over ten minutes. They are kept with the reason.", 'sum(rate(stream_records_total{outcome="quarantined"}[10m])) / (sum(rate(stream_records_total[10m])) > 0) or vector(0)', "percentunit", [(0.0001, "orange"), (0.01, "red")], "QuarantineRate"),
        stat("Does it add up?", "Largest difference between what was read and what was stored, a duplicate or quarantined. Anything but 0 is a defect.", "max(abs(stream_conservation_difference))", "short", [(1, "red")], "DoesNotAddUp"),
        stat("Alerts", "Alerts that fire now.", 'count(ALERTS{alertstate="firing",severity!="none"}) or vector(0)', "short", [(1, "orange"), (3, "red")]),
        stat("Disk free", "The fullest disk.", 'min(node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs"} / node_filesystem_size_bytes)', "percentunit", [], "DiskFills"),
        stat("Certificates", "Until the first certificate ends.", "min(certificate_not_after_timestamp_seconds) - time()", "s", [], "CertificateEnds"),
        Panel(title="In and out", description="Messages per second at each step of the way. The lines lie on each other while all is well.", unit="cps", width=12, queries=[
            ("sum(rate(ingest_messages_accepted_total[$__rate_interval]))", "accepted by ingest"),
            ('sum(rate(kafka_topic_records_in_total{topic="sensor-messages"}[$__rate_interval]))', "written to Kafka"),
            ('sum(rate(stream_records_total[$__rate_interval]))', "read and stored by the stream"),
        ]),
        Panel(title="Kafka to PostgreSQL", description="Time from a message's broker time to its commit. The service level: 99 % within 5 s.", unit="s", steps=[(5, "red")], width=12, alert="DataNotFresh", queries=quantiles("stream_broker_to_commit_seconds")),
        Panel(title="Refusals", description="Requests per second that were not answered with 200, by code. 503s are ours, the others the sender's.", unit="cps", stacked=True, alert="IngestUnavailable", queries=[("sum by (code) (rate(ingest_errors_total[$__rate_interval])) > 0", "{{code}}")]),
        Panel(title="What became of the records", description="Records per second by outcome. Duplicates are what phones or a restart sent twice; they are stored once.", unit="cps", stacked=True, alert="QuarantineRate", queries=[("sum by (outcome) (rate(stream_records_total[$__rate_interval]))", "{{outcome}}")]),
        Panel(title="Waiting in Kafka", description="Messages that are in Kafka and not stored yet, by partition.", alert="StreamLagGrows", queries=[("sum by (partition) (stream_lag_records)", "partition {{partition}}")]),
        Panel(title="Failures of this period, ingest", description="Share of refused messages over several windows. Above 0.1 % for long, the month's budget is used up.", unit="percentunit", steps=[(0.001, "red")], alert="IngestUnavailable", queries=[("ingest:unavailable:ratio5m", "5 min"), ("ingest:unavailable:ratio1h", "1 h"), ("ingest:unavailable:ratio6h", "6 h"), ("ingest:unavailable:ratio3d", "3 d")]),
        Panel(title="Failures of this period, freshness", description="Share of messages later than 5 s over several windows. Above 1 % for long, the month's budget is used up.", unit="percentunit", steps=[(0.01, "red")], alert="DataNotFresh", queries=[("stream:stale:ratio5m", "5 min"), ("stream:stale:ratio1h", "1 h"), ("stream:stale:ratio6h", "6 h"), ("stream:stale:ratio3d", "3 d")]),
        Panel(title="Parts", description="1: its metrics answer. 0: it is down.", alert="TargetMissing", queries=[("min by (job) (up)", "{{job}}")]),
    ],
)  # fmt: skip

INGEST: Final = Dashboard(
    name="ingest",
    title="Ingest",
    description="The HTTP ingest: what comes, what is answered, and how long it takes. Its workers count together.",
    job="ingest",
    panels=[
        stat("Accepted", "Messages per second that were answered with 200.", f"sum(rate(ingest_messages_accepted_total{{{_INGEST}}}[1m]))", "cps"),
        stat("Readings", "Readings per second of the accepted messages.", f"sum(rate(ingest_readings_accepted_total{{{_INGEST}}}[1m]))", "cps"),
        stat("Refused with 503", "Share of the messages over five minutes.", "ingest:unavailable:ratio5m or vector(0)", "percentunit", [(0.001, "orange"), (0.01, "red")], "IngestUnavailable"),
        stat("Time of a request", "99 of 100 requests are answered within this time after their last byte.", f"histogram_quantile(0.99, sum by (le) (rate(ingest_request_seconds_bucket{{{_INGEST}}}[5m])))", "s", [(0.5, "orange"), (2, "red")]),
        stat("Age of the tokens", "Since the worker with the oldest tokens has read them.", f"time() - min(ingest_tokens_read_timestamp_seconds{{{_INGEST}}})", "s", [(20, "orange"), (60, "red")], "TokensOld"),
        stat("Connections", "Open connections of phones or of the edge.", f"sum(ingest_connections{{{_INGEST}}})"),
        Panel(title="Requests", description="Messages accepted, test pushes and refusals per second.", unit="cps", queries=[
            (f"sum(rate(ingest_messages_accepted_total{{{_INGEST}}}[$__rate_interval]))", "accepted"),
            (f"sum(rate(ingest_test_pushes_total{{{_INGEST}}}[$__rate_interval]))", "test pushes"),
            (f"sum(rate(ingest_errors_total{{{_INGEST}}}[$__rate_interval]))", "refused"),
        ]),
        Panel(title="Refusals by code", description="503s are ours: not_acknowledged (Kafka), queue_full, overloaded, tokens_not_loaded, unexpected. The others are the sender's; too_fast is the limit for each device.", unit="cps", stacked=True, alert="IngestUnavailable", queries=[(f"sum by (code) (rate(ingest_errors_total{{{_INGEST}}}[$__rate_interval])) > 0", "{{code}}")]),
        Panel(title="Refused by us", description="503s per second by code.", unit="cps", stacked=True, alert="IngestUnavailable", queries=[(f"sum by (code) (rate(ingest_errors_total{{{_REFUSED_BY_US},{_INGEST}}}[$__rate_interval]))", "{{code}}")]),
        Panel(title="Time of a request", description="From a message's last byte to its answer. Most of it is the wait for Kafka.", unit="s", queries=quantiles("ingest_request_seconds", _INGEST)),
        Panel(title="Wait for Kafka", description="From handing a record to the producer to its acknowledgement. After 5 s the phone gets a 503.", unit="s", steps=[(5, "red")], queries=quantiles("ingest_acknowledge_seconds", _INGEST)),
        Panel(title="In flight", description="Messages that are being handled.", queries=[(f"sum by (instance) (ingest_requests_in_flight{{{_INGEST}}})", "{{instance}}")]),
        Panel(title="Waiting for Kafka", description="Records that the producers hold until Kafka acknowledges them. At INGEST_MAX_QUEUED_RECORDS phones get queue_full.", queries=[(f"sum by (instance) (ingest_queued_records{{{_INGEST}}})", "{{instance}}")]),
        Panel(title="Size of a message", description="Bytes of the records of accepted messages.", unit="bytes", queries=quantiles("ingest_message_bytes", _INGEST)),
        Panel(title="Kafka client", description="Faults that the client reported, and producers replaced after one that was fatal.", unit="cps", queries=[
            (f"sum(rate(ingest_kafka_errors_total{{{_INGEST}}}[$__rate_interval]))", "faults"),
            (f"sum(rate(ingest_producers_replaced_total{{{_INGEST}}}[$__rate_interval]))", "producers replaced"),
        ]),
        Panel(title="Connections", description="Open connections of each container.", queries=[(f"sum by (instance) (ingest_connections{{{_INGEST}}})", "{{instance}}")]),
    ],
)  # fmt: skip

KAFKA: Final = Dashboard(
    name="kafka",
    title="Kafka",
    description="The broker: what is written and read, how long it takes, how much it keeps.",
    job="kafka",
    panels=[
        stat("Brokers", "Brokers whose metrics answer.", 'sum(up{job="kafka"})', alert="KafkaDown"),
        stat("Offline partitions", "Partitions that nobody can write or read.", "sum(kafka_offline_partitions)", "short", [(1, "red")], "KafkaDown"),
        stat("Records in", "Records per second written to the topic of the messages.", 'sum(rate(kafka_topic_records_in_total{topic="sensor-messages"}[1m]))', "cps"),
        stat("Time to write", "99 of 100 requests to write are done within this time, in the broker.", 'max(kafka_request_milliseconds{request="Produce",percentile="99"}) / 1000', "s", [(0.5, "orange"), (2, "red")]),
        stat("Threads idle", "Share of the time that the request threads wait for work.", "min(kafka_request_handlers_idle_ratio)", "percentunit"),
        stat("Size", "All logs together.", "sum(kafka_partition_size_bytes)", "bytes", [], "DiskFills"),
        Panel(title="Records in", description="Records per second by topic.", unit="cps", queries=[('sum by (topic) (rate(kafka_topic_records_in_total{instance=~"$instance"}[$__rate_interval]))', "{{topic}}")]),
        Panel(title="Bytes", description="Bytes per second written and read, compressed.", unit="Bps", queries=[
            ('sum(rate(kafka_topic_bytes_in_total{instance=~"$instance"}[$__rate_interval]))', "written"),
            ('sum(rate(kafka_topic_bytes_out_total{instance=~"$instance"}[$__rate_interval]))', "read"),
        ]),
        Panel(title="Time of a request", description="99th percentile in the broker. A fetch waits for data, so half a second is usual there.", unit="ms", queries=[('max by (request) (kafka_request_milliseconds{percentile="99",instance=~"$instance"})', "{{request}}")]),
        Panel(title="Size by topic", description="Bytes on disk. Retention deletes what is older than seven days or beyond the size limit.", unit="bytes", stacked=True, alert="DiskFills", queries=[('sum by (topic) (kafka_partition_size_bytes{instance=~"$instance"})', "{{topic}}")]),
        Panel(title="Records kept", description="Records in each partition of the messages: newest offset less the oldest.", queries=[('kafka_partition_end_offset{topic="sensor-messages",instance=~"$instance"} - kafka_partition_start_offset{topic="sensor-messages",instance=~"$instance"}', "partition {{partition}}")]),
        Panel(title="Failures", description="Requests to write that failed, connections refused for their certificate, partitions without all copies.", queries=[
            ('sum(rate(kafka_failed_produce_requests_total{instance=~"$instance"}[$__rate_interval]))', "writes failed per s"),
            ('sum(rate(kafka_failed_authentications_total{instance=~"$instance"}[$__rate_interval]))', "certificates refused per s"),
            ('sum(kafka_under_replicated_partitions{instance=~"$instance"})', "partitions with too few copies"),
        ]),
        Panel(title="Connections", description="Open connections by listener.", queries=[('sum by (listener) (kafka_connections{instance=~"$instance"})', "{{listener}}")]),
        Panel(title="Memory of the JVM", description="Heap in use and its limit.", unit="bytes", queries=[
            ('sum(jvm_memory_used_bytes{job="kafka",area="heap",instance=~"$instance"})', "used"),
            ('sum(jvm_memory_max_bytes{job="kafka",area="heap",instance=~"$instance"})', "limit"),
        ]),
        Panel(title="Garbage collection", description="Share of the time that the JVM stands still for it.", unit="percentunit", queries=[('sum(rate(jvm_gc_collection_seconds_sum{job="kafka",instance=~"$instance"}[$__rate_interval]))', "collecting")]),
    ],
)  # fmt: skip

STREAM: Final = Dashboard(
    name="stream",
    title="Stream",
    description="The Spark stream: from Kafka to PostgreSQL, in micro-batches whose partitions are stored in one transaction each.",
    job="stream",
    panels=[
        stat("Records stored", "Records per second that were new and are stored.", 'sum(rate(stream_records_total{outcome="stored"}[1m]))', "cps"),
        stat("Readings stored", "Readings per second.", 'sum(rate(stream_readings_total{outcome="stored"}[1m]))', "cps"),
        stat("Lag", "Messages that wait in Kafka.", "sum(stream_lag_records)", "short", [(500, "orange"), (5000, "red")], "StreamLagGrows"),
        stat("Behind", "Age of the newest stored record while others wait; 0 without lag.", "max(stream_lag_seconds)", "s", [(5, "orange"), (30, "red")], "StreamStuck"),
        stat("Since the last commit", "A stream without new messages commits nothing.", "time() - max(stream_last_commit_timestamp_seconds)", "s", [], "StreamStuck"),
        stat("Does it add up?", "Largest difference of the sums. Anything but 0 is a defect.", "max(abs(stream_conservation_difference))", "short", [(1, "red")], "DoesNotAddUp"),
        Panel(title="Kafka to PostgreSQL", description="From a message's broker time to its commit. Server clocks only.", unit="s", steps=[(5, "red")], alert="DataNotFresh", queries=quantiles("stream_broker_to_commit_seconds")),
        Panel(title="Reading to PostgreSQL", description="From a message's newest reading, by the phone's clock, to its commit: what a viewer waits for, and how wrong clocks are.", unit="s", queries=quantiles("stream_reading_to_commit_seconds")),
        Panel(title="Time of a micro-batch", description="From plan to receipts.", unit="s", queries=quantiles("stream_batch_seconds")),
        Panel(title="Seconds by step", description="Mean time of each step of a task: read (Kafka), decode, then store, which is lock, aggregate, write and commit.", unit="s", alert="DataNotFresh", queries=[("sum by (step) (rate(stream_step_seconds_sum[$__rate_interval])) / sum by (step) (rate(stream_step_seconds_count[$__rate_interval]))", "{{step}}")]),
        Panel(title="Spark's own time", description="Of the last micro-batch, by Spark's phases: addBatch holds the tasks, the rest is what Spark takes for itself.", unit="s", stacked=True, queries=[('stream_spark_phase_seconds{phase!="triggerExecution"}', "{{phase}}")]),
        Panel(title="Records by outcome", description="Records per second.", unit="cps", stacked=True, queries=[("sum by (outcome) (rate(stream_records_total[$__rate_interval]))", "{{outcome}}")]),
        Panel(title="Readings by outcome", description="Readings per second.", unit="cps", stacked=True, queries=[("sum by (outcome) (rate(stream_readings_total[$__rate_interval]))", "{{outcome}}")]),
        Panel(title="Lag", description="Messages that wait in Kafka, by partition.", alert="StreamLagGrows", queries=[("sum by (partition) (stream_lag_records)", "partition {{partition}}")]),
        Panel(title="Quarantined by reason", description="Records and readings per second that cannot be stored. They are kept whole.", unit="cps", stacked=True, alert="QuarantineRate", queries=[("sum by (reason) (rate(stream_quarantined_total[$__rate_interval]))", "{{reason}}")]),
        Panel(title="Late, replayed, tried again", description="Late messages are stored like others. Replays follow a restart and store nothing twice. PostgreSQL away makes tries.", unit="cps", queries=[
            ("sum(rate(stream_messages_late_total[$__rate_interval]))", "messages late"),
            ("sum(rate(stream_partitions_replayed_total[$__rate_interval]))", "partitions replayed"),
            ("sum(rate(stream_store_retries_total[$__rate_interval]))", "transactions tried again"),
        ]),
        Panel(title="Partitions ahead", description="Days for which the tables have partitions already.", unit="d", alert="PartitionsNotMade", queries=[("min by (table) (stream_partitions_ahead_days)", "{{table}}")]),
        Panel(title="Differences", description="What was read less what is stored, a duplicate or quarantined, by sum.", zero=False, alert="DoesNotAddUp", queries=[("max by (sum) (stream_conservation_difference)", "{{sum}}")]),
        Panel(title="Housekeeping failures", description="Runs of retention, partitions, sums and sizes that failed.", alert="HousekeepingFails", queries=[("sum by (task) (increase(stream_housekeeping_failures_total[$__rate_interval]))", "{{task}}")]),
        Panel(title="Starts", description="Starts of the stream within 15 minutes.", alert="StreamRestarts", queries=[('changes(process_start_time_seconds{job="stream",instance=~"$instance"}[15m])', "{{instance}}")]),
        Panel(title="Memory of Spark's JVM", description="Heap in use and its limit.", unit="bytes", queries=[
            ('sum(jvm_memory_used_bytes{job="spark",area="heap"})', "used"),
            ('sum(jvm_memory_max_bytes{job="spark",area="heap"})', "limit"),
        ]),
        Panel(title="Garbage collection", description="Share of the time that Spark's JVM stands still for it.", unit="percentunit", queries=[('sum(rate(jvm_gc_collection_seconds_sum{job="spark"}[$__rate_interval]))', "collecting")]),
    ],
)  # fmt: skip

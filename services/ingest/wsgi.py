"""What gunicorn loads in each worker, after the fork: reads the settings and connects to Kafka and PostgreSQL."""

import logging
import os
import sys
from functools import partial

from confluent_kafka import KafkaException

from services.common.database import DatabaseSettings, connect
from services.common.settings import load
from services.common.telemetry import Tracing
from services.ingest.admission import Admission
from services.ingest.app import Service
from services.ingest.producer import KafkaPublisher
from services.ingest.rate import RateLimit
from services.ingest.settings import IngestSettings
from services.ingest.token_cache import TokenCache
from services.ingest.token_sync import TokenSync

_STATEMENT_TIMEOUT_S = 5
_FIRST_READING_WITHIN_S = 2
_CANNOT_START = 4  # tells gunicorn that another worker would fail in the same way

settings = load(IngestSettings, os.environ)
try:
    publisher = KafkaPublisher(settings)
except KafkaException as error:
    logging.getLogger("services.ingest").critical("kafka settings cannot be used: %s", error.args[0].str())
    sys.exit(_CANNOT_START)
tokens = TokenCache()
connect_to_tokens = partial(connect, load(DatabaseSettings, os.environ), "ingest", _STATEMENT_TIMEOUT_S)
token_sync = TokenSync(tokens, connect_to_tokens, settings.token_refresh_s)
token_sync.await_attempt(_FIRST_READING_WITHIN_S)
admission = Admission(settings, tokens, RateLimit(settings.rate, settings.burst))
tracing = Tracing("ingest")
application = Service(settings, admission, publisher, tracing)

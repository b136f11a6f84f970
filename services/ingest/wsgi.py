"""What gunicorn loads in each worker, after the fork: reads the settings and connects to Kafka."""

import logging
import os
import sys

from confluent_kafka import KafkaException

from services.common.settings import load
from services.ingest.app import make_app
from services.ingest.producer import KafkaPublisher
from services.ingest.settings import IngestSettings

_CANNOT_START = 4  # tells gunicorn that another worker would fail in the same way

settings = load(IngestSettings, os.environ)
try:
    publisher = KafkaPublisher(settings)
except KafkaException as error:
    logging.getLogger("services.ingest").critical("kafka settings cannot be used: %s", error.args[0].str())
    sys.exit(_CANNOT_START)
application = make_app(settings, publisher)

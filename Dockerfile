# The images of our own services: one target each. The base images stand in .env_config and come in as arguments.
ARG PYTHON_IMAGE
ARG MAVEN_IMAGE
ARG KAFKA_IMAGE
ARG CADDY_IMAGE

# --- jars: fetched once, accepted only as the lists beside the pom.xml say ---
FROM ${MAVEN_IMAGE} AS maven
WORKDIR /build
ENV GOAL=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies

FROM maven AS spark-jars
COPY ops/spark/pom.xml ops/spark/jars.sha256 ./
RUN mvn -q -B -ntp -DincludeScope=runtime -DoutputDirectory=/jars "$GOAL" \
    && cd /jars && sha256sum --quiet -c /build/jars.sha256 && [ "$(ls | wc -l)" -eq "$(wc -l < /build/jars.sha256)" ]

FROM maven AS kafka-exporter
COPY ops/kafka/exporter/pom.xml ops/kafka/exporter/jars.sha256 ./
RUN mvn -q -B -ntp -DincludeScope=runtime -DoutputDirectory=/jars "$GOAL" \
    && cd /jars && sha256sum --quiet -c /build/jars.sha256 && mv jmx_prometheus_javaagent-*.jar exporter.jar

# --- Python packages: exactly the locked ones, with their hashes ---
FROM ${PYTHON_IMAGE} AS packages
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore

FROM packages AS ingest-packages
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=services/ingest/requirements.lock,target=/lock \
    pip install -q --require-hashes -r /lock

FROM packages AS dashboard-packages
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=services/dashboard/requirements.lock,target=/lock \
    pip install -q --require-hashes -r /lock

FROM packages AS simulator-packages
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=services/simulator/requirements.lock,target=/lock \
    pip install -q --require-hashes -r /lock

FROM packages AS migrate-packages
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=ops/postgres/requirements.lock,target=/lock \
    pip install -q --require-hashes -r /lock

# What is of no use to a driver or an executor of Python code leaves a third of Spark.
FROM packages AS stream-packages
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=services/stream/requirements.lock,target=/lock \
    pip install -q --require-hashes -r /lock \
    && cd /opt/venv/lib/python3*/site-packages/pyspark \
    && rm -rf examples data R licenses sbin kubernetes pandas/tests \
    && rm -f jars/kubernetes-* jars/hive-* jars/spark-hive* jars/spark-kubernetes* jars/spark-mllib_* jars/breeze*

# --- what all our services have in common ---
FROM ${PYTHON_IMAGE} AS service
ARG VERSION=development
LABEL org.opencontainers.image.title="Sensor Stream" org.opencontainers.image.version=${VERSION}
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY --chmod=755 ops/images/answers /usr/local/bin/
COPY services/__init__.py services/
COPY services/common services/common

FROM service AS secrets
COPY ops/__init__.py ops/
COPY ops/secrets ops/secrets
COPY --chmod=755 ops/kafka-ssl/make-certificates ops/kafka-ssl/
ENTRYPOINT ["python", "-m", "ops.secrets"]

FROM service AS migrate
COPY --from=migrate-packages /opt/venv /opt/venv
COPY ops/postgres ops/postgres
USER 10005:10005
CMD ["python", "-m", "alembic", "-c", "ops/postgres/alembic.ini", "upgrade", "head"]

FROM service AS ingest
COPY --from=ingest-packages /opt/venv /opt/venv
COPY services/ingest services/ingest
RUN python -m compileall -q /app
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s CMD ["answers", "5000", "/readyz"]
CMD ["python", "-m", "gunicorn", "--config", "python:services.ingest.gunicorn_conf", "services.ingest.wsgi:application"]

FROM ingest AS topics
COPY ops/__init__.py ops/
COPY ops/kafka/__init__.py ops/kafka/topics.py ops/kafka/
USER 10005:10005
HEALTHCHECK NONE
CMD ["python", "-m", "ops.kafka.topics"]

FROM service AS dashboard
COPY --from=dashboard-packages /opt/venv /opt/venv
COPY services/dashboard services/dashboard
RUN python -m compileall -q /app && mkdir /exports && chown 10003:10003 /exports
USER 10003:10003
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s CMD ["answers", "8050", "/readyz"]
CMD ["python", "-m", "gunicorn", "--config", "python:services.dashboard.gunicorn_conf", "services.dashboard.wsgi:application"]

FROM service AS simulator
COPY --from=simulator-packages /opt/venv /opt/venv
COPY services/simulator services/simulator
RUN python -m compileall -q /app
USER 10004:10004
ENTRYPOINT ["python", "-m", "services.simulator"]

# Spark's master, its workers and the stream's driver: the same Python, jars and contract in all three.
FROM service AS stream
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update \
    && apt-get install -y -q --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10002 --user-group --no-create-home stream
COPY --from=stream-packages /opt/venv /opt/venv
COPY --from=spark-jars /jars /opt/spark-jars
COPY --from=kafka-exporter /jars/exporter.jar /opt/
COPY services/stream services/stream
COPY ops/__init__.py ops/
COPY ops/spark ops/spark
RUN python -m compileall -q /app && mkdir /checkpoint && chown 10002:10002 /checkpoint
ENV SPARK_JARS_DIR=/opt/spark-jars SPARK_CONF_DIR=/tmp/spark SPARK_LOCAL_DIRS=/tmp SPARK_WORKER_DIR=/tmp/work
USER 10002:10002
ENTRYPOINT ["python", "-m", "ops.spark.start"]

# The broker with its configuration and what shows its figures.
FROM ${KAFKA_IMAGE} AS kafka
COPY --from=kafka-exporter /jars/exporter.jar /opt/sensor-stream/
COPY ops/kafka/server.properties ops/kafka/production.properties ops/kafka/jmx-exporter.yml /opt/sensor-stream/
HEALTHCHECK --interval=5s --timeout=5s --start-period=180s CMD ["bash", "-c", "< /dev/tcp/127.0.0.1/9092"]
CMD ["bash", "-c", "cd /opt/sensor-stream && cat server.properties production.properties > /mnt/shared/config/server.properties && cat jmx-exporter.yml /run/secrets/jvm-access.yml > /tmp/jmx-exporter.yml && exec /etc/kafka/docker/run"]

FROM ${CADDY_IMAGE} AS edge
COPY ops/edge/Caddyfile /etc/caddy/Caddyfile
COPY docs/*.md /srv/docs/
RUN mkdir -p /srv/edge && chown 10006:10006 /srv/edge
ENV XDG_DATA_HOME=/srv/edge XDG_CONFIG_HOME=/tmp EDGE_CA_DIRECTORY=/srv/edge/caddy/pki/authorities/local
USER 10006:10006
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9104/livez"]
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]

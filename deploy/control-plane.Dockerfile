# The webserver and the daemon. They never import smotext, they reach it over gRPC: a change of its
# code builds and restarts the other image alone. Built from the repository's root.
FROM python:3.11.14-slim-bookworm

ENV DAGSTER_HOME=/opt/dagster/dagster_home \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

COPY constraints.txt /opt/dagster/
# hadolint ignore=DL3013
RUN pip install --constraint /opt/dagster/constraints.txt \
        dagster dagster-aws dagster-k8s dagster-postgres dagster-webserver \
    && useradd --uid 10001 --create-home dagster \
    && install --directory --owner dagster "$DAGSTER_HOME"

USER 10001
WORKDIR ${DAGSTER_HOME}
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/server_info', timeout=5)"]
CMD ["dagster-webserver", "-h", "0.0.0.0", "-p", "3000", "-w", "workspace.yaml"]

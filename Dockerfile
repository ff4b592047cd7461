# The project in an image: its pipelines, or a server of a model. docs/deploy.md says how to use it.
FROM python:3.11-slim-bookworm

ENV DO_NOT_TRACK=1 \
    KEDRO_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

# Debian packages with blanks between; on a GPU, torch.compile needs a C compiler: "gcc libc6-dev".
ARG DEBIAN_PACKAGES=""
RUN if [ -n "$DEBIAN_PACKAGES" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends $DEBIAN_PACKAGES \
        && rm -rf /var/lib/apt/lists/*; \
    fi

WORKDIR /project

# Package index with the builds of torch that are wanted, for the CPU or a GPU; by default pip's.
ARG TORCH_INDEX=""
COPY requirements.lock ./
RUN sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' requirements.lock >constraints.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"

# Dependencies: an empty package stands in for the code, so that they are kept when it changes.
ARG EXTRAS="export,serve"
COPY pyproject.toml ./
RUN mkdir -p src/rangefinder \
    && touch LICENSE README.md src/rangefinder/__init__.py \
    && pip install --constraint constraints.txt --editable ".[$EXTRAS]"

# HOME and USER also hold for `docker run --user`, whose user has no entry in /etc/passwd.
RUN useradd --uid 1000 --no-create-home rangefinder && chown --recursive rangefinder /project
ENV HOME=/tmp USER=rangefinder
COPY --chown=rangefinder . .
USER rangefinder

EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
CMD ["rangefinder", "serve", "--host", "0.0.0.0", "--model", "data/06_models/student"]

# docker build -t roomkeeper:0.4.0 .
#
# Your own agent comes on top of it: docs/agents.md. To pin the base image for good, write its digest behind
# the tag, @sha256:..., as `docker buildx imagetools inspect python:3.11.14-slim-trixie` tells it.
ARG PYTHON=python:3.11.14-slim-trixie

# ---- what Roomkeeper stands on; made anew when pyproject.toml or constraints.txt changes ------------------
FROM ${PYTHON} AS dependencies
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/roomkeeper
COPY pyproject.toml constraints.txt ./
# Wheels only: there is no compiler here.
RUN --mount=type=cache,target=/var/cache/pip \
    python -c "import tomllib; \
project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(project['dependencies']))" > requirements.txt \
    && python -m pip --python /opt/roomkeeper/bin/python install --only-binary :all: --no-compile \
      --requirement requirements.txt --constraint constraints.txt \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/roomkeeper/lib \
    && cp constraints.txt /opt/roomkeeper/

# ---- Roomkeeper itself ------------------------------------------------------------------------------------
FROM ${PYTHON} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY constraints.txt ./
RUN python -m pip install --no-cache-dir --constraint constraints.txt setuptools
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY pool pool
RUN python -m pip wheel --no-build-isolation --no-deps --wheel-dir /wheels .

# ---- the image --------------------------------------------------------------------------------------------
FROM ${PYTHON}
LABEL org.opencontainers.image.title="Roomkeeper" \
      org.opencontainers.image.description="Exactly one agent in every LiveKit room that wants one." \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=dependencies /opt/roomkeeper /opt/roomkeeper
# All is compiled now, the standard library as well, which this base image has as sources only: at run time
# nobody may write, and each start would compile it again.
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    python -m pip --python /opt/roomkeeper/bin/python install --no-cache-dir --no-index --no-deps \
      --no-compile --root-user-action ignore /wheels/*.whl \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(test|tests|lib2to3|site-packages)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && python -m compileall -q --invalidation-mode unchecked-hash \
      /opt/roomkeeper/lib/python*/site-packages/gateway /opt/roomkeeper/lib/python*/site-packages/pool \
    && groupadd --gid 10001 roomkeeper \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin roomkeeper \
    && install --directory --owner 10001 --group 10001 /data

# /data and /tmp are all that is written to. `pip install` of whoever builds on this goes into the same
# place, by the same constraints.
ENV PATH=/opt/roomkeeper/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_PYTHON=/opt/roomkeeper/bin/python \
    PIP_CONSTRAINT=/opt/roomkeeper/constraints.txt \
    ROOMKEEPER_STORE=/data/roomkeeper.db
WORKDIR /app
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# For Docker; Kubernetes has probes of its own. Not by urllib, which would ask a proxy.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=6 CMD ["python", "-c", "\
import http.client, os, sys; \
port = int(os.environ.get('ROOMKEEPER_PORT') or os.environ.get('PORT') or 8080); \
door = http.client.HTTPConnection('127.0.0.1', port, timeout=5); \
door.request('GET', '/livez'); \
sys.exit(door.getresponse().status != 200)"]
ENTRYPOINT ["roomkeeper"]
CMD ["start"]

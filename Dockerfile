# The worker and the commands of an operator, with what they need to read files.
#
#   docker build -t livesegments .
#   docker build -t livesegments --build-arg PIP_INDEX_URL=https://pypi.example.com/simple \
#     --secret id=ca,src=company-ca.pem .
#
# The dependencies are a layer of their own, which a change of the source leaves as it is. Their
# versions and hashes are those of requirements-worker.lock, that of the build tool is in
# requirements.lock. Neither pip nor the build tool is in /opt/livesegments.
FROM python:3.11-slim-bookworm AS dependencies
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements-worker.lock ./
# The tests that NumPy and SciPy install are 48 MB.
RUN --mount=type=secret,id=ca \
    if [ -e /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && python -m venv --without-pip /opt/livesegments \
    && pip --python /opt/livesegments/bin/python install --require-hashes --only-binary :all: \
        -r requirements-worker.lock \
    && find /opt/livesegments -type d -name tests -prune -exec rm -r {} +

FROM dependencies AS build
ARG PIP_INDEX_URL
COPY requirements.lock ./
RUN --mount=type=secret,id=ca \
    if [ -e /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && sed -n '/^setuptools==/,/# via/p' requirements.lock > build-tools.txt \
    && pip install --require-hashes -r build-tools.txt
COPY pyproject.toml README.md LICENSE ./
COPY model model
COPY consumers consumers
COPY producers producers
COPY livesegments livesegments
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir wheel . \
    && pip --python /opt/livesegments/bin/python install --no-deps --no-index --root /installed \
        wheel/*.whl

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home livesegments
COPY --from=dependencies /opt/livesegments /opt/livesegments
COPY --from=build /installed /
# One thread: a worker's matrices are small, and it has a core to itself.
ENV PATH=/opt/livesegments/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    OPENBLAS_NUM_THREADS=1
USER 10001
EXPOSE 9108
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import os, urllib.request as http; http.urlopen(f\"http://127.0.0.1:{os.environ.get('LIVESEGMENTS_HTTP_PORT', '9108')}/livez\", timeout=2)"]
ENTRYPOINT ["livesegments"]
CMD ["run"]

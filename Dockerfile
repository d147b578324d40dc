FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# The lock is the constraint: what is installed is what was tested, without demo and tests.
RUN python -m venv /opt/livesegments \
    && sed -E 's/ +--hash=[^ ]+//; s/ *\\$//; /^ *$/d; /^ *#/d' requirements.lock > /tmp/constraints.txt
COPY model model
COPY consumers consumers
COPY producers producers
COPY livesegments livesegments
RUN /opt/livesegments/bin/pip install --no-cache-dir --constraint /tmp/constraints.txt .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home livesegments
COPY --from=build /opt/livesegments /opt/livesegments
ENV PATH=/opt/livesegments/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 9108
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import os, urllib.request as http; http.urlopen(f\"http://127.0.0.1:{os.environ.get('LIVESEGMENTS_HTTP_PORT', '9108')}/livez\", timeout=2)"]
ENTRYPOINT ["livesegments"]
CMD ["run"]

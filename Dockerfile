# Serupa's page and API on port 8000. The catalogue is in /data, photos are read from /photos.
#
#   docker build -t serupa .
#   docker run --rm -v ./photos:/photos:ro -v serupa-data:/data serupa index /photos -c /data/catalog
#   docker run --rm -v ./photos:/photos:ro -v serupa-data:/data -p 127.0.0.1:8000:8000 serupa

FROM python:3.11-slim AS build
# such as s3fs or gcsfs, for photos in a bucket: --build-arg PACKAGES=s3fs
ARG PACKAGES=
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python -m venv /opt/serupa \
 && /opt/serupa/bin/pip install --no-cache-dir --constraint constraints.txt '.[web,report,parquet,qdrant]' $PACKAGES

FROM python:3.11-slim
COPY --from=build /opt/serupa /opt/serupa
RUN useradd --uid 10001 --no-create-home --home-dir /data serupa \
 && install --directory --owner serupa /data /cache
ENV PATH=/opt/serupa/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SERUPA_CACHE=/cache
USER serupa
VOLUME ["/data", "/cache"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["serupa"]
CMD ["serve", "-c", "/data/catalog", "--host", "0.0.0.0"]

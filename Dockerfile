# Builds the daemon and puts it alone into a small image.
#   docker build -t quarrier .
#   docker run --rm -v "$PWD/examples:/in:ro" -v quarrier-data:/data \
#     quarrier run /in/certification.jsonl --simulate

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches belong to the machine that builds, not to the image: a second build compiles only what
# changed. The binary is copied out because a cache is not there in later steps.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin quarrier \
    && cp target/release/quarrier /usr/local/bin/quarrier

FROM debian:bookworm-slim
# The provider is reached over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --create-home quarrier
COPY --from=build /usr/local/bin/quarrier /usr/local/bin/quarrier
USER quarrier
# Store, spool and results are written here unless told otherwise: mount a volume.
WORKDIR /data
VOLUME /data
ENTRYPOINT ["quarrier"]

# Builds the daemon and puts it alone into a small image.
#   docker build -t quarrier .
#   docker run --rm --no-healthcheck -v "$PWD/examples:/in:ro" -v quarrier-data:/data \
#     quarrier run /in/certification.jsonl --simulate
# `docs/deploy.md` says how to run it as a service; `compose.yaml` runs it with all that it needs.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The dependencies come first, in a layer of their own: it is built anew only when the lock file
# changes, not with every change of the source. Cargo wants to see every target that the manifest
# names, so each gets an empty file in its place.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
RUN mkdir -p src benches examples \
    && echo 'fn main() {}' | tee src/main.rs benches/queue.rs benches/sqs.rs \
        benches/wire.rs examples/chat_and_batch.rs examples/context.rs examples/generate.rs \
        examples/stream.rs examples/structured.rs > /dev/null \
    && touch src/lib.rs \
    && cargo build --locked --release --bin quarrier
# Then what is ours. The statements are checked against .sqlx, so no database is needed.
COPY ARCHITECTURE.md ./
COPY config config
COPY examples/scenarios examples/scenarios
COPY migrations migrations
COPY .sqlx .sqlx
COPY src src
# Copied files are as old as they were outside, and cargo goes by their age.
RUN touch build.rs src/main.rs src/lib.rs \
    && cargo build --locked --release --bin quarrier \
    && mkdir /data

# The C library, the certificates of public authorities (the provider is reached over TLS) and a
# user that is not root: that is all there is, no shell and no package manager. A quarter of the size
# of debian-slim, and nothing in it that a scanner would report and nobody uses.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/quarrier /usr/local/bin/quarrier
# Store, spool and results are written here unless told otherwise: mount a volume.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /data
VOLUME /data
USER 65532:65532
# Every setting is a variable (`docs/deploy.md`). A probe comes from outside the container, so
# health is answered on every address of it; it tells no secrets.
ENV QUARRIER_HTTP__LISTEN=0.0.0.0:8787
EXPOSE 8787
# The first SIGTERM drains: give it the time, with `docker stop --time 180`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/quarrier", "health"]
ENTRYPOINT ["/usr/local/bin/quarrier"]

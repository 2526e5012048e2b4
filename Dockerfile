# syntax=docker/dockerfile:1
# The image of the service: one program on a base without shell and package manager, as a user without rights.
#
#   docker build --build-arg VERSION=$(git describe --always) --tag audit-logs .
#
# glibc and not a static musl program: the base has glibc anyway, and for some 20 MB more nobody meets
# musl's resolver and slower memory functions, and it is the program as the tests ran it.
# The build's Debian must be that of the base, or older.

ARG RUST_VERSION=1.95

# It has the C compiler that mimalloc, SQLite and ring need.
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
ENV CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
ARG PROFILE=release
ARG FEATURES=""

# First what changes seldom: all dependencies, built for an empty program, so that a change of the sources
# builds only them.
COPY Cargo.toml Cargo.lock ./
COPY migrations/Cargo.toml migrations/Cargo.toml
RUN mkdir -p src migrations/src \
    && echo 'fn main() {}' >src/main.rs && cp src/main.rs build.rs \
    && touch src/lib.rs migrations/src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --features "$FEATURES" --bin audit-logs \
    && rm -rf src migrations/src

COPY . .
# The empty sources are newer than those that were copied, as cargo sees it.
RUN touch build.rs src/main.rs src/lib.rs migrations/src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --features "$FEATURES" --bin audit-logs \
    && install -D --strip "target/$PROFILE/audit-logs" /out/usr/local/bin/audit-logs \
    && install -d -o 65532 -g 65532 -m 700 /out/var/lib/audit-logs

# With certificate authorities, for buckets and SIEMs, and the user 65532, `nonroot`.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="audit-logs" \
    org.opencontainers.image.description="Self-hosted audit-log service: gRPC first, durable, verifiable" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chown=65532:65532 /out/var/lib/audit-logs /var/lib/audit-logs
COPY --from=build /out/usr/local/bin/audit-logs /usr/local/bin/audit-logs

# All addresses: those of a container are its own. Without TLS that takes AUDIT_LOGS_INSECURE_PLAINTEXT=true,
# which whoever starts the container says, not the image.
ENV AUDIT_LOGS_LISTEN=0.0.0.0:50051 \
    AUDIT_LOGS_DATA_DIR=/var/lib/audit-logs
# The only directory that is written to: the root may be read-only.
VOLUME /var/lib/audit-logs
EXPOSE 50051
USER 65532:65532
# SIGTERM drains for at most 30 seconds: `docker stop --time 35`.
STOPSIGNAL SIGTERM
# What it asks is AUDIT_LOGS_SERVER, by default http://127.0.0.1:50051.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/audit-logs", "health"]
ENTRYPOINT ["/usr/local/bin/audit-logs"]
CMD ["serve"]

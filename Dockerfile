# syntax=docker/dockerfile:1
#
# redprobe in a container: built by the toolchain of rust-toolchain.toml, run without a shell, a package manager or root.
#
#   docker build -t redprobe .
#
# Base images are pinned by digest; the tag beside it is for people. glibc, not musl: what is measured here is measured
# with the allocator and the resolver that applications have.

FROM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
WORKDIR /src

# What others wrote, in a layer of its own: built anew only when a manifest changes. The sources are stand-ins.
COPY Cargo.toml Cargo.lock ./
COPY crates/bench/Cargo.toml crates/bench/
COPY crates/measure/Cargo.toml crates/measure/
COPY crates/testkit/Cargo.toml crates/testkit/
RUN mkdir -p src crates/bench/src crates/measure/src crates/testkit/src \
    && echo 'fn main() {}' | tee src/main.rs crates/bench/src/main.rs >/dev/null \
    && touch src/lib.rs crates/measure/src/lib.rs crates/testkit/src/lib.rs \
    && cargo build --release --locked --package redprobe

# Ours. Without the touch, a stand-in that is younger than the source would count as built.
COPY src src
COPY crates crates
RUN find src crates -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --package redprobe \
    && mkdir /state

FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="redprobe" \
      org.opencontainers.image.description="Runs probes against Redis on a schedule and exports what it finds to Prometheus" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /src/target/release/redprobe /usr/local/bin/redprobe
# Owned by who writes there, so that a named volume that is mounted here begins as theirs.
COPY --from=build --chown=65532:65532 /state /var/lib/redprobe
ENV STATE_DIRECTORY=/var/lib/redprobe
# The journal of settings must outlive the container: give this volume a name.
VOLUME ["/var/lib/redprobe"]

# A number, so that a runtime can see that it is not root.
USER 65532:65532
EXPOSE 19121
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/redprobe", "healthcheck"]
# The configuration is /etc/redprobe/redprobe.toml; its http.listen must be an address that others reach.
ENTRYPOINT ["/usr/local/bin/redprobe"]
CMD ["serve"]

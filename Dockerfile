# syntax=docker/dockerfile:1
# The program with its two volumes, and nothing else: docker build -t perfharvest .
# `commits --from clone:DIR` needs Mercurial or git, which are not in it; `--from hgweb:URL` and `--from pushes` need neither.

# The least Rust version, as in Cargo.toml.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin perfharvest \
    && cp target/release/perfharvest /usr/local/bin/perfharvest

FROM debian:bookworm-slim
# The certificates of the system are those that servers are checked against.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home perfharvest \
    && install --directory --owner=perfharvest --group=perfharvest /work /store /out
COPY --from=build /usr/local/bin/perfharvest /usr/local/bin/perfharvest
USER 1000:1000
# The current folder holds config.toml and the file of commits. The demo takes both folders by its own options.
WORKDIR /work
# The allocator gives freed memory back after 100 ms, not after a second: a sixth less, in the same time.
ENV PERFHARVEST_STORE__PATH=/store/perfharvest.store \
    PERFHARVEST_ARTIFACTS__OUT=/out \
    MIMALLOC_PURGE_DELAY=100
VOLUME ["/store", "/out"]
# To interrupt it as in a terminal, let Docker pass signals on and give it the time to store the answers in flight:
# docker run --init --stop-timeout 30
ENTRYPOINT ["perfharvest"]
CMD ["--help"]

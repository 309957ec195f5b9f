# Two images of one file:
#
#	docker build --target ci -t golibevent-ci .		all that .ci/run needs
#	docker build --target runtime -t golibevent-echo .	the echo example
#
# Both refuse a libevent without the security suite's fixes. docker/README.md says how
# to build them without a container engine.

ARG GO_VERSION=1.26
ARG SUITE=bookworm

FROM golang:${GO_VERSION}-${SUITE} AS ci
COPY tools/deps.sh docker/assert-libevent.sh /usr/local/libexec/golibevent/
RUN /usr/local/libexec/golibevent/deps.sh check \
	&& /usr/local/libexec/golibevent/assert-libevent.sh libevent-dev \
		'libevent-core-2.1-7*' 'libevent-pthreads-2.1-7*' \
	&& rm -rf /var/lib/apt/lists/*
WORKDIR /work
CMD ["bash"]

FROM ci AS build
COPY . .
RUN go build -buildvcs=false -trimpath -ldflags=-s -o /libevent-echo ./examples/echo

FROM debian:${SUITE}-slim AS runtime
COPY docker/assert-libevent.sh /tmp/
# Debian 13 has added a suffix to the names of the packages.
RUN apt-get update -q \
	&& apt-get install -y -q --no-install-recommends \
		'libevent-core-2.1-7*' 'libevent-pthreads-2.1-7*' \
	&& /tmp/assert-libevent.sh 'libevent-core-2.1-7*' 'libevent-pthreads-2.1-7*' \
	&& rm -rf /var/lib/apt/lists/* /tmp/assert-libevent.sh \
	&& useradd --system --no-create-home --shell /usr/sbin/nologin echo
COPY --from=build /libevent-echo /usr/local/bin/libevent-echo
USER echo
ENTRYPOINT ["/usr/local/bin/libevent-echo"]

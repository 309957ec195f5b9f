# make demo and make test are enough on a fresh machine: what builds installs first
# what it needs. make check is what CI asks for beside the tests.

GO ?= go
export GO

# A checkout in a container often belongs to somebody else, which git refuses.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

# Modules of their own, but for tools/, which checks the others.
NESTED := $(patsubst ./%/go.mod,%,$(shell find . -name go.mod -not -path ./go.mod -not -path './tools/*' | sort))
# Programs that are not, or not only, Go have a Makefile with a target test.
FOREIGN := $(patsubst ./%/Makefile,%,$(shell find ./examples -name Makefile 2>/dev/null | sort))

# What hangs is to fail long before CI gives up.
TEST = $(GO) test -timeout 5m

# Runs $(2) in every directory of $(1) and stops at the first that fails.
each = @set -e; for dir in $(1); do echo "== $$dir"; (cd $$dir && $(2)); done

.PHONY: help
help:
	@echo 'make deps    install what is needed with apt, apk, dnf or brew'
	@echo 'make demo    an echo server under load, for three seconds'
	@echo 'make test    the tests, with the race detector'
	@echo 'make check   format, vet, lints, C warnings, backends, asan, cgocheck2, valgrind, fuzzers'
	@echo 'make fuzz    programs run in Go and in C must agree: each fuzzer for FUZZTIME'
	@echo 'make bench   the benchmarks, beside C and others; bench-quick takes two minutes'
	@echo 'make cover   docs/coverage.md: what there is in Go for each function of C'
	@echo 'make test-coverage  the statements that the tests reach, in cover.out'
	@echo 'make coverage-c  the lines of C that the tests run; takes gcc and gcov'
	@echo 'make stress  goroutines against one another, with the race detector, in a minute'
	@echo 'make soak    50,000 connections, a million more, ten minutes of load'
	@echo 'make docker  build both images and run CI in one of them'
	@echo 'make fmt     format the Go code'

.PHONY: deps deps-build deps-test deps-bench
deps:
	@tools/deps.sh check
deps-build:
	@tools/deps.sh build
deps-test:
	@tools/deps.sh test
deps-bench:
	@tools/deps.sh bench

.PHONY: demo
demo: deps-build
	$(GO) run ./examples/echo

.PHONY: test
test: deps-test
	$(TEST) -race ./...
	$(call each,$(NESTED),$(TEST) -race ./...)
	$(call each,$(FOREIGN),$(MAKE) --no-print-directory test)

# It writes what fails below internal/difftest/testdata/fuzz, where go test runs it.
FUZZTIME ?= 30s
FUZZERS := FuzzEvents FuzzBuffer FuzzBufferEvent FuzzFilter FuzzEager

.PHONY: fuzz
fuzz: deps-test
	@tools/fuzz.sh $(FUZZTIME) $(FUZZERS)

# How long the fuzzers take to find faults that are planted in a copy of the source.
.PHONY: fuzz-bites
fuzz-bites: deps-test
	tools/bites.sh

.PHONY: bench
bench: deps-bench
	$(MAKE) -C bench bench

.PHONY: bench-quick
bench-quick: deps-bench
	$(MAKE) -C bench bench-quick

.PHONY: cover
cover: deps-build
	cd tools && $(GO) run ./cover

.PHONY: test-coverage
test-coverage: deps-test
	$(TEST) -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

# Which lines of our own C the tests run: it has to be 90 percent.
.PHONY: coverage-c
coverage-c: deps-test
	@tools/coverage.sh 90

# Ends by itself. SOAKFLAGS are flags of the program: see its -help.
.PHONY: soak
soak: deps-build
	$(GO) run ./internal/soak $(SOAKFLAGS)

# The tests of goroutines against one another, as often as they would like.
.PHONY: stress
stress: deps-test
	LIBEVENT_TEST_LONG=1 $(GO) test -race -timeout 30m -count=1 \
		-run 'Goroutine|EverythingAtOnce|TwoLoops|NeverLost|NeverStops|AmongCalls|PostOrder|BeforeAddEvent' .

.PHONY: docker
docker:
	docker/check.sh

bin/gofumpt bin/staticcheck &: tools/go.mod tools/go.sum
	$(GO) build -C tools -o ../bin/ tool
	@touch bin/gofumpt bin/staticcheck

.PHONY: fmt
fmt: bin/gofumpt
	bin/gofumpt -w .

# In this order: what takes long comes last.
.PHONY: check
check: check-fmt check-vet check-staticcheck check-lint check-cover check-c check-minimum \
	check-backends check-asan check-cgocheck check-valgrind fuzz
	@echo 'check: all is well'

.PHONY: check-fmt
check-fmt: bin/gofumpt
	@unformatted=$$(bin/gofumpt -l .) || exit; if [ -n "$$unformatted" ]; then \
		echo "make fmt has something to do for:"; echo "$$unformatted"; exit 1; fi

.PHONY: check-vet
check-vet: deps
	$(GO) vet ./...
	$(call each,$(NESTED) tools,$(GO) vet ./...)

.PHONY: check-staticcheck
check-staticcheck: deps bin/staticcheck
	bin/staticcheck ./...
	$(call each,$(NESTED) tools,$(CURDIR)/bin/staticcheck ./...)

# House rules, written as tests: see tools/lint.
.PHONY: check-lint
check-lint: deps
	cd tools && $(GO) test -count=1 ./...

.PHONY: check-cover
check-cover: deps
	cd tools && $(GO) run ./cover -check

# The packages ask for warnings themselves. -Werror is for us alone: a user's
# compiler may warn of something new.
STRICT := CGO_CFLAGS='-O2 -g -Werror'

.PHONY: check-c
check-c: deps
	tools/cwarnings.sh
	$(STRICT) $(GO) build ./...
	$(call each,$(NESTED),$(STRICT) $(GO) build -o /dev/null ./...)

# The Go version that go.mod promises.
.PHONY: check-minimum
check-minimum: deps
	@set -e; minimum=go$$($(GO) list -m -f '{{.GoVersion}}').0; \
	if GOTOOLCHAIN=$$minimum $(GO) version 2>/dev/null; then \
		GOTOOLCHAIN=$$minimum $(GO) build ./...; \
	else \
		echo "check-minimum: skipped, $$minimum is not to be had"; \
	fi

# Each backend that is not the best, each way in which the environment changes a backend,
# and libevent's debug mode. Go does not see that C asks for the environment: -count=1.
.PHONY: check-backends
check-backends: deps
	@set -e; for env in 'EVENT_NOEPOLL=1 EVENT_NOKQUEUE=1' \
		'EVENT_NOEPOLL=1 EVENT_NOKQUEUE=1 EVENT_NOPOLL=1' \
		EVENT_EPOLL_USE_CHANGELIST=1 EVENT_PRECISE_TIMER=1 LIBEVENT_TEST_DEBUG_MODE=1; do \
		echo "== $$env"; env $$env $(TEST) -count=1 -short .; \
	done

.PHONY: check-asan
check-asan: deps
	@if echo 'int main(void) { return 0; }' | gcc -fsanitize=address -x c -o /dev/null - 2>/dev/null; then \
		set -x; CC=gcc $(TEST) -asan -short ./...; \
	else \
		echo 'check-asan: skipped, this gcc has no address sanitizer'; \
	fi

.PHONY: check-cgocheck
check-cgocheck: deps
	GOEXPERIMENT=cgocheck2 $(TEST) -short ./...

.PHONY: check-valgrind
check-valgrind: deps
	tools/valgrind.sh

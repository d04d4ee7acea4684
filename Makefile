# Sidetone. `make run` shows it, `make test` proves it; `make help` lists the rest.

GO      ?= go
CACHE   ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sidetone
TOOLS   := $(CACHE)/tools
LINT    := $(TOOLS)/golangci-lint-v2.15.0
BIN     := bin/sidetone
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME ?= 3s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sidetone, without cgo
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sidetone

.PHONY: models
models: build ## get the weights, hash-checked, into the user's cache
	$(BIN) models pull

.PHONY: run
run: models ## start the server and play a bank call into it
	$(BIN) demo

.PHONY: test
test: deps models check unit e2e ## everything that CI runs

.PHONY: deps
deps: ## bring the programs that the tests drive, through apt-get where it may
	.ci/deps

.PHONY: check
check: ## formatting, vet, other platforms, tidy, generated files, lint
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	CGO_ENABLED=0 $(GO) build ./...
	CGO_ENABLED=0 GOARCH=386 $(GO) vet ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet ./internal/nn ./asr/... ./media/...
	$(MAKE) generate-check
	$(MAKE) lint

.PHONY: lint
lint: $(LINT) ## golangci-lint
	$(LINT) run ./...

$(LINT):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	mv $(TOOLS)/golangci-lint $@

.PHONY: generate
generate: ## write the assembly of internal/nn anew
	cd internal/nn/gen && $(GO) run . -out ..

.PHONY: generate-check
generate-check: ## the checked-in assembly is what the generator writes
	.ci/generated

.PHONY: unit
unit: ## unit tests, with the race detector where there is a C compiler
	.ci/unit

.PHONY: e2e
e2e: build ## the built binary, a real call, a real browser
	SIDETONE_BINARY=$(abspath $(BIN)) $(GO) test -v -count=1 -timeout 15m -tags e2e ./cmd/sidetone/e2e/...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (their seeds and finds are unit tests)
	.ci/fuzz $(FUZZTIME)

# QUICK=1 measures a part, in minutes. SAVE=1 makes what is measured the baseline.
ifdef QUICK
BENCH_LATENCY := --clips 1 --rounds 2
BENCH_STREAMS := --warm 5s --duration 20s --exact 4
BENCH_WORDS   := --limit 5
BENCH_PART    := --limit 10
else
BENCH_LATENCY :=
BENCH_STREAMS := --duration 45s
BENCH_WORDS   := --limit 30
BENCH_PART    :=
endif
BENCH_BASELINE := $(if $(SAVE),--save-baseline,--baseline) bench/testdata/asr-baseline.json

# Of speakers left out of training, without calls: with them it takes an hour of a core.
.PHONY: bench-voice
bench-voice: models ## how well voices are told apart, against what was measured before
	$(BIN) bench voice --calls=false --looks 2s,2500ms,3s,4s,5s,7s,10s,15s $(if $(SAVE),--save-baseline,--baseline) bench/testdata/voice-baseline.json

.PHONY: bench-asr
bench-asr: models ## recognition beside its peers: speed, accuracy, calls a core (QUICK=1: 10 minutes)
	$(BIN) bench latency $(BENCH_LATENCY)
	$(BIN) bench streams $(BENCH_STREAMS) --start 12
	$(BIN) bench streams $(BENCH_STREAMS) --start 24 --compute int8
	$(BIN) bench streams $(BENCH_STREAMS) --start 12 --calls
	$(BIN) bench words $(BENCH_WORDS)
	$(BIN) bench compare $(BENCH_PART) --conditions tel8k
ifndef QUICK
	$(BIN) bench compare --engines sidetone,faster-whisper:float32,sidetone:int8,faster-whisper:int8,stream $(BENCH_BASELINE)
endif

# Everything here needs nothing but Go; the targets bench and e2e use further programs where they are installed.
GO ?= go
BINARY ?= sluice
FUZZTIME ?= 3s
CHURN ?= 30m
IMAGE ?= sluice
# Used by race and check. `go env CC` is what the race detector's build would call.
CC_FOUND := $(shell command -v "$$($(GO) env CC)" 2>/dev/null)
STATICCHECK := $(GO) tool -modfile=tools/go.mod staticcheck

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

.PHONY: build
build: ## one static, stripped binary: ./sluice
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o $(BINARY) ./cmd/sluice

.PHONY: image
image: ## a container image around the binary: sluice:latest; IMAGE= names it otherwise
	@$(MAKE) --no-print-directory build BINARY=dist/sluice
	GO='$(GO)' tools/image.sh dist/sluice dist/image
	docker build -q -t $(IMAGE) .

.PHONY: test
test: ## all tests, as on any machine
	$(GO) test ./...

.PHONY: race
race: ## all tests of the product with the race detector; needs a C compiler
ifeq ($(CC_FOUND),)
	@echo 'race: no C compiler on this machine, the race detector cannot be built'; exit 1
else
	$(GO) test -race ./internal/... ./cmd/...
endif

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each (default 3s)
	GO='$(GO)' tools/fuzz.sh $(FUZZTIME)

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r gofmt -l) && \
	  if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...

.PHONY: check
check: lint ## what continuous integration runs, outside programs aside: lint, tests (with -race where possible), short fuzzing
ifeq ($(CC_FOUND),)
	@echo 'check: no C compiler on this machine, testing without the race detector'
	$(GO) test ./...
else
	$(GO) test -race ./internal/... ./cmd/...
	$(GO) test ./bench/... ./test/...
	$(GO) test -run Agree ./internal/core/route # 100 000 cases of index against scan, of which the race detector's run has a part
endif
	$(MAKE) fuzz

.PHONY: e2e
e2e: ## end to end with nginx, certbot, an ACME test server, curl, openssl, a browser and (as root) a container engine; fails where one is missing
	SLUICE_E2E=required $(GO) test -count=1 -v ./test/e2e/...

.PHONY: churn
churn: ## half an hour of reloads, dying servers and leaving clients, with flat memory, goroutines and descriptors; CHURN=5m chooses
	$(GO) test ./internal/run/app -run 'TestChurn$$' -count=1 -v -churn=$(CHURN) -timeout=2h

.PHONY: bench
bench: ## the cost of a request beside nginx and HAProxy; BENCH="-quick -scenario plain,tls" chooses
	$(GO) run ./bench $(BENCH)

.PHONY: golden
golden: ## rewrite the golden files of all tests that have some; read the diff before you commit it
	@packages=$$(grep -rlE --include='*_test.go' '"update"' internal test | xargs -rn1 dirname | sort -u | sed 's|^|./|'); \
	  if [ -z "$$packages" ]; then echo 'golden: no test has golden files'; else $(GO) test $$packages -update; fi

# Everything here works on a fresh machine with Go alone; `make test-all` installs what else it needs.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOL     := go tool -modfile=tools/go.mod
BUF      := $(TOOL) buf
LINT     := $(TOOL) golangci-lint
VERSION  ?= dev
DIST     ?= dist
# By version: its yaml and that of buf do not get along in one go.mod.
ACTIONLINT := v1.7.12
# It is no module of ours.
NATSCLI    := v0.5.1
# A count, not a time: when time is up in the middle of minimising, go reports that as a failure.
FUZZTIME ?= 5000x
RESTARTS ?= 10
# Fewer than 15 say too little about a machine that others use too.
ROUNDS   ?= 15
HOURS    ?= 24
SEEDS    ?= 20

.PHONY: help
help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start tallyd with the built-in sandbox: no key, no network.
	go run ./cmd/tallyd serve --sandbox

.PHONY: build
build: ## Build bin/tallyd.
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tallyd ./cmd/tallyd

.PHONY: dist
dist: ## Build the release into dist/: binaries, contract, bill of materials, checksums. VERSION=1.2.3 names it.
	rm -rf "$(DIST)" && mkdir -p "$(DIST)"
	for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' \
			-o "$(DIST)/tallyd_$(VERSION)_linux_$$arch" ./cmd/tallyd; \
	done
	go run ./cmd/tallyd proto --descriptor-set "$(DIST)/tallyd_$(VERSION).binpb"
	$(TOOL) cyclonedx-gomod app -json -notimestamp -noserial -main cmd/tallyd -output "$(DIST)/tallyd_$(VERSION).cdx.json" .
	cd "$(DIST)" && sha256sum * >SHA256SUMS

.PHONY: test
test: ## Run the Go tests; nothing but Go is needed.
	go test -race -shuffle=on ./...

.PHONY: test-all
test-all: test test-interop test-mesh test-deploy test-cluster ## Run the Go tests and those with other languages, and install what they need.

.PHONY: test-interop
test-interop: build ## Run the clients of other languages, and tools that many have, against tallyd.
	test/interop/setup.sh
	test/interop/run.sh
	test/interop/tools.sh
	test/interop/policy.sh
	test/interop/watch.sh

.PHONY: test-mesh
test-mesh: ## Run tallyd behind nginx and a repeating proxy, with RESTARTS rolling restarts behind each.
	test/mesh/setup.sh
	go test -race -count=1 -v -timeout 30m ./test/mesh -args -nginx -restarts $(RESTARTS)

.PHONY: test-deploy
test-deploy: ## Build the image and the manifests, and try the alerts.
	test/deploy/setup.sh
	test/deploy/image.sh
	test/deploy/manifests.sh

.PHONY: test-cluster
test-cluster: ## Bring a log in a NATS cluster back from a backup, by the program `nats`.
	GOBIN="$(CURDIR)/bin" go install github.com/nats-io/natscli/nats@$(NATSCLI)
	TALLYD_TEST_NATS="$(CURDIR)/bin/nats" go test -race -count=1 -v -run ClusterBackup ./service/events

.PHONY: test-long
test-long: RESTARTS := 200
test-long: test-all ## Run all tests, the long ones too: 200 rolling restarts, 1,000 kills under a million deliveries, istioctl, a rebuilt release.
	go test -race -count=1 -v -timeout 150m -run 'KilledUnderLoad|WakeAll' ./test/faults -args -kills 1000 -acknowledged 1000000 -watchers 10000
	test/dist/reproducible.sh
	test/deploy/istio.sh

.PHONY: test-live
test-live: ## Try a real key, read-only: TALLY_API_KEY=tly-... make test-live
	@test -n "$${TALLY_API_KEY:-}" || { echo "set TALLY_API_KEY to a key of https://tally.so/settings/api-keys"; exit 2; }
	go run ./cmd/tallyd doctor
	TALLYD_LIVE=1 go test -count=1 -v -run TestReadOnlyCalls ./cmd/tallyd

.PHONY: bench
bench: ## Compare tallyd with its peers side by side in ROUNDS rounds, then run the benchmarks of the rooms.
	go test -count=1 -v -timeout 20m -run 'SideBySide$$' ./test/bench -args -rounds $(ROUNDS)
	go test -run '^$$' -bench . -benchmem ./service/...

.PHONY: bench-events
bench-events: ## Compare the log of submission events with its peers in ROUNDS rounds.
	test/bench/setup.sh
	go test -count=1 -v -timeout 120m -run '^TestEventLog' ./test/bench -args -rounds $(ROUNDS)

.PHONY: bench-quota
bench-quota: ## Run the quota and its peers through HOURS of virtual time SEEDS times, and renew docs/performance/.
	go test -count=1 -timeout 60m -run Simulation ./test/bench/simulation -args -hours $(HOURS) -seeds $(SEEDS)

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME: 5000x, or 10m for a long look.
	@go list -f '{{$$p := .ImportPath}}{{range .TestGoFiles}}{{$$p}} {{$$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$p}} {{$$.Dir}}/{{.}}{{"\n"}}{{end}}' ./... \
	| while read -r package file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "fuzz $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "$$package"; \
		done; \
	done

third_party/proto: go.mod proto/protofiles/protofiles.go
	@rm -rf $@ && go run ./proto/deps $@ && touch $@

.PHONY: generate
generate: third_party/proto ## Renew everything generated: gen/, the contract's image, docs/api.md, the routes in deploy/.
	$(BUF) format -w proto
	$(BUF) generate
	$(BUF) build proto -o proto/image.binpb
	go run ./proto/apidoc > docs/api.md.new && mv docs/api.md.new docs/api.md
	go run ./deploy/generate deploy

.PHONY: format
format: third_party/proto ## Format Go and proto files.
	$(BUF) format -w proto
	$(LINT) fmt ./...

.PHONY: lint
lint: third_party/proto ## Lint Go and proto files and the workflows.
	$(BUF) lint
	$(LINT) fmt --diff ./...
	$(LINT) run ./...
	go run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT)

.PHONY: breaking
breaking: third_party/proto ## Compare the contract with the last released one.
	$(BUF) breaking proto --against proto/released.binpb

.PHONY: release
release: check ## Make the present contract the released one, which later ones must not break.
	$(BUF) build proto --exclude-source-info -o proto/released.binpb

.PHONY: tidy
tidy: ## Tidy both go.mod files.
	go mod tidy
	cd tools && go mod tidy

.PHONY: unchanged
unchanged: generate tidy ## Demand that generate and tidy make no difference.
	@git diff --exit-code --stat -- gen proto docs/api.md deploy go.mod go.sum tools || { echo "run 'make generate tidy' and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- gen proto docs/api.md deploy)" || { echo "generated files are not committed"; exit 1; }

.PHONY: check
check: unchanged lint breaking test-all fuzz build ## Run exactly what CI runs.

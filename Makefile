# Everything here works on a fresh machine with Go alone; `make test-all` installs what else it needs.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOL := go tool -modfile=tools/go.mod
BUF  := $(TOOL) buf

.PHONY: help
help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

third_party/proto: go.mod proto/protofiles/protofiles.go
	@rm -rf $@ && go run ./proto/deps $@ && touch $@

.PHONY: generate
generate: third_party/proto ## Renew everything generated: gen/, the contract's image, docs/api.md.
	$(BUF) format -w proto
	$(BUF) generate
	$(BUF) build proto -o proto/image.binpb
	go run ./proto/apidoc > docs/api.md

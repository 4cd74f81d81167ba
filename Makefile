# Swerve. `make demo` shows it at work, `make test` proves it; `make help` lists the rest.

GO      ?= go
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null || echo 0.0.0+$$(git rev-parse --short HEAD 2>/dev/null || echo unknown))
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
TOOL     = $(GO) tool -modfile=tools/go.mod
export CGO_ENABLED ?= 0

# What packages are built for, where they go, and the commit's time, which they bear.
ARCHES  ?= amd64 arm64
DIST    ?= dist
EPOCH   ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Debian's packages of the tools that the tests use as witnesses, and of the
# compiler that the race detector needs. PEERS are what the bench compares with.
WITNESSES = iproute2 nftables conntrack iputils-ping fping iperf3 tshark tmux
PEERS     = iproute2 nftables fping iperf3
COMPILER  = gcc libc6-dev

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: bin/swerve ## build bin/swerve

.PHONY: bin/swerve
bin/swerve:
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/swerve

.PHONY: demo demo-defaults
demo: bin/swerve ## play a live failover in a lab of network namespaces (about a minute)
	@$(GO) build -trimpath -o bin/demo ./testenv/demo
	@./testenv/as-root ./bin/demo -swerve ./bin/swerve $(DEMOFLAGS)

demo-defaults: ## the same with nothing but the defaults
	@$(MAKE) --no-print-directory demo DEMOFLAGS="-defaults $(DEMOFLAGS)"

.PHONY: test
test: ## run every test with the race detector, on real kernels' namespaces
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -race -timeout 15m $(TESTFLAGS) ./...

.PHONY: test-field
test-field: ## run the tests on machines that somebody else has set up, 200 of them
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 30m $(TESTFLAGS) -parallel 8 ./testenv/field -field.machines 200

.PHONY: test-loads
test-loads: ## fill an uplink by uploads and downloads over queues of up to 4 s, for ten minutes each
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 60m -v $(TESTFLAGS) ./testenv/system -run '^TestLoads$$' -loads 10m

.PHONY: test-vm test-vm-canary
RELEASES ?= trixie bookworm
test-vm: ## run the package on Debian in a virtual machine (images on first use; some 10 minutes a release)
	@$(VMTEST) -timeout 60m $(TESTFLAGS) ./testenv/vm -vm.packages $(abspath $(DIST)/vm) -vm.debian "$(RELEASES)"

test-vm-canary: ## the same, short: boot, install, one failover, purge (two minutes once the image is there)
	@$(VMTEST) -timeout 15m -run TestCanary $(TESTFLAGS) ./testenv/vm -vm.packages $(abspath $(DIST)/vm) -vm.debian trixie

# Two builds of the package: an upgrade goes from the first to the second.
VMTEST = ./testenv/need qemu-system-x86 debootstrap e2fsprogs && rm -rf $(DIST)/vm && \
	$(MAKE) --no-print-directory packages ARCHES=amd64 DIST=$(DIST)/vm VERSION=0.0.1 >/dev/null && \
	$(MAKE) --no-print-directory packages ARCHES=amd64 DIST=$(DIST)/vm VERSION=0.0.2 >/dev/null && \
	./testenv/as-root $(GO) test -count=1 -v

.PHONY: bench bench-short bench-tables
bench: bin/bench ## measure every figure, with the tables in the documents (under an hour; wants a quiet machine)
	@status=0; $(BENCH) -out docs/bench.json || status=$$?; \
		$(MAKE) --no-print-directory bench-tables && exit $$status

bench-short: bin/bench ## the same with few runs, into bench.json (five minutes)
	@$(BENCH) -short -out bench.json

bench-tables: bin/bench ## make the tables in the documents of docs/bench.json
	@./bin/bench -tables docs/bench.json

BENCH = ./testenv/need $(PEERS) && ./testenv/as-root ./bin/bench -swerve ./bin/swerve -software $(VERSION)

.PHONY: bin/bench
bin/bench: bin/swerve
	@$(GO) build -trimpath -o $@ ./testenv/bench

.PHONY: lint
lint: ## gofmt, vet, staticcheck, floors and function lengths
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "lint: the files above are not gofmt's" >&2; exit 1; }
	@$(GO) vet ./...
	@$(TOOL) staticcheck ./...
	@$(GO) test -count=1 ./testenv/lint

.PHONY: packages
packages: export CGO_ENABLED = 0
packages: ## build the deb and rpm packages into dist/
	@mkdir -p $(DIST)/host
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(DIST)/host/swerve ./cmd/swerve
	@for shell in bash zsh fish; do $(DIST)/host/swerve completion $$shell >$(DIST)/host/swerve.$$shell || exit 1; done
	@for arch in $(ARCHES); do \
		mkdir -p $(DIST)/$$arch && \
		GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(DIST)/$$arch/swerve ./cmd/swerve || exit 1; \
		for format in deb rpm; do \
			ARCH=$$arch VERSION=$(VERSION) DIST=$(DIST) SOURCE_DATE_EPOCH=$(EPOCH) \
			$(TOOL) nfpm package --config packaging/nfpm.yaml --packager $$format --target $(DIST)/ || exit 1; \
		done || exit 1; \
	done

.PHONY: clean
clean: ## delete what was built
	@rm -rf bin dist

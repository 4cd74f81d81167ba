# Swerve. `make demo` shows it at work, `make test` proves it; `make help` lists the rest.

GO      ?= go
# A commit after a tag sorts after it, one without a tag before every release.
HEAD_OF  = TZ=UTC0 git log -1 --date=format-local:%Y%m%d%H%M --format=git%cd.%h 2>/dev/null
VERSION ?= $(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null | sed s/^v// | grep . || \
	{ tag=$$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null) && echo "$$tag+$$($(HEAD_OF))" | sed s/^v//; } || \
	{ head=$$($(HEAD_OF)) && echo "0.0.0~$$head"; } || echo 0.0.0~unknown)
COMMIT  ?= $(shell git log -1 --format=%H 2>/dev/null || echo unknown)$(shell git diff --quiet HEAD 2>/dev/null || echo -changed)
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# Where nothing is urgent calls are not inlined, which makes the binary 2 % smaller: see LARGEST.
LEAN     = $(foreach p,swerve/config swerve/control swerve/control/say swerve/tui swerve/cmd/swerve \
	github.com/goccy/... github.com/charmbracelet/... github.com/spf13/...,-gcflags=$(p)=-l)
TOOL     = $(GO) tool -modfile=tools/go.mod
export CGO_ENABLED ?= 0

# What packages are built for, where they go, and the commit's time, which they bear.
ARCHES  ?= amd64 arm64 armv7 riscv64
DIST    ?= dist
EPOCH   ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Debian's packages of the tools that the tests use as witnesses, and of the
# compiler that the race detector needs. PEERS are what the bench compares with.
WITNESSES = iproute2 nftables conntrack curl dnsmasq-base iputils-ping fping iperf3 tshark tmux
PEERS     = iproute2 nftables fping iperf3
COMPILER  = gcc libc6-dev

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: bin/swerve ## build bin/swerve

.PHONY: bin/swerve
bin/swerve:
	@$(GO) build -trimpath $(LEAN) -ldflags '$(LDFLAGS)' -o $@ ./cmd/swerve

.PHONY: demo demo-defaults
demo: bin/swerve ## play a live failover in a lab of network namespaces (about a minute)
	@$(GO) build -trimpath -o bin/demo ./testenv/demo
	@./testenv/as-root ./bin/demo -swerve ./bin/swerve $(DEMOFLAGS)

.PHONY: demo-shared
demo-shared: ## the same of uplinks that share the load: overflow, a loss, switch, drain, explain
	@$(MAKE) --no-print-directory demo DEMOFLAGS="-shared $(DEMOFLAGS)"

demo-defaults: ## the same with nothing but the defaults
	@$(MAKE) --no-print-directory demo DEMOFLAGS="-defaults $(DEMOFLAGS)"

.PHONY: test test-labs test-raced test-rest
# The race detector is for what shares memory between goroutines. In the labs the daemon
# has it, and what loads and watches it has not.
PURE      = swerve/failover swerve/testenv/simulator swerve/testenv/profiles
LABS      = $(addprefix swerve/testenv/,system chaos demo others)
RACED     = $(addprefix swerve/,control daemon linkmon tui)
REST      = $(filter-out $(PURE) $(LABS) $(RACED),$(shell $(GO) list ./...))
# The longest tests of what others test as well, if not in every detail: SHORT=1, as CI has
# it, leaves them out.
LONG      = TestAddressRenewals|TestSlowStartBesideARuleForMarks|TestPolicedProbes|TestNothingIsLostByHand|TestDownloadOverASharedTier|TestLoadOnOneFamily|TestSlowAddressRenewals|TestRestartWithOtherMasks|TestOverflowUsesBothLines|TestHeavyLoss|TestOrdersSurvive|TestAnHourOfStalls|TestNoRescueOfWellAddresses|TestApplyFromAnyTable|TestAnswersElsewhere|TestIPv6AddressRenewals|TestReceivingPostpones|TestVolumeOnTheWire|TestBigMainTable
SKIP      = $(if $(SHORT),LONG='^($(LONG))$$')
test: ## run every test (SHORT=1: but the longest) on real kernels' namespaces, with the race detector where goroutines share memory
	@./testenv/need $(COMPILER) $(WITNESSES)
	@$(GO) test $(TESTFLAGS) $(PURE)
	@$(MAKE) --no-print-directory --output-sync=target --keep-going -j 2 test-labs test-raced test-rest

# Two at a time, each on half of the processors: the labs last as long as both others.
# Go's vet is in make lint.
HALF      = $$((($$(nproc) + 1) / 2))
test-labs:
	@$(SKIP) SWERVE_RACED=1 GO=$(GO) ./testenv/run-tests -vet=off -p $(HALF) -timeout 18m $(TESTFLAGS) $(LABS)
test-raced:
	@$(SKIP) GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -race -vet=off -p $(HALF) -timeout 15m $(TESTFLAGS) $(RACED)
test-rest:
	@$(SKIP) SWERVE_RACED=1 GO=$(GO) ./testenv/run-tests -vet=off -p $(HALF) -timeout 15m $(TESTFLAGS) $(REST)

.PHONY: test-field
test-field: ## run the tests on machines that somebody else has set up, 200 of them
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 30m $(TESTFLAGS) -parallel 8 ./testenv/field -field.machines 200

.PHONY: test-loads
test-loads: ## fill an uplink by uploads and downloads over queues of up to 4 s, for ten minutes each
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 60m -v $(TESTFLAGS) ./testenv/system -run '^TestLoad(s|OnOneFamily)$$' -loads 10m

.PHONY: test-configs
test-configs: ## apply 300 random configurations to a kernel, by the daemon and by its plan (some 8 minutes)
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 60m -v $(TESTFLAGS) ./daemon -run '^TestRandomConfigurations$$' -configs 300

.PHONY: test-block
test-block: ## break and mend the uplinks 200 times under load, and look for packets of a policy that blocks by the wrong one (some 6 minutes)
	@./testenv/need $(COMPILER) $(WITNESSES)
	@GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 30m -v $(TESTFLAGS) ./testenv/system -run '^TestBlockLeaksNothing$$' -switches 200

.PHONY: test-others
test-others: ## run the tests beside Docker, firewalld, FRR and others, which are downloaded, not installed (some 10 minutes)
	@./testenv/need $(COMPILER) $(WITNESSES)
	@programs=$$(./testenv/others/programs) && \
	GO=$(GO) CGO_ENABLED=1 ./testenv/run-tests -count=1 -timeout 30m -v $(TESTFLAGS) ./testenv/others -others.programs $$programs

.PHONY: test-vm test-vm-canary
RELEASES ?= trixie bookworm
test-vm: ## run the package on Debian in a virtual machine (images on first use; some 40 minutes a release)
	@$(VMTEST) -timeout 240m $(TESTFLAGS) ./testenv/vm -vm.packages $(abspath $(DIST)/vm) -vm.renew 10m -vm.debian "$(RELEASES)"

test-vm-canary: ## the same, short: boot, install, one failover, purge (two minutes once the image is there)
	@$(VMTEST) -timeout 15m -run TestCanary $(TESTFLAGS) ./testenv/vm -vm.packages $(abspath $(DIST)/vm) -vm.debian trixie

# Two builds of the package: an upgrade goes from the first to the second.
VMTEST = ./testenv/need qemu-system-x86 debootstrap e2fsprogs wireguard-go wireguard-tools && rm -rf $(DIST)/vm && \
	$(MAKE) --no-print-directory packages ARCHES=amd64 DIST=$(DIST)/vm VERSION=0.0.1 >/dev/null && \
	$(MAKE) --no-print-directory packages ARCHES=amd64 DIST=$(DIST)/vm VERSION=0.0.2 >/dev/null && \
	./testenv/as-root $(GO) test -count=1 -v

.PHONY: chaos soak
chaos: bin/swerve-instrumented ## break a gateway at random for five minutes, and watch that it holds (CHAOSFLAGS="-seed 7 -for 3m")
	@./testenv/as-root ./bin/chaos -swerve ./bin/swerve-instrumented -instrumented $(CHAOSFLAGS)

soak: bin/swerve-instrumented ## break links and routes under traffic for an hour, and watch that nothing grows (SOAKFLAGS="-for 20m")
	@./testenv/as-root ./bin/chaos -swerve ./bin/swerve-instrumented -instrumented -soak -for 1h $(SOAKFLAGS)

# The daemon with a wall clock that can be set: testenv/chaos/instrument.go.
.PHONY: bin/swerve-instrumented
bin/swerve-instrumented:
	@./testenv/need iproute2 nftables conntrack
	@$(GO) build -trimpath -o bin/chaos ./testenv/chaos
	@./bin/chaos -write-overlay bin/overlay
	@$(GO) build -trimpath -overlay bin/overlay/overlay.json -o $@ ./cmd/swerve

.PHONY: fuzz
FUZZTIME ?= 1m
FUZZ     ?= Fuzz
fuzz: ## fuzz each target for a minute (FUZZTIME=10m, FUZZ=FuzzParse for one)
	@grep -rHo '^func $(FUZZ)[A-Za-z0-9]*' --include='*_test.go' . | sort | while IFS=: read -r file target; do \
		echo "$${file%/*} $${target#func }"; \
		$(GO) test "$${file%/*}" -run '^$$' -fuzz "^$${target#func }\$$" -fuzztime $(FUZZTIME) $(FUZZFLAGS) </dev/null || exit 1; \
	done

.PHONY: bench bench-short bench-tables
bench: bin/bench ## measure every figure, with the tables in the documents (two hours; wants a quiet machine; BENCHFLAGS=-go-on goes on where it was ended)
	@status=0; $(BENCH) -out docs/bench.json $(BENCHFLAGS) || status=$$?; \
		$(MAKE) --no-print-directory bench-tables && exit $$status

bench-short: bin/bench ## the same with few runs, into bench.json (five minutes)
	@$(BENCH) -short -out bench.json

bench-tables: bin/bench ## make the tables in the documents of docs/bench.json
	@./bin/bench -tables docs/bench.json

BENCH = ./testenv/need $(PEERS) && ./testenv/as-root ./bin/bench -swerve ./bin/swerve -software $(VERSION)

.PHONY: simulate
simulate: ## play days of real links to the engine, with the table in docs/DECISION.md (a few minutes; SIMULATEFLAGS='-days 30')
	@$(GO) run ./testenv/profiles -write docs/DECISION.md $(SIMULATEFLAGS)

.PHONY: protocols
protocols: bin/swerve ## play real protocols over events of an uplink, with the tables in docs/SESSIONS.md (four minutes)
	@$(GO) build -trimpath -o bin/protocols ./testenv/protocols
	@./testenv/need $(WITNESSES)
	@status=0; ./testenv/as-root ./bin/protocols -swerve ./bin/swerve -software $(VERSION) -out bin/sessions.json || status=$$?; \
		./bin/protocols -tables bin/sessions.json && exit $$status

.PHONY: bin/bench
bin/bench: bin/swerve
	@$(GO) build -trimpath -o $@ ./testenv/bench

.PHONY: lint
lint: ## gofmt, vet, staticcheck, floors and function lengths
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "lint: the files above are not gofmt's" >&2; exit 1; }
	@$(GO) vet ./...
	@$(TOOL) staticcheck ./...
	@$(GO) test -count=1 ./testenv/lint

# The largest that a stripped binary may be, in bytes.
LARGEST  = 15728640
# Without vcs data of Go's own: it depends on how and where the tree was checked out.
GOBUILD  = $(GO) build -trimpath -buildvcs=false $(LEAN) -ldflags '$(LDFLAGS)'

# What make puts beside the binaries for packages and install: completions, manual
# pages, and Debian's changelog.
.PHONY: generated
generated: export CGO_ENABLED = 0
generated:
	@mkdir -p $(DIST)/host/man
	@$(GOBUILD) -o $(DIST)/host/swerve ./cmd/swerve
	@for shell in bash zsh fish; do $(DIST)/host/swerve completion $$shell >$(DIST)/host/swerve.$$shell || exit 1; done
	@SOURCE_DATE_EPOCH=$(EPOCH) $(DIST)/host/swerve man $(DIST)/host/man
	@gzip -9nf $(DIST)/host/man/*.[58]
	@printf 'swerve (%s) unstable; urgency=medium\n\n  * Build of commit %s.\n\n -- %s  %s\n' '$(VERSION)' '$(COMMIT)' \
		'$(MAINTAINER)' "$$(LC_ALL=C date -u -R -d @$(EPOCH))" | gzip -9n >$(DIST)/host/changelog.gz

MAINTAINER ?= The Swerve authors <swerve@localhost>

.PHONY: packages
packages: export CGO_ENABLED = 0
packages: generated ## build the deb and rpm packages into dist/ (of one machine: ARCHES=amd64)
	@for arch in $(ARCHES); do \
		case $$arch in amd64|arm64|armv7|riscv64) ;; *) echo "packages: there is none for $$arch: amd64, arm64, armv7 or riscv64" >&2; exit 1 ;; esac; \
		mkdir -p $(DIST)/$$arch && \
		case $$arch in armv7) goarch=arm name=arm7 ;; *) goarch=$$arch name=$$arch ;; esac && \
		GOARCH=$$goarch GOARM=7 $(GOBUILD) -o $(DIST)/$$arch/swerve ./cmd/swerve || exit 1; \
		test $$(stat -c %s $(DIST)/$$arch/swerve) -le $(LARGEST) || { echo "packages: the binary for $$arch is over 15 MiB" >&2; exit 1; }; \
		for format in deb rpm; do \
			ARCH=$$name BUILT=$(DIST)/$$arch VERSION='$(VERSION)' DIST=$(DIST) MAINTAINER='$(MAINTAINER)' SOURCE_DATE_EPOCH=$(EPOCH) \
			$(TOOL) nfpm package --config packaging/nfpm.yaml --packager $$format --target $(DIST)/ || exit 1; \
		done || exit 1; \
	done

# What install puts where: mode, source, destination.
define INSTALLED
755 $(DIST)/host/swerve /usr/bin/swerve
644 packaging/swerve.service /usr/lib/systemd/system/swerve.service
644 packaging/swerve.sysusers /usr/lib/sysusers.d/swerve.conf
644 packaging/swerve.tmpfiles /usr/lib/tmpfiles.d/swerve.conf
644 config/reference.yaml /usr/share/doc/swerve/reference.yaml
644 packaging/networkd.conf /usr/share/doc/swerve/networkd.conf
644 packaging/README.md /usr/share/doc/swerve/README.md
644 docs/OPERATION.md /usr/share/doc/swerve/OPERATION.md
644 docs/SESSIONS.md /usr/share/doc/swerve/SESSIONS.md
644 docs/DECISION.md /usr/share/doc/swerve/DECISION.md
644 docs/API.md /usr/share/doc/swerve/API.md
644 LICENSE /usr/share/doc/swerve/LICENSE
644 $(DIST)/host/swerve.bash /usr/share/bash-completion/completions/swerve
644 $(DIST)/host/swerve.zsh /usr/share/zsh/site-functions/_swerve
644 $(DIST)/host/swerve.fish /usr/share/fish/vendor_completions.d/swerve.fish
endef
export INSTALLED

.PHONY: install uninstall
install: generated ## install what the packages hold, under DESTDIR; a configuration that exists stays
	@echo "$$INSTALLED" | while read -r mode from to; do install -D -m $$mode "$$from" "$(DESTDIR)$$to" || exit 1; done
	@for page in $(DIST)/host/man/*.gz; do \
		section=$${page%.gz} && install -D -m 644 "$$page" "$(DESTDIR)/usr/share/man/man$${section##*.}/$${page##*/}" || exit 1; done
	@test -e "$(DESTDIR)/etc/swerve/swerve.yaml" || install -D -m 644 packaging/swerve.yaml "$(DESTDIR)/etc/swerve/swerve.yaml"
	@echo 'next$(if $(DESTDIR), where $(DESTDIR) becomes the root): systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && systemctl enable --now swerve'

uninstall: ## remove what install put under DESTDIR; a configuration that was changed stays
	@test -n "$(DESTDIR)" || sh packaging/preremove.sh 0
	@echo "$$INSTALLED" | while read -r mode from to; do rm -f "$(DESTDIR)$$to" || exit 1; done
	@rm -f "$(DESTDIR)"/usr/share/man/man8/swerve.8.gz "$(DESTDIR)"/usr/share/man/man8/swerve-*.8.gz "$(DESTDIR)"/usr/share/man/man5/swerve.yaml.5.gz
	@! cmp -s packaging/swerve.yaml "$(DESTDIR)/etc/swerve/swerve.yaml" || rm -f "$(DESTDIR)/etc/swerve/swerve.yaml"
	@rmdir "$(DESTDIR)/usr/share/doc/swerve" "$(DESTDIR)/etc/swerve" 2>/dev/null || true

.PHONY: clean
clean: ## delete what was built
	@rm -rf bin dist

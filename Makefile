# Everything is two commands: `make demo` shows the main job, `make test` proves it.
# Both install what they need from Debian's packages when run as root there, and otherwise say
# exactly what is missing. On NixOS: `nix develop`, then the same commands; `nix flake check` runs
# the VM tests.

CARGO ?= cargo
HOST_CRATE := autodeploy-testhost
BOOT_CRATE := autodeploy-testboot
PROGRAMS := autodeployd autodeploy-activate autodeployctl
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))

# One process per test where cargo-nextest is installed; plain `cargo test` does as well.
ifneq ($(shell command -v cargo-nextest),)
RUN_TESTS := $(CARGO) nextest run
else
RUN_TESTS := $(CARGO) test
endif

.PHONY: help demo test test-unit test-host test-boot lint bench soak mutants fuzz audit requirements clean-hosts

help:
	@echo 'make demo         boot a host and watch pushes being kept and reverted'
	@echo 'make demo KEEP=1  the same, and leave the host running to look around'
	@echo 'make test         everything: formatting, lints, unit, integration and host tests'
	@echo 'make test-unit    without the booted hosts'
	@echo 'make test-host    only the booted hosts'
	@echo 'make test-boot    real boot loaders in qemu: boot trials, panics, hangs, power cuts'
	@echo 'make soak         the long proofs: 100,000 simulated stories, interruptions of booted hosts'
	@echo 'make mutants      is every line that decides tested? (hours)'
	@echo 'make fuzz         everything that reads what others wrote, for a minute each: FUZZ_SECONDS=N FUZZ=TARGET'
	@echo 'make audit        known holes, licences and sources of all dependencies (needs the network)'
	@echo 'make bench        how small and how fast, as a table and in target/bench/results.json'

requirements:
	@tests/host/install-requirements

demo: requirements
	$(CARGO) build --release
	$(CARGO) run --quiet --release --package $(HOST_CRATE) --bin demo -- $(if $(KEEP),--keep)

# Tests beside the code and booted hosts in one run, because hosts mostly wait. They get what
# `cargo build` makes, from another folder: the tests' own programs of these names have more in them.
test: lint
	$(CARGO) build
	mkdir -p $(TARGET)/product
	cp --link --force $(PROGRAMS:%=$(TARGET)/debug/%) $(TARGET)/product
	AUTODEPLOY_BIN_DIR=$(TARGET)/product AUTODEPLOY_HOST_QUICK=1 \
		$(RUN_TESTS) --package autodeploy --package $(HOST_CRATE)

lint: requirements
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --no-default-features --features activator --bin autodeploy-activate -- --deny warnings
	$(CARGO) clippy --no-default-features --features client --bin autodeployctl -- --deny warnings
	$(CARGO) clippy --no-default-features --features agent --bin autodeployd -- --deny warnings
	@if command -v cargo-deny >/dev/null; then \
		$(CARGO) deny --offline check bans licenses sources; \
	else \
		echo 'cargo-deny is not installed: licences and sources are held by tests/architecture'; \
	fi

test-unit: requirements
	$(RUN_TESTS) --package autodeploy

test-host: requirements
	$(CARGO) build
	AUTODEPLOY_HOST_QUICK=1 $(RUN_TESTS) --package $(HOST_CRATE)

test-boot: requirements
	@tests/boot/install-requirements
	$(CARGO) build
	$(RUN_TESTS) --package $(BOOT_CRATE)

bench: requirements
	$(CARGO) build --release
	$(CARGO) run --quiet --release --package $(HOST_CRATE) --bin bench

# The parts write what they measured into target/soak/parts; the table merges them, also when one
# of them failed. SIMULATED_RUNS=N and SOAK_ARGUMENTS='--interruptions N' make it shorter.
SIMULATED_RUNS ?= 100000
SOAK_PARTS := $(TARGET)/soak/parts

soak: requirements
	rm -rf $(SOAK_PARTS)
	$(CARGO) build --release
	failed=0; \
	SOAK_PARTS=$(SOAK_PARTS) SIMULATED_RUNS=$(SIMULATED_RUNS) \
		$(CARGO) test --profile soak --lib -- simulation:: --nocapture || failed=1; \
	$(CARGO) run --release --package $(HOST_CRATE) --bin soak -- $(SOAK_ARGUMENTS) || failed=1; \
	$(CARGO) run --quiet --release --package $(HOST_CRATE) --bin soak-table || failed=1; \
	exit $$failed

# In shards, so that one that was ended is not lost: MUTANTS=3/16 is one of them.
MUTANTS ?= 0/1

mutants:
	@command -v cargo-mutants >/dev/null || { echo 'cargo-mutants is missing: cargo install --locked cargo-mutants'; exit 1; }
	mkdir -p target/mutants/$(subst /,-of-,$(MUTANTS))
	$(CARGO) mutants --gitignore true --shard $(MUTANTS) --jobs 1 --output target/mutants/$(subst /,-of-,$(MUTANTS))

# With the stable toolchain; FUZZ='record control' is two targets, FUZZ_SECONDS is processor time.
FUZZ_SECONDS ?= 60

fuzz: requirements
	FUZZ_SECONDS=$(FUZZ_SECONDS) CARGO=$(CARGO) fuzz/run $(FUZZ)

# The advisories are a Git repository on the Internet, which is why `make test` does without.
audit:
	@command -v cargo-deny >/dev/null || { echo 'cargo-deny is missing: cargo install --locked cargo-deny'; exit 1; }
	$(CARGO) deny check
	$(CARGO) deny --manifest-path ./fuzz/Cargo.toml --config $(CURDIR)/deny.toml check advisories

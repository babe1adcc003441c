# Names for what scripts/ and test/ do. Everything runs as root on Debian, and needs only this repository.
SHELL := /bin/bash
NODE := node_modules/.bin/node
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help release docs docs-test demo demo-up demo-down demo-shell test check build generate fix test-e2e bench bench-guest bench-claims bench-copies bench-scale fuzz fuzz-keep test-faults test-faults-fast test-k8s-storage test-long prerequisites machine clean

help:
	@echo 'make demo        a claim becomes an AoE disk, on a three-node cluster on this machine'
	@echo 'make demo-up     start that cluster and leave it running      make demo-down   stop it'
	@echo 'make demo-shell  a shell with kubectl and helm for it'
	@echo 'make test        all tests                                    make check       types, lint, unit tests'
	@echo 'make test-e2e    the end-to-end tests, on the running cluster if there is one'
	@echo 'make test-faults random faults: SEED (1), STEPS (100), ONLY (a kind); on the running cluster if there is one'
	@echo 'make test-faults-fast  the same with STEPS (1000), with real programs and fake hosts instead of a cluster'
	@echo 'make test-k8s-storage  Kubernetes'\'' own tests of storage drivers, ONLY (a word), MINUTES (600); goes on where it ended'
	@echo 'make test-long   what is too long for make test, ONLY (a part), MINUTES (600); goes on where it ended (see docs/long-tests.md)'
	@echo 'make bench       speed and cost of the target and of others    (see docs/performance.md)'
	@echo 'make bench-claims  how fast claims and pods are served on the cluster (see docs/performance.md)'
	@echo 'make bench-copies  how fast copies are, and what they cost     (see docs/performance.md)'
	@echo 'make bench-scale   what our programs need with many volumes    (see docs/performance.md)'
	@echo 'make fuzz        hostile frames for the target, SECONDS (60)   (see docs/fuzzing.md)'
	@echo 'make build       dist/: the programs                          make generate    CRDs, RPC code, reference pages'
	@echo 'make release     dist/release/: image, chart, bill of materials; PLATFORMS  (see docs/releasing.md)'
	@echo 'make docs        dist/docs/site/: the documentation as a site  make docs-test   the same, and looks at it in a browser'
	@echo 'make fix         format, and fix what lint can fix            make clean       remove what was built'

demo: machine
	@$(NODE) test/demo/main.ts story

demo-up: machine
	@$(NODE) test/demo/main.ts up

demo-down:
	@$(NODE) test/demo/main.ts down

demo-shell:
	@$(NODE) test/demo/main.ts shell

# On its own cluster: the cluster of demo-up is not touched.
test:
	@scripts/prerequisites cluster test
	@AOE_CSI_CLUSTER=test $(NODE) scripts/test.ts all

check: prerequisites
	@$(NODE) scripts/test.ts check

test-e2e: machine
	@$(NODE) scripts/test.ts e2e

test-faults: machine
	@STEPS=$(or $(STEPS),100) SEED=$(or $(SEED),1) $(NODE) scripts/test.ts faults

test-faults-fast: prerequisites
	@STEPS=$(or $(STEPS),1000) SEED=$(or $(SEED),1) $(NODE) scripts/test.ts faults-fast

# Hours, when all is to run. Results are kept in the cache, and printed as the tables of docs/kubernetes.md.
test-k8s-storage: machine
	@$(NODE) test/k8s-storage/main.ts

# ONLY: name of a part; MINUTES: after which no other part begins. Results are kept in docs/long-tests.md.
test-long: machine
	@$(NODE) scripts/long/main.ts

# LOADS: words that select loads; ROUNDS; SECONDS of each; GGAOED: path of a ggaoed to measure, too.
bench: build
	@$(NODE) test/bench/main.ts

# The same through Linux's drivers in a guest, compared with nbdkit and tgt, too. ROUNDS; PEERS: names of targets.
bench-guest: build
	@scripts/prerequisites cluster bench
	@$(NODE) test/bench/guest/main.ts

# Variables: N (objects at once), ROUNDS, POOLS, PATIENCE (seconds).
bench-claims: machine
	@$(NODE) test/bench/claims/main.ts

# The copier beside dd, in a guest. Variables: ROUNDS.
bench-copies: build
	@scripts/prerequisites cluster
	@$(NODE) test/bench/copies/main.ts

# Variables: HERE, ELSEWHERE (volumes on the measured node, and on others), SETTLE (seconds of rest before memory is read).
bench-scale: build
	@$(NODE) test/bench/scale/main.ts

# SECONDS for each of the two entry points.
fuzz:
	@scripts/prerequisites fuzz
	@SECONDS=$(or $(SECONDS),60) $(NODE) scripts/fuzz.ts

# Writes the smallest set of inputs that reaches the same code into the repository.
fuzz-keep:
	@scripts/prerequisites fuzz
	@$(NODE) scripts/fuzz.ts keep

build: prerequisites
	@$(NODE) scripts/build.ts
	@cargo build --release --locked

# REPOSITORY: where the image will be pulled from. PLATFORMS: "amd64 arm64" for both; that of this machine by default.
release: build
	@$(NODE) scripts/release/main.ts

docs:
	@scripts/prerequisites docs
	@$(NODE) scripts/docs/build.ts

docs-test:
	@scripts/prerequisites docs-test
	@$(NODE) scripts/test.ts docs

generate: prerequisites
	@$(NODE) api/schema/generate.ts
	@$(NODE) rpc/generate.ts
	@$(NODE) scripts/docs/generate.ts

fix: prerequisites
	@biome check --write .
	@cargo fmt

prerequisites:
	@scripts/prerequisites

# The prerequisites, and a check that this machine can run the guests.
machine:
	@scripts/prerequisites cluster

clean:
	rm -rf dist rpc/gen

# Two commands for newcomers: `make demo` and `make test`. Both are safe to run again.
# All paths are relative, so the folder's own path may hold spaces.

PYTHON := $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
BIN := .venv/bin
INSTALL := .ci/install.py
VOICE := $(wildcard setup.py host/voice/core/*.[ch] host/midi/core/*.[ch])
COMPILED := gcc libc6-dev lv2-dev dpf-source
SYSTEM := libportaudio2 jackd2 fluidsynth fluid-soundfont-gm zam-plugins chromium-headless-shell firefox-esr \
	$(COMPILED) g++ pkg-config liblilv-dev lilv-utils sordi jalv strace

# Without Python's bytecode each process would compile the package and rewrite the tests for itself, in 12 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo plugin test lint types tests slow realtime bench mutants fuzz ab extras lowest system clean

demo: .venv/base.done
	@$(BIN)/python -m timbrel demo --overwrite

# The plugins for DAWs, which 'timbrel plugin install' installs.
plugin:
	@echo "== compiling the plugins"
	@$(MAKE) --no-print-directory --keep-going -C host/plugin/native || { \
		missing=; for p in $(COMPILED); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
		echo "not all plugins could be compiled; $${missing:+not installed, as Debian calls them:}$${missing:-see above}" >&2; \
		exit 2; }

test: lint types tests

lint: .venv/dev.done
	@echo "== lint"
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check --quiet .

types: .venv/dev.done .types/timbrel
	@echo "== types"
	@$(BIN)/python -m mypy

# One thread each: torch's threads wait for each other in spins, which a busy machine punishes. One process more than
# processors, for many tests wait. Four at the most: each holds torch and a gigabyte, and JACK has room for the names of
# eight servers.
tests: .venv/dev.done system
	@echo "== tests (left out: long ones, make slow; those that want the machine for themselves, make realtime)"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(PROCESSES) --dist worksteal -m "not slow and not realtime"

slow: .venv/dev.done system
	@$(BIN)/python -m pytest -q -m slow

# A process for each file: JACK's library does not forget a server that a test has killed.
realtime: .venv/dev.done system
	@files=$$(grep -rlE '^@(pytest\.mark\.)?realtime' tests --include='test_*.py') || { echo "no test is marked realtime"; exit 1; }; \
		failed=0; for file in $$files; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m realtime $$file || failed=1; done; exit $$failed

bench: .venv/dev.done
	@for name in engine gesture grain clip live latency offline process training gan busy startup sound pitch phase texture \
		stream mesh map panel nn plugin onset levels notes workers peer offline_peer wasm neon; do \
		echo "== $$name"; $(BIN)/python tests/bench/$$name.py || exit 1; done

# Changes some modules in one place at a time, and names each change that no test notices and that is not accepted.
mutants: .venv/mutants.done
	@$(BIN)/python tests/mutants/mutants.py

# A thousand fresh examples for each property test; a failure that they find stays as its @example. Then ten thousand
# damaged files, given to the commands that read them: each must end in a line, in time, in little memory.
fuzz: .venv/dev.done
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal --timeout 3600 \
		--hypothesis-profile fresh -m "hypothesis and not slow and not realtime"
	@$(BIN)/python tests/fuzz/fuzz.py

# Sounds and pictures of each phase method, in docs/internals/ab.
ab: .venv/dev.done system
	@$(BIN)/python tests/bench/ab.py

# Every command and public name, with the base alone and with an extra, each in an environment of its own.
extras: .venv/dev.done
	@rm -rf build/extras && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/extras .
	@failed=0; for extra in "" live panel train; do \
		echo "== base $$extra"; $(PYTHON) -m venv "build/extras/env-$$extra"; \
		PATH="$$PWD/$(BIN):$$PATH" "build/extras/env-$$extra/bin/python" $(INSTALL) \
			"timbrel$${extra:+[$$extra]} @ $$(echo build/extras/timbrel-*.whl)" || exit 1; \
		(mkdir "build/extras/home-$$extra"; cd "build/extras/home-$$extra"; HOME="$$PWD" XDG_DATA_HOME="$$PWD/data" \
			OMP_NUM_THREADS=1 "../env-$$extra/bin/python" ../../../tests/extras/attempts.py $$extra) || failed=1; \
	done; exit $$failed

# All tests with the lowest versions that pyproject.toml declares, then with today's newest. The tests' own tools are new.
# torch comes first: of a version's wheels, those for the processor alone count as higher than those for GPUs.
LOWEST := --requirements pyproject.toml $(patsubst %,--extra %,train live panel phone hub scale tables remote judge)
lowest: .venv/dev.done system
	@rm -rf build/lowest build/newest && failed=0; for versions in lowest newest; do \
		echo "== $$versions versions"; $(PYTHON) -m venv build/$$versions; python=build/$$versions/bin/python; \
		export PATH="$$PWD/$(BIN):$$PATH"; \
		[ $$versions = newest ] || { $$python $(INSTALL) torch && \
			$$python $(INSTALL) --resolution lowest-direct $(LOWEST); } || exit 1; \
		$$python $(INSTALL) --editable '.[dev]' || exit 1; \
		OMP_NUM_THREADS=1 $$python -m pytest -q -n $(PROCESSES) --dist worksteal -m "not slow and not realtime" \
			|| failed=1; \
	done; exit $$failed

system:
	@missing=; for p in $(SYSTEM); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "== installing$$missing"; \
		apt-get update -qq >/dev/null 2>&1; \
		for p in $$missing; do \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$p >/dev/null 2>&1 \
				|| echo "could not install $$p: tests that need it are skipped"; \
		done; \
	else echo "not installed:$$missing; tests that need them are skipped"; fi

.venv/python.done:
	@if [ -z "$(PYTHON)" ]; then echo "timbrel needs Python 3.11 or newer; install it first" >&2; exit 2; fi
	@echo "== making a virtual environment in .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/base.done: .venv/python.done pyproject.toml constraints.txt $(INSTALL) $(VOICE)
	@echo "== installing timbrel"
	@$(BIN)/python $(INSTALL) --editable '.[picture]'
	@touch $@

.venv/dev.done: .venv/python.done pyproject.toml constraints.txt $(INSTALL) $(VOICE)
	@echo "== installing timbrel and what its tests need (the first time takes minutes)"
	@if [ "$$(uname)" = Linux ] && ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
		echo "   torch is large: on Linux PyPI's brings 5 GB of libraries for GPUs with it; a wheel for the processor"; \
		echo "   alone does without them: put it into a folder, and PIP_FIND_LINKS=FOLDER make test takes it"; fi
	@$(BIN)/python $(INSTALL) --editable '.[dev]'
	@$(BIN)/python $(INSTALL) --only-binary dawdreamer dawdreamer 2>/dev/null \
		|| echo "could not install dawdreamer: tests in this host of plugins are skipped"
	@$(BIN)/python $(INSTALL) --only-binary zimtohrli zimtohrli 2>/dev/null \
		|| echo "could not install zimtohrli: tests of this judge of sounds are skipped"
	@npm install --prefix build/js --no-audit --no-fund --fetch-retries 0 onnxruntime-web >/dev/null 2>&1 \
		|| echo "could not install onnxruntime-web: tests of docs/js with it are skipped"
	@NUMBA_CACHE_DIR=.venv/numba/installed $(BIN)/python -c 'import librosa.core.pitch, librosa.util.utils'  # compiles
	@touch $@ .venv/base.done

.venv/mutants.done: .venv/dev.done
	@$(BIN)/python $(INSTALL) --editable '.[mutants]'
	@touch $@

.types/timbrel:
	@mkdir -p .types && ln -sfn .. .types/timbrel

clean:
	rm -rf .venv .types build *.egg-info demo.wav demo.png

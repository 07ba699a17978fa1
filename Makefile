# Two commands: `make demo` and `make test`. Both install what they need, from locked packages, into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CORE := backup/errors.py,backup/schedule.py,backup/crypto/*,backup/evidence/*.py,backup/repository/*.py,backup/postgres/parts.py,backup/postgres/globals.py,backup/postgres/conninfo.py,backup/postgres/dsn.py,backup/postgres/commands.py

# As many processes as there are cores; tests/conftest.py says which gets what, and in which order.
PARALLEL ?= --numprocesses=auto --dist=loadfile --no-loadscope-reorder
# Tests start our programs a thousand times: compiling them each time would take a third of all.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check coverage unit unit-one-half unit-other-half faults soak lock bench clean

demo: $(READY)
	$(BIN)/strongroom demo

test: $(READY)
	$(BIN)/pytest $(PARALLEL) $(PYTEST_FLAGS)

# While you work: ten seconds, with few examples of what chance decides; CI tries more of them. Two
# processes that know nothing of each other, as each of a pool's would have to read all the tests.
# Their files lie in memory, where there is a place for that: no power cut is to be outlived here.
HALF := $(foreach part,crypto deploy evidence,tests/unit/$(part) tests/property/$(part)) tests/unit/postgres
FEW := EFFORT=few TMPDIR=$(firstword $(wildcard /dev/shm) /tmp) $(BIN)/pytest --quiet --numprocesses=0 --randomly-dont-reset-seed

unit: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit-one-half unit-other-half

unit-one-half:
	@$(FEW) $(HALF)

unit-other-half:
	@$(FEW) $(HALF:%=--ignore=%) tests/unit tests/property

# The pure core must be covered whole, branches too, by the tests that do no I/O and leave nothing
# to chance: what only a drawn example reaches is covered on some days.
coverage: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -p no:randomly $(PARALLEL) tests/unit
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=100 --show-missing --skip-covered --include='$(CORE)'

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks

# What was broken on purpose, and what is large, with the numbers of docs/reliability.md: many hours.
faults: $(READY)
	FAULTS=full $(BIN)/pytest tests/faults tests/integration/round_trip/test_sizes.py --timeout=14400

# Three hundred days of the daemon, with kills, store errors and server restarts: half an hour.
soak: $(READY)
	$(BIN)/python -m tests.soak $(SOAK_FLAGS)

# Takes the newest versions that pyproject.toml allows and writes them down with their hashes.
lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra embedded --extra deploy --group dev -o requirements/dev.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/run.txt pyproject.toml

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries=10 --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

clean:
	rm -rf .venv demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis

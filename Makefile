# make demo    set up what is missing and run the demo          (make demo ARGS="--demand FILE")
# make test    set up what is missing, check types and style, run all tests; new random examples:
#              make test ARGS=--hypothesis-profile=explore
# make bench   run the benchmarks, one JSON line each           (make bench ONLY=controller)
# make deb     build the Debian package of a site's agent in dist/

PYTHON ?= python3
export OPENBLAS_NUM_THREADS = 1
# The tests start the controller more than a hundred times: it is not to be compiled each time.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
SETUP := $(shell sha256sum setup.cfg scripts/setup.sh | sha256sum | cut -c1-12)
# The demo needs less than the tests do: PyTorch and Ray are large.
READY_LAB := $(VENV)/.ready-lab-$(SETUP)
READY := $(VENV)/.ready-dev-$(SETUP)

.PHONY: demo test check bench deb clean

demo: $(READY_LAB)
	@$(BIN)/lockstitch demo $(ARGS)

# Two processes share two cores or more: threads of PyTorch that wait for each other would only be in the way.
test: export OMP_NUM_THREADS = 1
test: $(READY) check
	@$(BIN)/pytest -n 2 $(ARGS)

check: $(READY)
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary

bench: $(READY)
	@$(BIN)/python -m benchmarks $(ONLY)

deb:
	@sh scripts/deb.sh

$(VENV)/.ready-%-$(SETUP): setup.cfg scripts/setup.sh
	@PYTHON=$(PYTHON) VENV=$(VENV) EXTRAS=$* sh scripts/setup.sh
	@touch $@ $(READY_LAB)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

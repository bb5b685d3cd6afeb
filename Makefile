# Two commands do everything on a fresh machine with Python 3.10 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
BOTH := -n 2 --dist loadscope --no-loadscope-reorder
# What is imported is compiled once for all processes, even where the environment says otherwise: half a minute for each.
export PYTHONDONTWRITEBYTECODE :=
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test check wording format bench fuzz model pictures clean

demo: $(VENV)/demo.stamp
	$(BIN)/layerscope demo -o demo-out

test: $(VENV)/test.stamp check-style frontend browser
	$(THREADS) $(BIN)/python -m pytest tests src $(BOTH) $(PYTEST)

# The tests of one backend as if no other framework were installed: `make test-torch`, `test-keras`, `test-onnx` …
test-%: $(VENV)/test.stamp
	$(THREADS) $(BIN)/python -m pytest --only $* tests/backends/$* $(PYTEST)

# What runs before each commit, in under two minutes: format, lint, types, and the tests that load no framework.
check: $(VENV)/test.stamp check-style frontend
	$(THREADS) $(BIN)/python -m pytest tests src -q --fast -m "not slow and not frameworks" $(BOTH) $(PYTEST)

.PHONY: check-style
check-style: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The viewer's front end; `cd frontend && npm run build` writes its bundles into the package.
.PHONY: frontend
frontend: $(VENV)/test.stamp
	frontend/check

# Chromium, in which the viewer is tested.
.PHONY: browser
browser:
	scripts/install_browser.sh

# Writes the golden files of messages and captions anew: `make wording`, or `make wording ONLY=tests/core` for some tests.
ONLY ?= tests
wording: $(VENV)/test.stamp
	$(THREADS) $(BIN)/python -m pytest $(ONLY) -q --renew-wording $(BOTH) $(PYTEST)

format: $(VENV)/test.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/test.stamp
	$(THREADS) $(BIN)/python -m bench $(BENCH)

# Damaged and hostile files for every reader: `make fuzz`, or `make fuzz TIME=60 SEED=7 ONLY=onnx,parsers`.
TIME ?= 300
SEED ?= 1
fuzz: ONLY =
fuzz: $(VENV)/test.stamp
	$(THREADS) $(BIN)/python -m fuzz --time $(TIME) --seed $(SEED) --only "$(ONLY)"

model: $(VENV)/test.stamp
	$(BIN)/python scripts/build_demo_model.py

# gallery/index.html has every kind of picture at the sizes at which people see it; the others are those of README and docs.
pictures: $(VENV)/test.stamp
	$(BIN)/python scripts/draw_gallery.py
	$(BIN)/python scripts/draw_guide.py
	$(BIN)/python scripts/draw_overlay_comparison.py
	$(BIN)/python scripts/draw_viewer.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	# A current pip resolves the pinned set of the tests in a third of the time.
	$(PIP) install --upgrade pip

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/python
	$(PIP) install -e '.[demo]'
	touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt requirements-test.txt | $(VENV)/bin/python
	$(PIP) install --no-compile -c constraints.txt -r requirements-test.txt -e '.[all]'
	# Without what it depends on: it names the `tensorflow` package, and tensorflow-cpu is the same module.
	$(PIP) install --no-compile -c constraints.txt --no-deps tf_keras
	touch $@ $(VENV)/demo.stamp

clean:
	rm -rf $(VENV) demo-out gallery build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

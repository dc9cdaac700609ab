# Every target sets up what it needs: a .venv with the versions of constraints.txt.
# uv is used when it is there, pip otherwise.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHONS := python3.13 python3.12 python3.11 python3.14 python3
CHECK := import sys; sys.exit(sys.version_info < (3, 11))
JOBS ?= 2

.PHONY: demo test slow check docs clean bench fuzz package sbom licences
.DEFAULT_GOAL := demo

demo: $(STAMP)
	@$(BIN)/lmd demo

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

slow: $(STAMP)
	@$(BIN)/python -m pytest -q -m slow

check: $(STAMP)
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/pyrefly check
	$(BIN)/pyrefly check --python-platform win32
	$(BIN)/pyrefly check --python-platform darwin
	$(BIN)/lint-imports --no-logo
	@$(BIN)/python packaging/audit.py

# The site of docs/, into site/: open site/index.html. A warning is an error.
docs: $(STAMP)
	@rm -rf site
	@OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -d .sphinx -c docs . site
	@echo "open site/index.html"

# BENCH="--runs 9 --large" or BENCH="--device cuda"; best on a machine that does nothing else.
bench: $(STAMP)
	@$(BIN)/python -m benchmarks $(BENCH)

# FUZZ="--inputs 500 --reader manifest --seed 7"; inputs that fail are kept in fuzz-found/.
fuzz: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --jobs $(JOBS) $(FUZZ)

# The wheel and the source archive, in dist/.
package: $(STAMP)
	@$(BIN)/python -m build --outdir dist .

# What is installed, as a bill of materials (CycloneDX): dist/sbom.json.
sbom: $(STAMP)
	@mkdir -p dist
	@$(BIN)/cyclonedx-py environment --of JSON -o dist/sbom.json $(BIN)/python
	@echo "dist/sbom.json: what is installed in $(VENV)"

# The licences of all that lmd needs: dist/licences.md, and here what is not permissive.
licences: $(STAMP)
	@mkdir -p dist
	@$(BIN)/python packaging/licences.py --all > dist/licences.md
	@$(BIN)/python packaging/licences.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .sphinx site lmd-demo

$(STAMP): pyproject.toml constraints.txt
	@python=; for name in $(PYTHONS); do \
	  if command -v $$name >/dev/null 2>&1 && $$name -c "$(CHECK)" 2>/dev/null; then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then echo "lmd needs Python 3.11 or newer; none was found" >&2; exit 2; fi; \
	echo "setting up $(VENV) with $$($$python --version) (torch is large: a few minutes)"; \
	if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --seed --allow-existing --python "$$(command -v $$python)" $(VENV) && \
	  uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  $$python -m venv $(VENV) && $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

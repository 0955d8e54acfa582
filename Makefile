# kmi: `make help` lists the targets.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
KMI := .venv/bin/kmi
DEMO := build/demo

.PHONY: help setup demo test test-all unit lint docs bench clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## install what kmi needs on this Debian machine (as root); a second run takes seconds
	@sh hack/setup.sh

demo: setup ## set up, then build, boot, sign and publish Debian 12 to the embedded registry, and verify it
	@sh hack/demo.sh

test: setup ## set up, then run the tests (under 45 minutes on 2 cores without KVM)
	@sh hack/test.sh

test-all: setup ## every test, and each fault and kill many times (hours); writes docs/faults.md
	@sh hack/test-all.sh

unit: setup ## the fast tests alone, without network
	@unshare --net sh -c 'ip link set lo up; exec $(PYTHON) -m pytest -q tests/unit'

lint: setup ## ruff, mypy, zizmor, actionlint
	@sh hack/lint.sh

docs: setup ## write the chart, the criteria and the images' pages anew from manifests and tables
	@$(PYTHON) hack/docs.py

bench: setup ## measure kmi against the usual tools; writes docs/performance.md
	@$(PYTHON) -m bench.pipeline

clean: ## remove the results (the cache and the environment stay)
	rm -rf build

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB ?= lab
SCENARIOS := efs_mount efs_client s3_sync webapp default
lab := python -m lab --lab='$(LAB)'

.PHONY: help lab lab-down lab-status test lint unit s3 docs sanity gallery store molecule acceptance bench-web bench-s3 requirements

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.venv/.ok: bootstrap.sh requirements/bootstrap.txt requirements/dev.txt
	@sh bootstrap.sh

lab: .venv/.ok ## start the lab and converge it (HOSTS=2 TRANSPORT=stunnel LAB=name EFS_UTILS_PACKAGE=FILE.deb)
	@$(lab) up $(if $(HOSTS),--hosts='$(HOSTS)') $(if $(TRANSPORT),--transport='$(TRANSPORT)') \
	  $(if $(EFS_UTILS_PACKAGE),--efs-utils-package='$(EFS_UTILS_PACKAGE)')
	@ansible-playbook -i "$$($(lab) inventory)" site.yml
	@$(lab) pictures
	@echo 'For ansible-playbook and ansible-doc here: . .venv/bin/activate'

lab-down: .venv/.ok ## remove the lab and every trace of it
	@$(lab) down

lab-status: ## print the lab as one JSON object
	@[ -e .venv/.ok ] || { echo '{}'; exit 1; }
	@$(lab) status

test: lint unit s3 docs sanity gallery store molecule ## everything that CI runs

lint: .venv/.ok ## style, and whether the modules run on Python 3.9
	yamllint --strict .
	ruff check . && ruff format --check .
	vermin --quiet --no-tips --target=3.9- --violations plugins/modules plugins/module_utils roles/webapp/files
	ansible-lint -q

unit: .venv/.ok ## unit tests
	pytest

s3: .venv/.ok ## s3_sync against a double of S3 that fails in every way
	pytest tests/s3

docs: .venv/.ok ## the documentation of modules, roles and filters, and the changelog
	antsibull-docs lint-collection-docs --plugin-docs .
	antsibull-changelog lint
	antsibull-changelog generate --output CHANGELOG.md && git diff --exit-code -- CHANGELOG.md

sanity: .venv/.ok ## ansible-test sanity on the collection as it is built
	bash tests/sanity.sh

gallery: .venv/.ok ## the reference app, its page in headless Chromium included
	@command -v chromium-browser google-chrome >/dev/null || python -c "from lab import engine; engine.install('chromium', 'chromium')"
	GALLERY_TESTS=all pytest tests/gallery

store: .venv/.ok ## S3 of the lab by itself, and the tools that people use on it
	@python -m lab prepare
	pytest tests/store

molecule: .venv/.ok ## the roles in containers, the whole site on real guests
	@python -m lab prepare
	@for scenario in $(SCENARIOS); do molecule test -s $$scenario; done

acceptance: .venv/.ok ## every bar that a command can judge, with its figure; an hour or more
	pytest tests/acceptance tests/faults

bench-web: .venv/.ok ## the site's speed on a running lab, as ratios against peers in the same run
	LAB=$(LAB) python tests/bench/web.py

bench-s3: .venv/.ok ## s3_sync against the tools people use (N=10000 SIZE=4096 RUNS=5 BIG=1024 PEERS="ours rclone")
	python tests/bench/s3.py

requirements: .venv/.ok ## lock requirements/dev.in anew
	.cache/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade -o requirements/dev.txt requirements/dev.in

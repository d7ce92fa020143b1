SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB ?= lab
ROLES := efs_mount efs_client s3_sync webapp
SCENARIOS := $(ROLES) default
lab := python -m lab --lab='$(LAB)'

.PHONY: help lab lab-down lab-status test lint unit s3 docs sanity gallery store molecule search acceptance bench-web bench-s3 requirements
.PHONY: app browser checks containers guests images pages

help: ## list what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.venv/.ok: bootstrap.sh requirements/bootstrap.txt requirements/dev.txt
	@sh bootstrap.sh

lab: .venv/.ok ## start the lab and converge it (HOSTS=2 TRANSPORT=stunnel STORAGE=efs LAB=name EFS_UTILS_PACKAGE=FILE.deb)
	@$(lab) up $(if $(HOSTS),--hosts='$(HOSTS)') $(if $(TRANSPORT),--transport='$(TRANSPORT)') \
	  $(if $(STORAGE),--storage='$(STORAGE)') $(if $(EFS_UTILS_PACKAGE),--efs-utils-package='$(EFS_UTILS_PACKAGE)')
	@ansible-playbook -i "$$($(lab) inventory)" $$($(lab) playbooks)
	@$(lab) pictures
	@echo 'For ansible-playbook and ansible-doc here: . .venv/bin/activate'

lab-down: .venv/.ok ## remove the lab and every trace of it
	@$(lab) down

lab-status: ## print the lab as one JSON object
	@[ -e .venv/.ok ] || { echo '{}'; exit 1; }
	@$(lab) status

# Three lanes run at the same time: scenarios in containers and on guests wait more than they work. The page's tests run
# alone: a browser breaks off what waits for a connection when a container's network comes or goes.
test: .venv/.ok ## everything that CI runs, with the seconds of each stage
	@mkdir -p .cache && rm -f .cache/stages
	@$(MAKE) --no-print-directory stage-lint stage-images
	@$(MAKE) --no-print-directory -j3 checks containers guests
	@$(MAKE) --no-print-directory stage-browser stage-pages
	@cat .cache/stages

stage-%:
	@begin=$$(date +%s); $(MAKE) --no-print-directory $*; printf '%5d s  %s\n' $$(($$(date +%s) - begin)) '$*' >>.cache/stages

checks: .venv/.ok
	@for stage in unit s3 docs sanity app; do $(MAKE) --no-print-directory stage-$$stage; done

containers: .venv/.ok
	@echo 'meanwhile in containers: $(ROLES:%=molecule-%), written to .cache/containers.log'
	@(for stage in $(ROLES:%=molecule-%); do $(MAKE) --no-print-directory stage-$$stage || exit; done) \
	  >.cache/containers.log 2>&1 || { cat .cache/containers.log; exit 1; }

guests: .venv/.ok
	@echo 'meanwhile on guests: molecule-default, then store, written to .cache/guests.log'
	@(for stage in molecule-default store; do $(MAKE) --no-print-directory stage-$$stage || exit; done) \
	  >.cache/guests.log 2>&1 || { cat .cache/guests.log; exit 1; }

lint: .venv/.ok ## style, words, types, and whether the modules run on Python 3.9
	yamllint --strict .
	python tests/words.py
	check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema -q --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	pre-commit validate-config
	ruff check . && ruff format --check .
	mypy
	vermin --quiet --no-tips --target=3.9- --violations plugins/modules plugins/module_utils roles/webapp/files
	ansible-lint -q

unit: .venv/.ok ## unit tests (`pytest` alone: these, and every component test that needs no Docker and no browser)
	pytest tests/unit

s3: .venv/.ok ## s3_sync against a double of S3 that fails in every way
	pytest tests/component/s3_sync

docs: .venv/.ok ## the documentation of modules, roles and filters, and the changelog
	antsibull-docs lint-collection-docs --plugin-docs .
	antsibull-changelog lint
	antsibull-changelog generate --output CHANGELOG.md && git diff --exit-code -- CHANGELOG.md

sanity: .venv/.ok ## ansible-test sanity on the collection as it is built
	bash tests/sanity.sh

browser: .venv/.ok
	@command -v chromium-browser google-chrome >/dev/null || python -c "from lab import engine; engine.install('chromium', 'chromium')"

images: .venv/.ok
	@python -m lab prepare

gallery: app pages ## the reference app, its page in headless Chromium included

app: .venv/.ok
	GALLERY_TESTS=all pytest tests/component/gallery

pages: browser
	GALLERY_TESTS=all pytest -m browser tests/component/gallery

store: images ## S3 of the lab alone, and the tools that people use on it
	pytest -m docker tests/component/store

molecule: $(SCENARIOS:%=molecule-%) ## the roles in containers, the whole site on real guests

molecule-%: images
	@rm -f .cache/molecule-failed
	@molecule test -s $* || { cat .cache/molecule-failed 2>/dev/null; exit 1; }

search: .venv/.ok ## the property-based tests with new examples (ROUNDS=20)
	for _round in $$(seq $(or $(ROUNDS),20)); do for of in unit component/s3_sync component/gallery; do \
	  pytest -m hypothesis --hypothesis-profile=default tests/$$of; done; done

acceptance: .venv/.ok search ## every target of the project that a command can judge, with its measured value; an hour or more
	pytest -m lab tests/acceptance tests/faults
	GALLERY_TESTS=all GALLERY_SHORT_LIVES=180 pytest tests/component/gallery/test_gallery_s3_credentials.py

bench-web: .venv/.ok ## the site's speed on a running lab, as ratios against peers in the same run
	LAB=$(LAB) python tests/bench/web.py
	LAB=$(LAB) python tests/bench/storages.py

bench-s3: .venv/.ok ## s3_sync against the tools people use (N=10000 SIZE=4096 RUNS=5 BIG=1024 PEERS="ours rclone" BEFORE=CHECKOUT)
	python tests/bench/s3.py

requirements: .venv/.ok ## update the lock of requirements/dev.in
	.cache/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --upgrade -o requirements/dev.txt requirements/dev.in

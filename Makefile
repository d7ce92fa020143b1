SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/.venv/bin:$(PATH)
LAB ?= lab
lab := python -m lab --lab $(LAB)

.PHONY: help lab lab-down lab-status

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

.venv/.ok: bootstrap.sh requirements/bootstrap.txt requirements/dev.txt
	@sh bootstrap.sh

lab: .venv/.ok ## start the lab and converge its servers onto one file system (HOSTS=2 TRANSPORT=stunnel LAB=name)
	@$(lab) up $(if $(HOSTS),--hosts $(HOSTS)) $(if $(TRANSPORT),--transport $(TRANSPORT)) \
	  $(if $(EFS_UTILS_PACKAGE),--efs-utils-package $(EFS_UTILS_PACKAGE))
	@ansible-playbook -i "$$($(lab) inventory)" site.yml

lab-down: .venv/.ok ## remove the lab and every trace of it
	@$(lab) down

lab-status: ## print the lab as one JSON object
	@[ -e .venv/.ok ] || { echo '{}'; exit 1; }
	@$(lab) status

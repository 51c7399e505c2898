# Turns a verb into the script that does it; see scripts/ for what each does.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down demo-helm image bbctl test check bench bench-ui lists scale sweep upgrade

help:
	@echo 'make demo       build, start a lab on this machine, apply examples/acme, show what came of it'
	@echo 'make demo-helm  the same by helm, with the controller in pods on a node of its own (as root)'
	@echo 'make demo-down  end the demos and remove their folders'
	@echo 'make image      the controller as a container image in a file, and what it is made of'
	@echo 'make bbctl      the command-line program as an archive, with man pages and completions'
	@echo 'make test       build and run every test; the last line counts them by level'
	@echo 'make check      format, lints, licences'
	@echo 'make bench      measure what docs/figures.md promises'
	@echo 'make bench-ui   the same of the dashboard, with 10,000 instances and 100 changes a second'
	@echo 'make lists      compare bbctl with kubectl over 1,000 instances'
	@echo 'make scale      the same with thousands of objects; ONLY=NAME for one scenario'
	@echo 'make sweep      kill the controller around every call that it makes in a life of a tenant'
	@echo 'make upgrade    from the commit before to this tree and back with 1,000 objects; FROM=REF'
	@echo
	@echo 'Caches lie in $${BB_CACHE:-~/.cache/bitbuilder}: a second clone is quick.'

demo:
	@scripts/demo.sh

demo-helm:
	@scripts/demo-helm.sh

demo-down:
	@scripts/demo-down.sh

image:
	@scripts/image.sh

bbctl:
	@scripts/bbctl.sh

test:
	@scripts/test.sh

check:
	@scripts/check.sh

bench:
	@scripts/bench.sh

bench-ui:
	@scripts/bench-ui.sh

lists:
	@scripts/lists.sh

scale:
	@scripts/scale.sh $(ONLY)

sweep:
	@scripts/sweep.sh

upgrade:
	@FROM=$(FROM) OBJECTS=$(OBJECTS) scripts/upgrade.sh

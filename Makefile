# The project's commands. `make help` lists them; what they do is in lab/driver, and what
# they need is provided by lab/provision.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PROVISION := lab/provision
CARGO := $(PROVISION)/cargo.sh
KERNEL ?= cloud
SECONDS ?= 60

# What cargo builds is kept with the rest, so that another clone builds the project only,
# and none of what it depends on.
export HCALL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hcall
export CARGO_TARGET_DIR ?= $(HCALL_CACHE)/cargo

# Linked statically: it may have been built in the toolchain's root, and runs outside.
LINUX := x86_64-unknown-linux-gnu
LAB := $(or $(CARGO_TARGET_DIR),target)/$(LINUX)/release/hcall-lab

# V=1 shows the whole output of everything that is run.
LAB_FLAGS := $(if $(filter 1,$(V)),--verbose)

.PHONY: help run build test test-slow fuzz bench suite api guide module deb fmt clean lab host-packages

## help: this list
help:
	@sed -n 's/^## /  make /p' $(firstword $(MAKEFILE_LIST))

## run: the first hypercall, from a unikernel, a kernel and a process
run: lab
	@$(LAB) $(LAB_FLAGS) run

## build: hcall-vmm and the examples' unikernels, into target/bin
build: lab
	@$(LAB) $(LAB_FLAGS) build

## test: every test of the project; STAGE=… only the stages with this in their name
test: lab
	@$(LAB) $(LAB_FLAGS) test $(if $(STAGE),'$(STAGE)')

## test-slow: of these the slowest alone: Linux as a guest on VMX, in an interpreter
test-slow: lab
	@$(LAB) $(LAB_FLAGS) test 'lab suite vmx-linux'

## fuzz: every fuzz target for SECONDS=60, two at a time; TARGET=… only those so named
fuzz: lab
	@$(LAB) $(LAB_FLAGS) fuzz --seconds '$(SECONDS)' $(if $(TARGET),'$(TARGET)')

## bench: what hypercalls cost; BASELINE=results.json compares, CHECK=1 fails if worse
bench: lab
	@$(LAB) $(LAB_FLAGS) bench $(if $(BASELINE),--baseline '$(BASELINE)') $(if $(filter 1,$(CHECK)),--check)

## suite NAME=…: one suite of lab/suites.toml
suite: lab
	@$(LAB) $(LAB_FLAGS) suite '$(NAME)'

## api: write docs/api, the public API of each crate, from the code
api: lab
	@$(LAB) $(LAB_FLAGS) api

## guide: follow docs/guide.md literally in a clean Debian 13 root (half an hour, 3 GB fetched)
guide: host-packages
	@lab/guide/follow.sh

## module KERNEL=…: the module for cloud (default), generic, or an exact kernel release
module: host-packages
	@$(PROVISION)/module.sh '$(KERNEL)'

## deb KERNEL=…: Debian packages in target/deb, with Rust kits for cloud and generic, or KERNEL
deb: host-packages
	@$(PROVISION)/deb.sh $(if $(filter file,$(origin KERNEL)),,'$(KERNEL)')

## fmt: format the Rust code
fmt:
	@$(CARGO) fmt --all

## clean: remove what was built here; the cache of kernels and tools stays
clean:
	@$(CARGO) clean
	@rm -rf target/bin

lab: host-packages
	@CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static -C strip=debuginfo' \
		$(CARGO) build --quiet --locked --release --target $(LINUX) --package hcall-lab

host-packages:
	@$(PROVISION)/host-packages.sh

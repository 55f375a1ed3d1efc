#!/bin/sh
# What `cargo xtask teeth` puts between cargo and rustc (RUSTC_WORKSPACE_WRAPPER): our own crates get the cfg, what
# crates.io brings is that of the ordinary build.
rustc=$1
shift
exec "$rustc" "$@" --cfg sitian_mutants

#!/bin/sh
# Cargo calls this instead of rustc for the crates of this repository.
exec "$@" -C instrument-coverage

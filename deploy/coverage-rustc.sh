#!/usr/bin/env bash
# Cargo calls this instead of rustc for the crates of this repository. A build script does not run in a test.
# Not for sh: dash loses variables like CARGO_BIN_EXE_with-services.
case " $* " in
*" --crate-name build_script_build "*) exec "$@" ;;
# Counters lie in a mapped file (%c), so that what a process has counted is there when it is killed.
*) exec "$@" -C instrument-coverage -C llvm-args=-runtime-counter-relocation ;;
esac

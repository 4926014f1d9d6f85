#!/usr/bin/env bash
# Cargo calls this instead of rustc for the crates of this repository. A build script does not run in a test.
# Counters are relocatable, so that they can live in the file of the profile: what a test kills has counted, too.
# Not for sh: dash loses variables like CARGO_BIN_EXE_with-services.
case " $* " in
*" --crate-name build_script_build "*) exec "$@" ;;
*) exec "$@" -C instrument-coverage -C llvm-args=-runtime-counter-relocation ;;
esac

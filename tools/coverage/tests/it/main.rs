//! The tool on a program that is made, instrumented and run here.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const PROGRAM: &str = "\
fn main() {
    if std::env::args().count() > 1 {
        println!(\"asked\");
    } else {
        println!(\"not asked\");
    }
}

#[cfg(test)]
mod tests {
    fn never() {}
}
";

/// A checkout with the crate `crates/a`, whose program has run once, without an argument: 4 of its 5 lines ran.
struct Checkout {
    folder: TempDir,
}

impl Checkout {
    fn new() -> Self {
        let checkout = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        checkout.write("crates/a/Cargo.toml", "");
        checkout.write("crates/a/src/main.rs", PROGRAM);
        fs::create_dir(checkout.root().join("profiles")).unwrap();
        let built = Command::new("rustc")
            .args(["--edition", "2024", "-C", "instrument-coverage", "-o", "program"])
            .arg("crates/a/src/main.rs")
            .current_dir(checkout.root())
            // Of this test, if it is measured itself.
            .env_remove("LLVM_PROFILE_FILE")
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", text(&built.stderr));
        let program = checkout.root().join("program");
        let ran = Command::new(&program)
            .env("LLVM_PROFILE_FILE", checkout.root().join("profiles/%4m.profraw"))
            .status()
            .unwrap();
        assert!(ran.success());
        checkout.write("objects", program.to_str().unwrap());
        checkout
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs the tool with these floors.
    fn measure(&self, floors: &str) -> Output {
        self.write("floors", floors);
        Command::new(env!("CARGO_BIN_EXE_coverage"))
            .args([
                ".",
                "profiles",
                "objects",
                "--floors",
                "floors",
                "--missing",
                "crates/a",
            ])
            .current_dir(self.root())
            .output()
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Code it ended with, and what it printed.
fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_crate_at_its_floor_is_good_and_below_it_fails() {
    let checkout = Checkout::new();
    let (code, told) = said(&checkout.measure("crates/a 80\n* 70"));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("80.0"), "{told}");
    // The line that did not run, and not one of the tests.
    assert!(told.contains("crates/a/src/main.rs 4/5: 3\n"), "{told}");

    let (code, told) = said(&checkout.measure("crates/a 81\n* 70"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("below its floor"), "{told}");

    let (code, told) = said(&checkout.measure("* 81"));
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn a_crate_without_data_fails_unless_it_is_said_to_have_none() {
    let checkout = Checkout::new();
    checkout.write("services/b/Cargo.toml", "");
    checkout.write("services/b/src/lib.rs", "pub fn b() -> u8 {\n    1\n}\n");
    let (code, told) = said(&checkout.measure("* 70"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("services/b"), "{told}");

    let (code, told) = said(&checkout.measure("* 70\nservices/b -"));
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn a_floor_of_a_crate_that_is_gone_is_an_error() {
    let (code, told) = said(&Checkout::new().measure("* 70\ncrates/gone 70"));
    assert_eq!(code, Some(2), "{told}");
}

#[test]
fn a_profile_that_was_cut_off_is_named_and_none_at_all_is_an_error() {
    let checkout = Checkout::new();
    let whole = fs::read_dir(checkout.root().join("profiles"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = fs::read(&whole).unwrap();
    checkout.write("profiles/cut.profraw", "");
    fs::write(
        checkout.root().join("profiles/cut.profraw"),
        &bytes[..bytes.len() / 2],
    )
    .unwrap();
    let (code, told) = said(&checkout.measure("* 80"));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("cut.profraw"), "{told}");

    fs::remove_file(whole).unwrap();
    let (code, told) = said(&checkout.measure("* 80"));
    assert_eq!(code, Some(2), "{told}");
}

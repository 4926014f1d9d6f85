//! Key files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kms::{Change, FileError, LocalKeys};
use test_support::Scratch;

use crate::world::KeyFile;

const ADD: Change = Change {
    add: true,
    make_current: false,
};

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn versions(file: &KeyFile) -> (Vec<u32>, u32) {
    let keys = LocalKeys::read(&file.path).unwrap();
    (keys.versions(), keys.current().version)
}

#[test]
fn a_file_is_made_once_and_for_its_owner_only() {
    let file = KeyFile::new();
    let mode = fs::metadata(&file.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&file.path).unwrap();
    let again = kms::create_file(&file.path);
    assert!(matches!(again, Err(FileError::Exists(_))), "{again:?}");
    assert_eq!(fs::read(&file.path).unwrap(), before);
    let beside = fs::read_dir(file.path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "the draft is left");
}

#[test]
fn a_version_is_added_before_it_seals() {
    let file = KeyFile::new();
    assert_eq!(versions(&file), (vec![1], 1));
    kms::change_file(&file.path, ADD).unwrap();
    assert_eq!(versions(&file), (vec![1, 2], 1));
    let current = Change {
        add: false,
        make_current: true,
    };
    let outcome = kms::change_file(&file.path, current).unwrap();
    assert_eq!((outcome.newest, outcome.current), (2, 2));
    assert_eq!(versions(&file), (vec![1, 2], 2));
    let mode = fs::metadata(&file.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn two_changes_at_once_do_not_make_one_version_twice() {
    let file = KeyFile::new();
    let draft = file.path.with_file_name("kms.json.new");
    write(&draft, "");
    let before = fs::read(&file.path).unwrap();
    for attempt in [kms::change_file(&file.path, ADD), kms::create_file(&file.path)] {
        assert!(
            matches!(&attempt, Err(FileError::Busy(path)) if *path == draft),
            "{attempt:?}"
        );
    }
    assert_eq!(fs::read(&file.path).unwrap(), before);
    // What others have left is theirs to remove.
    assert!(draft.exists());
    fs::remove_file(&draft).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| kms::change_file(&file.path, ADD));
        }
    });
    let (made, _) = versions(&file);
    assert!(made.iter().copied().eq((1..).take(made.len())), "{made:?}");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let file = KeyFile::new();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        let error = LocalKeys::read(&file.path).unwrap_err();
        assert!(
            matches!(error, FileError::Open { mode: found, .. } if found == mode),
            "{error:?}"
        );
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(kms::change_file(&file.path, ADD).is_err());
    }
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o400)).unwrap();
    LocalKeys::read(&file.path).unwrap();
}

#[test]
fn what_is_no_key_file_is_named_and_never_shown() {
    let dir = Scratch::new().unwrap();
    let path = dir.path().join("kms.json");
    let planted = "cGxhbnRlZC1zZWNyZXQ=";
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let keys = |name: &str, current: &str, keys: &str| {
        format!(r#"{{"name": "{name}", "current": {current}, "keys": [{keys}]}}"#)
    };
    let one = |version: u32, key: &str| format!(r#"{{"version": {version}, "key": "{key}"}}"#);
    let cases = [
        (planted.to_owned(), "line 1"),
        (keys("n", &format!("\"{planted}\""), &one(1, planted)), "line 1"),
        (format!(r#"{{"{planted}": 1}}"#), "line 1"),
        (keys("n", "1", &one(1, planted)), "32 bytes of base64"),
        (keys("n", "1", &one(1, "?")), "32 bytes of base64"),
        (keys("n", "2", &one(1, key)), "no version 2"),
        (
            keys("n", "1", &[one(1, key), one(1, key)].join(",")),
            "comes twice",
        ),
        (keys("", "1", &one(1, key)), "name"),
        (keys("n", "1", ""), "no version 1"),
        (" ".repeat(70_000), "65536 bytes"),
    ];
    for (text, named) in cases {
        write(&path, &text);
        let error = LocalKeys::read(&path).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(shown.contains(named), "{shown}");
        assert!(!shown.contains("cGxhbnR") && !shown.contains(key), "{shown}");
    }
    let absent = LocalKeys::read(&dir.path().join("absent")).unwrap_err();
    assert!(matches!(absent, FileError::Read { .. }));
}

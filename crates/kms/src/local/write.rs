//! Making and changing key files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::file::{FileError, KeyText, Text, parse, read_text};
use crate::data_key::KEY;

/// Bytes of a file's name before they are written in hexadecimal.
const NAME: usize = 8;
/// Room for a file's text, in bytes, so that it is written without a copy left behind.
const ROOM: usize = 128 * 1024;

/// Most versions of a key file. Those that no field needs are to be taken out, so a few are usual.
const MAX_VERSIONS: usize = 100;

/// A change of a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Adds a version that opens.
    pub add: bool,
    /// Makes the newest version the one that seals.
    pub make_current: bool,
}

/// What became of a key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the file.
    pub name: String,
    /// The newest version.
    pub newest: u32,
    /// The version that seals.
    pub current: u32,
}

/// Makes a key file with one version, for its owner only. Nothing is overwritten.
///
/// # Errors
/// There is a file already, or it cannot be written.
pub fn create_file(path: &Path) -> Result<Outcome, FileError> {
    let mut name = [0; NAME];
    aws_lc_rs::rand::fill(&mut name).map_err(|_| FileError::Random)?;
    let text = Text {
        name: name.iter().map(|byte| format!("{byte:02x}")).collect(),
        current: 1,
        keys: vec![new_key(1)?],
    };
    let draft = Draft::write(path, &text)?;
    // A link fails where a file is, which a rename would replace.
    fs::hard_link(&draft.path, path).map_err(|source| {
        taken(&source, || FileError::Exists(path.to_owned())).unwrap_or_else(|| failed(path)(source))
    })?;
    drop(draft);
    sync_directory(path)?;
    Ok(summary(&text))
}

/// Changes a key file.
///
/// Where several processes share the keys, adding and making current are two steps: all of them must be able to open what
/// one of them seals. Whoever reads the file finds the old text or the new one, whole, whatever is interrupted.
///
/// # Errors
/// It is no key file, is being changed by somebody else, or cannot be written.
pub fn change_file(path: &Path, change: Change) -> Result<Outcome, FileError> {
    let lock = Draft::create(path)?;
    let mut text = read_text(path)?;
    let wrong = |what| FileError::Content {
        path: path.to_owned(),
        what,
    };
    parse(&text).map_err(wrong)?;
    let newest = |text: &Text| text.keys.iter().map(|key| key.version).max().unwrap_or(0);
    if change.add {
        if text.keys.len() >= MAX_VERSIONS {
            return Err(wrong(format!(
                "it has {MAX_VERSIONS} versions: take out those that no field needs"
            )));
        }
        let next = newest(&text)
            .checked_add(1)
            .ok_or_else(|| wrong("there is no version after the newest".to_owned()))?;
        text.keys.push(new_key(next)?);
    }
    if change.make_current {
        text.current = newest(&text);
    }
    let draft = lock.fill(&text)?;
    fs::rename(&draft.path, path).map_err(failed(path))?;
    draft.keep();
    sync_directory(path)?;
    Ok(summary(&text))
}

fn summary(text: &Text) -> Outcome {
    Outcome {
        name: text.name.clone(),
        newest: text.keys.iter().map(|key| key.version).max().unwrap_or(0),
        current: text.current,
    }
}

fn new_key(version: u32) -> Result<KeyText, FileError> {
    let mut key = Zeroizing::new([0; KEY]);
    aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| FileError::Random)?;
    Ok(KeyText {
        version,
        key: Zeroizing::new(STANDARD.encode(key.as_ref())),
    })
}

/// The file beside a key file in which its next text is written. There can be one only, which keeps two changes apart.
struct Draft {
    path: PathBuf,
    of: PathBuf,
    file: File,
    is_ours: bool,
}

impl Draft {
    fn create(of: &Path) -> Result<Self, FileError> {
        let mut name = of.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let path = of.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| {
                taken(&source, || FileError::Busy(path.clone())).unwrap_or_else(|| failed(of)(source))
            })?;
        Ok(Self {
            path,
            of: of.to_owned(),
            file,
            is_ours: true,
        })
    }

    fn write(of: &Path, text: &Text) -> Result<Self, FileError> {
        Self::create(of)?.fill(text)
    }

    fn fill(mut self, text: &Text) -> Result<Self, FileError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer_pretty(&mut *bytes, text).map_err(|error| failed(&self.of)(error.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(failed(&self.of))?;
        self.file.sync_all().map_err(failed(&self.of))?;
        Ok(self)
    }

    /// It is the key file now.
    fn keep(mut self) {
        self.is_ours = false;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.is_ours {
            // If it stays, the next change says so.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Without it, a power cut may take the new name back.
fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(path))
}

fn taken(source: &io::Error, error: impl Fn() -> FileError) -> Option<FileError> {
    (source.kind() == io::ErrorKind::AlreadyExists).then(error)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FileError {
    move |source| FileError::Write {
        path: path.to_owned(),
        source,
    }
}

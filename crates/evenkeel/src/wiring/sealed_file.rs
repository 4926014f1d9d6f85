//! Files that are sealed, such as keys at providers.
//!
//! A sealed file is text: one block as PEM has it, with the envelope of docs/adr/0018 in base64. It opens under the name it
//! was sealed for, in whatever directory, so that one file cannot be put in the place of another.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kms::{Error, Kms, Place};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN EVENKEEL SEALED FILE-----";
const END: &str = "-----END EVENKEEL SEALED FILE-----";
/// Characters of a line.
const LINE: usize = 64;
/// Largest file that is read, in bytes: what is sealed at most, in base64.
pub(crate) const MAX_BYTES: u64 = 2 * kms::MAX_PLAIN_BYTES as u64;

/// Tells whether a file's content is sealed.
pub(crate) fn is_sealed(content: &[u8]) -> bool {
    content.trim_ascii_start().starts_with(BEGIN.as_bytes())
}

/// Seals a content for a file of this name.
///
/// # Errors
/// It is too large, or the keys cannot be used.
pub(crate) async fn seal(kms: &Kms, path: &Path, plain: &[u8]) -> Result<String, Error> {
    let name = name(path)?;
    Ok(armour(&kms.seal(place(&name), plain).await?))
}

/// Opens the content of a file.
///
/// # Errors
/// It is damaged, was sealed for another name, or the keys cannot be used.
pub(crate) async fn open(kms: &Kms, path: &Path, content: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let name = name(path)?;
    kms.open(place(&name), &envelope(content)?).await
}

/// Wraps a sealed content under the current key; `None` if it is already.
///
/// # Errors
/// As [`open`].
pub(crate) async fn rewrap(kms: &Kms, path: &Path, content: &[u8]) -> Result<Option<String>, Error> {
    let name = name(path)?;
    let new = kms.rewrap(place(&name), &envelope(content)?).await?;
    Ok(new.map(|new| armour(&new)))
}

fn place(name: &str) -> Place<'_> {
    Place {
        table: "file",
        column: "content",
        row: name,
    }
}

fn name(path: &Path) -> Result<String, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or(Error::Place)
}

fn armour(envelope: &[u8]) -> String {
    let text = STANDARD.encode(envelope);
    let mut lines = vec![BEGIN];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        lines.push(line);
        rest = after;
    }
    lines.push(END);
    lines.join("\n") + "\n"
}

fn envelope(content: &[u8]) -> Result<Vec<u8>, Error> {
    let text = std::str::from_utf8(content).map_err(|_| Error::Damaged)?;
    let body = text
        .trim()
        .strip_prefix(BEGIN)
        .and_then(|text| text.strip_suffix(END))
        .ok_or(Error::Damaged)?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map_err(|_| Error::Damaged)
}

#[cfg(test)]
mod tests {
    use kms::{LocalKeys, Provider};

    use super::*;

    fn keys(file: &Path) -> Kms {
        Kms::new(Provider::Local(LocalKeys::read(file).unwrap()), Vec::new())
    }

    #[tokio::test]
    async fn a_sealed_file_opens_under_its_name_only() {
        let dir = test_support::Scratch::new().unwrap();
        let file = dir.path().join("kms.json");
        kms::create_file(&file).unwrap();
        let kms = keys(&file);
        let secret = "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n";
        let sealed = seal(&kms, Path::new("/etc/a/wechat.pem"), secret.as_bytes())
            .await
            .unwrap();
        assert!(is_sealed(sealed.as_bytes()) && !is_sealed(secret.as_bytes()));
        assert!(!sealed.contains("planted") && sealed.lines().all(|line| line.len() <= LINE));
        let opened = open(
            &kms,
            Path::new("b/wechat.pem"),
            sealed.replace('\n', "\r\n").as_bytes(),
        )
        .await;
        assert_eq!(opened.unwrap().as_slice(), secret.as_bytes());
        for (name, content) in [
            ("alipay.pem", sealed.clone()),
            ("wechat.pem", sealed.replacen("RUtF", "RUtG", 1)),
            ("wechat.pem", sealed.replace(END, "")),
            ("wechat.pem", String::new()),
        ] {
            let refused = open(&kms, Path::new(name), content.as_bytes()).await;
            assert!(matches!(refused, Err(Error::Damaged)), "{name}: {content}");
        }
    }

    #[tokio::test]
    async fn a_sealed_file_is_rewrapped_once_for_each_change_of_the_key() {
        let dir = test_support::Scratch::new().unwrap();
        let file = dir.path().join("kms.json");
        kms::create_file(&file).unwrap();
        let path = Path::new("wechat.pem");
        let old = seal(&keys(&file), path, b"planted").await.unwrap();
        assert_eq!(rewrap(&keys(&file), path, old.as_bytes()).await.unwrap(), None);
        let change = kms::Change {
            add: true,
            make_current: true,
        };
        kms::change_file(&file, change).unwrap();
        let kms = keys(&file);
        let new = rewrap(&kms, path, old.as_bytes()).await.unwrap().unwrap();
        assert_ne!(new, old);
        assert_eq!(rewrap(&kms, path, new.as_bytes()).await.unwrap(), None);
        assert_eq!(
            open(&kms, path, new.as_bytes()).await.unwrap().as_slice(),
            b"planted"
        );
    }
}

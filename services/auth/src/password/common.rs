//! The passwords that are tried first.

use aws_lc_rs::digest::{SHA256, digest};

/// Sorted prefixes of SHA-256; see `data/README.md`.
static HASHES: &[u8] = include_bytes!("../../data/common_passwords.bin");
/// Bytes of each.
const PREFIX: usize = 8;

/// Tells whether a password is one of the 10,000 most common, whatever its case.
pub(super) fn contains(password: &str) -> bool {
    let lower = password.to_lowercase();
    let digest = digest(&SHA256, lower.as_bytes());
    let wanted = &digest.as_ref()[..PREFIX];
    let (hashes, _) = HASHES.as_chunks::<PREFIX>();
    hashes
        .binary_search_by(|hash| hash.as_slice().cmp(wanted))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_sorted() {
        let (hashes, rest) = HASHES.as_chunks::<PREFIX>();
        assert_eq!((hashes.len(), rest.len()), (10_000, 0));
        assert!(hashes.is_sorted());
    }

    #[test]
    fn common_ones_are_found_in_any_case_and_others_are_not() {
        for common in ["password", "PassWord1", "iloveyou", "1234567890"] {
            assert!(contains(common), "{common}");
        }
        for rare in ["", "correct horse battery staple", "密码密码密码密码"] {
            assert!(!contains(rare), "{rare}");
        }
    }
}

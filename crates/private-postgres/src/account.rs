//! The user the server runs as, and whether that user can reach a directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// The user and group the server gets when we are root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Returns the account to change to, or `None` when we are not root and stay who we are.
    pub(crate) fn for_server() -> Result<Option<Self>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).map_err(Error::io("read", path))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find(&passwd, name))
            .map(Some)
            .ok_or(Error::NoAccount)
    }

    /// Makes `command` run as this account. The supplementary groups of root are dropped by std.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives `path` to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io("change the owner of", path))
    }

    /// Checks that every directory on the way to `wanted`, itself included if it is one, can be searched.
    pub(crate) fn check_reach(&self, wanted: &Path) -> Result<(), Error> {
        let mut ancestors: Vec<&Path> = wanted.ancestors().collect();
        ancestors.reverse();
        for dir in ancestors {
            let meta = fs::metadata(dir).map_err(Error::io("look at", dir))?;
            if meta.is_dir() && !self.may_search(meta.uid(), meta.gid(), meta.mode()) {
                return Err(Error::NotSearchable {
                    wanted: wanted.to_path_buf(),
                    dir: dir.to_path_buf(),
                    user: self.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn may_search(&self, uid: u32, gid: u32, mode: u32) -> bool {
        let bit = if uid == self.uid {
            0o100
        } else if gid == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        // An entry with uid 0 would defeat the purpose.
        (uid != 0).then(|| Account {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:7:7::/:/bin/sh\n\
                          postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";

    fn account() -> Account {
        Account {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        }
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        assert_eq!(find(PASSWD, "postgres"), Some(account()));
        assert_eq!(find(PASSWD, "nobody"), None);
        assert_eq!(find(PASSWD, "root"), None);
        assert_eq!(find("postgres:x:many", "postgres"), None);
    }

    #[test]
    fn the_owner_class_decides_even_if_others_may_more() {
        assert!(account().may_search(0, 0, 0o755));
        assert!(!account().may_search(0, 0, 0o750));
        assert!(account().may_search(0, 104, 0o710));
        assert!(!account().may_search(101, 104, 0o077));
    }
}

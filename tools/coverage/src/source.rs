//! The sources of our crates, and what of them is tests.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, ItemFn, ItemImpl, ItemMod};

/// A file that counts.
#[derive(Debug)]
pub struct Source {
    /// The folder of its crate: `crates/x` or `services/x`.
    pub home: String,
    pub text: String,
    /// Lines that only tests see.
    pub tests: Vec<RangeInclusive<usize>>,
}

/// All files below `src` of all crates, but for those of tests.
#[derive(Debug, Default)]
pub struct Sources {
    /// By the path below the root.
    pub files: BTreeMap<PathBuf, Source>,
    /// Folders of the crates, in order.
    pub homes: Vec<String>,
}

impl Sources {
    /// Reads `crates/*/src` and `services/*/src`.
    ///
    /// # Errors
    /// If a file cannot be read or is no Rust.
    pub fn read(root: &Path) -> Result<Self> {
        let mut sources = Self::default();
        let mut tests: Vec<PathBuf> = Vec::new();
        for group in ["crates", "services"] {
            for folder in folders(&root.join(group))? {
                if !folder.join("Cargo.toml").is_file() {
                    continue;
                }
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                let home = format!("{group}/{name}");
                for path in rust_files(&folder.join("src"))? {
                    let below = path.strip_prefix(root)?.to_owned();
                    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                    let found = Tests::of(&text).with_context(|| path.display().to_string())?;
                    tests.extend(found.modules.iter().flat_map(|module| module.places(&below)));
                    let home = home.clone();
                    let source = Source {
                        home,
                        text,
                        tests: found.lines,
                    };
                    sources.files.insert(below, source);
                }
                sources.homes.push(home);
            }
        }
        let is_test = |path: &Path| tests.iter().any(|test| path.starts_with(test));
        sources.files.retain(|path, _| !is_test(path));
        Ok(sources)
    }

    /// The path below the root of a file that counts.
    pub fn find(&self, root: &Path, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(root).unwrap_or(path);
        // A program may know a path with `..` in it.
        let plain: PathBuf = below.components().collect();
        self.files.contains_key(&plain).then_some(plain)
    }
}

fn folders(of: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if of.is_dir() {
        for entry in fs::read_dir(of)? {
            found.push(entry?.path());
        }
    }
    found.sort();
    Ok(found)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in folders(folder)? {
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// What of a file is tests.
#[derive(Debug, Default)]
struct Tests {
    lines: Vec<RangeInclusive<usize>>,
    modules: Vec<Module>,
}

/// A module of tests in a file of its own.
#[derive(Debug)]
struct Module {
    name: String,
    path: Option<String>,
}

impl Module {
    /// Where it may lie, given the file that declares it.
    fn places(&self, declared: &Path) -> Vec<PathBuf> {
        let folder = declared.parent().unwrap_or(Path::new(""));
        if let Some(path) = &self.path {
            return vec![folder.join(path)];
        }
        let stem = declared.file_stem().unwrap_or_default();
        let below = if ["mod", "lib", "main"].iter().any(|root| stem == *root) {
            folder.to_owned()
        } else {
            folder.join(stem)
        };
        vec![below.join(format!("{}.rs", self.name)), below.join(&self.name)]
    }
}

impl Tests {
    fn of(text: &str) -> Result<Self> {
        let mut tests = Self::default();
        tests.visit_file(&syn::parse_file(text)?);
        Ok(tests)
    }

    /// Leaves a node out if only tests see it.
    fn leaves_out(&mut self, attributes: &[Attribute], node: &impl Spanned) -> bool {
        let test = attributes.iter().any(is_cfg_test);
        if test {
            let span = node.span();
            self.lines.push(span.start().line..=span.end().line);
        }
        test
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_mod(&mut self, node: &'ast ItemMod) {
        if !self.leaves_out(&node.attrs, node) {
            visit::visit_item_mod(self, node);
        } else if node.content.is_none() {
            let name = node.ident.to_string();
            let path = node.attrs.iter().find_map(path_of);
            self.modules.push(Module { name, path });
        }
    }

    fn visit_item_fn(&mut self, node: &'ast ItemFn) {
        if !self.leaves_out(&node.attrs, node) {
            visit::visit_item_fn(self, node);
        }
    }

    fn visit_item_impl(&mut self, node: &'ast ItemImpl) {
        if !self.leaves_out(&node.attrs, node) {
            visit::visit_item_impl(self, node);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast ImplItemFn) {
        if !self.leaves_out(&node.attrs, node) {
            visit::visit_impl_item_fn(self, node);
        }
    }
}

/// Tells whether an attribute is `#[cfg(test)]`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
}

/// The file that `#[path = ".."]` names.
fn path_of(attribute: &Attribute) -> Option<String> {
    let named = attribute.meta.require_name_value().ok()?;
    let syn::Expr::Lit(syn::ExprLit {
        lit: syn::Lit::Str(path),
        ..
    }) = &named.value
    else {
        return None;
    };
    named.path.is_ident("path").then(|| path.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_see_is_left_out_wherever_it_stands() {
        let text = "fn a() {}\n\n#[cfg(test)]\npub(crate) mod made {\n    fn b() {}\n}\n\nimpl A {\n    /// Says c.\n    #[cfg(test)]\n    fn c() {\n    }\n}\n\n#[cfg(feature = \"x\")]\nfn d() {}\n";
        assert_eq!(Tests::of(text).unwrap().lines, [3..=6, 9..=12]);
    }

    #[test]
    fn the_file_of_a_module_of_tests_is_found_where_rust_finds_it() {
        let declared = |text: &str, file: &str| Tests::of(text).unwrap().modules[0].places(Path::new(file));
        let places = declared("#[cfg(test)]\nmod tests;\n", "crates/a/src/json.rs");
        assert_eq!(places[0], Path::new("crates/a/src/json/tests.rs"));
        let places = declared("#[cfg(test)]\nmod tests;\n", "crates/a/src/json/mod.rs");
        assert_eq!(places[0], Path::new("crates/a/src/json/tests.rs"));
        let places = declared(
            "#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod tests;\n",
            "crates/a/src/b.rs",
        );
        assert_eq!(places, [Path::new("crates/a/src/b_tests.rs")]);
    }
}

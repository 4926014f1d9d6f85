//! What the protos say about themselves.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// Leading comments by file and place. Empty if the descriptors came without source information.
#[derive(Default)]
pub(super) struct Comments {
    by_file: HashMap<String, HashMap<Vec<i32>, String>>,
}

impl Comments {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        let by_file = pool
            .files()
            .map(|file| (file.name().to_owned(), leading(&file)))
            .collect();
        Self { by_file }
    }

    /// Returns the comment before a declaration: paragraphs on lines of their own, without the line breaks inside of them.
    pub(super) fn of(&self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        self.by_file.get(file.name())?.get(path).map(String::as_str)
    }
}

fn leading(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let source = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = source
        .map(|source| source.location.as_slice())
        .unwrap_or_default();
    let comments = locations.iter().filter_map(|location| {
        let text = joined(location.leading_comments.as_deref()?);
        (!text.is_empty()).then(|| (location.path.clone(), text))
    });
    comments.collect()
}

fn joined(comment: &str) -> String {
    let lines: Vec<_> = comment.lines().map(str::trim).collect();
    let paragraphs = lines
        .split(|line| line.is_empty())
        .filter(|paragraph| !paragraph.is_empty());
    paragraphs
        .map(|paragraph| paragraph.join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// Returns the first sentence, without its full stop.
pub(super) fn summary(comment: &str) -> &str {
    let paragraph = comment.split("\n\n").next().unwrap_or_default();
    let sentence = paragraph.split(". ").next().unwrap_or_default();
    let sentence = sentence.split(": ").next().unwrap_or_default();
    sentence.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_are_kept() {
        assert_eq!(joined(" One\n two.\n\n Three.\n"), "One two.\n\nThree.");
        assert_eq!(joined("\n"), "");
    }

    #[test]
    fn the_first_sentence_is_the_summary() {
        assert_eq!(summary("Shows one. And more.\n\nEven more."), "Shows one");
        assert_eq!(summary("Sends a code: 5 minutes."), "Sends a code");
        assert_eq!(summary("Knows v1.2 of it."), "Knows v1.2 of it");
    }
}

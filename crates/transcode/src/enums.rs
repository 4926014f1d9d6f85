//! Names of enum values outside: without the prefix that their type gives them inside.

use prost_reflect::EnumDescriptor;

/// Full name of the enum whose only value is JSON's null.
pub(crate) const NULL_VALUE: &str = "google.protobuf.NullValue";

/// Returns the outside name of the value `name`: `PENDING` for `TASK_STATE_PENDING` of `TaskState`, `UNSPECIFIED` for
/// `TASK_STATE_UNSPECIFIED`. Names stay whole if one of the enum lacks the prefix, so that two never become one.
pub(crate) fn short_name<'a>(kind: &EnumDescriptor, name: &'a str) -> &'a str {
    &name[prefix_len(kind)..]
}

/// Finds a value by its outside or its whole name.
pub(crate) fn by_name(kind: &EnumDescriptor, name: &str) -> Option<i32> {
    let prefix = prefix_len(kind);
    kind.values()
        .find(|value| value.name() == name || &value.name()[prefix..] == name)
        .map(|value| value.number())
}

/// Returns the outside names, in the order of the proto.
pub(crate) fn short_names(kind: &EnumDescriptor) -> impl Iterator<Item = String> {
    let prefix = prefix_len(kind);
    kind.values()
        .map(move |value| value.name()[prefix..].to_owned())
        .collect::<Vec<_>>()
        .into_iter()
}

fn prefix_len(kind: &EnumDescriptor) -> usize {
    let prefix = screaming_snake_case(kind.name()) + "_";
    let all_have_it = kind.values().all(|value| {
        let rest = value.name().strip_prefix(prefix.as_str());
        rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
    });
    if all_have_it { prefix.len() } else { 0 }
}

/// `TaskState` becomes `TASK_STATE`, `HTTPMethod` `HTTP_METHOD`, as buf wants prefixes.
fn screaming_snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut letters = name.chars().peekable();
    let mut last = None;
    while let Some(letter) = letters.next() {
        let after_word = last.is_some_and(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit());
        let before_word = last.is_some_and(|last: char| last.is_ascii_uppercase())
            && letters.peek().is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && (after_word || before_word) {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
        last = Some(letter);
    }
    snake
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Role", "ROLE")]
    #[case("TaskState", "TASK_STATE")]
    #[case("HTTPMethod", "HTTP_METHOD")]
    #[case("Sha256Kind", "SHA256_KIND")]
    #[case("snake_case", "SNAKE_CASE")]
    fn type_names_become_prefixes(#[case] name: &str, #[case] prefix: &str) {
        assert_eq!(screaming_snake_case(name), prefix);
    }

    #[test]
    fn values_lose_the_prefix_of_their_type_and_are_found_by_both_names() {
        let kind = proto::descriptor_pool()
            .get_enum_by_name("evenkeel.task.v1.TaskState")
            .unwrap();
        assert_eq!(short_name(&kind, "TASK_STATE_PENDING"), "PENDING");
        assert_eq!(by_name(&kind, "PENDING"), Some(1));
        assert_eq!(by_name(&kind, "TASK_STATE_PENDING"), Some(1));
        assert_eq!(by_name(&kind, "UNSPECIFIED"), Some(0));
        assert_eq!(by_name(&kind, "pending"), None);
    }

    #[test]
    fn values_stay_whole_where_not_all_have_the_prefix() {
        let kind = proto::descriptor_pool().get_enum_by_name(NULL_VALUE).unwrap();
        assert_eq!(short_name(&kind, "NULL_VALUE"), "NULL_VALUE");
    }
}

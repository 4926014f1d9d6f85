//! What Alipay signs: parameters, sorted by name.

use std::collections::BTreeMap;

/// Most parameters of a notification that are read.
const MAX_PARAMETERS: usize = 128;

/// Parameters of a request or a notification, decoded.
pub(super) type Parameters = BTreeMap<String, String>;

/// Returns `name=value&…` over the parameters that are neither empty nor among `without`.
pub(super) fn text(parameters: &Parameters, without: &[&str]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if value.is_empty() || without.contains(&name.as_str()) {
            continue;
        }
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Reads a form. `None` if a name is there twice, or there are too many.
pub(super) fn read(body: &[u8]) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    for (name, value) in form_urlencoded::parse(body) {
        if parameters.len() == MAX_PARAMETERS
            || parameters.insert(name.into_owned(), value.into_owned()).is_some()
        {
            return None;
        }
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_sorted_and_decoded_and_empty_ones_left_out() {
        let parameters = read(b"b=1%2B1&a=%E4%BC%9A+x&sign=s&empty=&sign_type=RSA2&A=z").unwrap();
        assert_eq!(text(&parameters, &["sign", "sign_type"]), "A=z&a=会 x&b=1+1");
        assert_eq!(text(&parameters, &["sign"]), "A=z&a=会 x&b=1+1&sign_type=RSA2");
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        assert_eq!(read(b"a=1&a=1"), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(parameters in proptest::collection::btree_map("[a-z_]{1,8}", ".{0,20}", 0..20)) {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(&parameters);
            prop_assert_eq!(read(form.finish().as_bytes()), Some(parameters));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes).map(|parameters| text(&parameters, &["sign"]));
        }
    }
}

//! Numbers that people and providers see: three letters that say of what, and 26 letters and digits that are the id.

use uuid::Uuid;

/// Of an order.
pub(crate) const ORDER: &str = "ORD";
/// Of a payment.
pub(crate) const PAYMENT: &str = "PAY";
/// Of a refund.
pub(crate) const REFUND: &str = "REF";
/// Of a withdrawal.
pub(crate) const WITHDRAWAL: &str = "WDR";

/// Crockford's base 32: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 26 times 5 bits hold the 128 of a UUID.
const DIGITS: u32 = 26;

/// Returns the number of an id. The same id has the same number, and no other id has it.
pub(crate) fn number(prefix: &'static str, id: Uuid) -> String {
    let bits = id.as_u128();
    let digits = (0..DIGITS).rev().map(|place| {
        let digit = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
        char::from(ALPHABET[digit])
    });
    prefix.chars().chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_of_one_length_and_sort_as_their_ids() {
        assert_eq!(number(ORDER, Uuid::nil()), format!("ORD{}", "0".repeat(26)));
        assert_eq!(number(PAYMENT, Uuid::max()), format!("PAY7{}", "Z".repeat(25)));
    }

    proptest! {
        #[test]
        fn every_provider_takes_every_number(a: u128, b: u128) {
            let [first, second] = [a, b].map(|bits| number(REFUND, Uuid::from_u128(bits)));
            prop_assert!(pay::Number::new(first.clone()).is_ok());
            prop_assert_eq!(a.cmp(&b), first.cmp(&second));
        }
    }
}

//! Codes by SMS: 6 digits, 5 minutes, one use, 5 tries, for one purpose.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use kv::Key;

use super::{Error, Limits};
use crate::phone::Phone;

/// How long a code is good.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Wrong codes after which it is not.
const TRIES: i64 = 5;
/// How long until another code may be asked for.
const COOLDOWN: Duration = Duration::from_secs(60);
/// 6 digits.
const CODES: u32 = 1_000_000;

/// What a code is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Logging in, which registers numbers that are new.
    Login,
    /// Registering with a password.
    Register,
    /// Setting a new password.
    ResetPassword,
}

impl Purpose {
    const fn text(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Register => "register",
            Self::ResetPassword => "reset_password",
        }
    }
}

/// A code that is to be sent.
#[derive(Clone)]
pub struct Made {
    /// The code.
    pub code: String,
    /// How long until another may be asked for.
    pub resend_after: Duration,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

impl Limits {
    /// Makes a code, in place of the one before.
    ///
    /// # Errors
    /// A limit is reached, or the store does not answer.
    pub async fn make_code(&self, phone: &Phone, purpose: Purpose, ip: &str) -> Result<Made, Error> {
        self.code(phone, ip, COOLDOWN).await?;
        let code = random_code()?;
        let place = self.place(phone, purpose);
        // Lost between the two: the new code has the tries that the old one left.
        self.kv
            .put(&place.code, &self.digest(&place, &code), LIFE)
            .await?;
        self.kv.remove(&place.tries).await?;
        Ok(Made {
            code,
            resend_after: COOLDOWN,
        })
    }

    /// Makes a code worthless, because it was not sent.
    ///
    /// # Errors
    /// The store does not answer; the code ends by itself.
    pub async fn void_code(&self, phone: &Phone, purpose: Purpose) -> Result<(), Error> {
        self.kv.remove(&self.place(phone, purpose).code).await?;
        Ok(())
    }

    /// Uses a code up. True once, for the right one.
    ///
    /// # Errors
    /// The store does not answer; the code may be used up.
    pub async fn check_code(&self, phone: &Phone, purpose: Purpose, code: &str) -> Result<bool, Error> {
        let place = self.place(phone, purpose);
        // Counted before it is looked at, so that parallel guesses are all counted.
        let tries = self.kv.add(&place.tries, 1, Some(LIFE)).await?;
        if tries > TRIES {
            self.kv.remove(&place.code).await?;
            return Ok(false);
        }
        // Compared and removed in one step: of two right answers at once, one wins.
        Ok(self.kv.remove_if(&place.code, &self.digest(&place, code)).await?)
    }

    fn place(&self, phone: &Phone, purpose: Purpose) -> Place {
        let alias = self.alias(phone);
        Place {
            code: Key::new("code", &[&alias, purpose.text()]),
            tries: Key::new("code", &[&alias, purpose.text(), "tries"]),
            context: format!("limits.code/{}/{alias}", purpose.text()),
        }
    }

    fn digest(&self, place: &Place, code: &str) -> Vec<u8> {
        self.vault.blind(&place.context, code)
    }
}

/// Where a code is kept.
struct Place {
    code: Key,
    tries: Key,
    context: String,
}

/// Returns 6 random digits, each code as likely as any other.
fn random_code() -> Result<String, Error> {
    /// Largest multiple of the number of codes; what is above would favour the small ones.
    const FAIR: u32 = u32::MAX - u32::MAX % CODES;
    let random = SystemRandom::new();
    loop {
        let mut bytes = [0; 4];
        random.fill(&mut bytes).map_err(|_| Error::Random)?;
        let number = u32::from_be_bytes(bytes);
        if number < FAIR {
            return Ok(format!("{:06}", number % CODES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_six_digits_and_seldom_comes_twice() {
        let codes: std::collections::HashSet<String> = (0..1_000).map(|_| random_code().unwrap()).collect();
        assert!(
            codes
                .iter()
                .all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()))
        );
        assert!(codes.len() > 950, "{}", codes.len());
    }
}

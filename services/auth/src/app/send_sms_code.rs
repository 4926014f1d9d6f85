use std::time::Duration;

use super::App;
use crate::error::Error;
use crate::limits::Purpose;
use crate::phone::Phone;
use crate::sms;

/// Sends a code, whether or not anybody has the number. Returns after which time another one may be asked for.
///
/// # Errors
/// `RateLimited`; `SmsNotSent`, and then the code is void, unless the message may have been sent all the same.
pub(crate) async fn send_sms_code(
    app: &App,
    phone: &Phone,
    purpose: Purpose,
    ip: &str,
) -> Result<Duration, Error> {
    let made = app.limits.make_code(phone, purpose, ip).await?;
    if let Err(error) = app.sms.send(phone, &made.code).await {
        if !matches!(error, sms::Error::Unknown(_)) {
            app.limits.void_code(phone, purpose).await?;
        }
        return Err(error.into());
    }
    Ok(made.resend_after)
}

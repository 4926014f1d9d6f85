//! Sealed columns: whether what is in them opens, and under which key it is.

use kms::Kms;
use kms::rewrap::{Column, Report as Walked, Walk};
use sqlx::PgPool;

use super::{Facts, Report};
use crate::wiring::database;

/// Most fields of a column that are opened: each may be a call of the key service.
const MOST: u64 = 1_000;

/// Opens what is sealed.
pub(super) async fn examine(facts: &Facts, report: &mut Report) {
    let pool = match database::sealed_pool(&facts.database_url).await {
        Ok(pool) => pool,
        Err(failure) => return report.wrong("sealed", failure.to_string(), "see the server's log"),
    };
    for column in billing::SEALED {
        let name = format!("sealed {}", column.table);
        match &facts.kms {
            Ok(kms) => match look(&pool, kms, column).await {
                Ok((walked, is_whole)) => judge(report, name, &walked, is_whole, kms),
                Err(error) => report.wrong(name, chain(&error), "see whether the key service answers: kms.*"),
            },
            // Without fields nobody needs keys.
            Err(why) => match kms::rewrap::is_empty(&pool, column).await {
                Ok(true) => report.ok(name, "nothing is sealed"),
                Ok(false) => report.look(
                    name,
                    format!("not examined: {why}"),
                    "give this command the servers' keys: --keys, or --config with kms.*",
                ),
                Err(error) => report.wrong(name, error.to_string(), "see the server's log"),
            },
        }
    }
    pool.close().await;
}

/// Looks at the first fields; says whether these are all.
async fn look(pool: &PgPool, kms: &Kms, column: &Column) -> Result<(Walked, bool), kms::rewrap::Error> {
    let mut walk = Walk::new(pool.clone(), kms.clone(), *column).look();
    while walk.report().seen < MOST {
        if walk.step().await? {
            return Ok((walk.into_report(), true));
        }
    }
    Ok((walk.into_report(), false))
}

fn judge(report: &mut Report, name: String, walked: &Walked, is_whole: bool, kms: &Kms) {
    let extent = if is_whole {
        ""
    } else {
        " (only the first were opened)"
    };
    let found = format!(
        "{} opened, {} under an old key{extent}",
        walked.current + walked.old,
        walked.old
    );
    if let Some((key, error)) = walked.failures.first() {
        report.wrong(
            name,
            format!("{} cannot be opened; the first: {key}: {error}", walked.failed),
            "bring back the key that it names, from the copy of the key file; evenkeel kms rewrap --dry-run lists more",
        );
    } else if walked.old > 0 {
        report.look(
            name,
            found,
            format!("move all to {}: evenkeel kms rewrap", kms.current()),
        );
    } else {
        report.ok(name, found);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

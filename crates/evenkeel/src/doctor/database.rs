//! Checks on the database: reachable, durable, large enough, migrated, and consistent.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Facts, Report, drift, sealed};
use crate::render::time;
use crate::wiring::database::{self, EVENTS, STORE, migrator};
use crate::wiring::settings::Name;

/// Connections that Postgres keeps for its own use and administration, beyond `superuser_reserved_connections`.
const SPARE: i64 = 5;
/// A running saga that is older than this is worth a look, in seconds: longer than any deadline that ships.
const OLD_SAGA_SECONDS: i64 = 15 * 60;

/// Examines the database; if it cannot be reached, that is the only finding.
pub(super) async fn examine(facts: &Facts, report: &mut Report) {
    let mut connection = match database::connect(&facts.database_url).await {
        Ok(connection) => connection,
        Err(failure) => {
            let text = failure.to_string();
            let found = text
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            report.wrong(
                "database",
                found,
                "set DATABASE_URL (or --database-url) to the services' database and start it",
            );
            return;
        }
    };
    if let Err(error) = server(facts, &mut connection, report).await {
        report.wrong("database", error.to_string(), "see the server's log");
        return;
    }
    let mut migrated = true;
    let own = Name::ALL.into_iter().filter_map(migrator);
    for (schema, migrator) in [EVENTS, STORE].into_iter().chain(own) {
        match migrations(schema, migrator, &mut connection, report).await {
            Ok(current) => migrated &= current,
            Err(error) => {
                migrated = false;
                report.wrong(format!("schema {schema}"), error.to_string(), "evenkeel migrate");
            }
        }
    }
    if !migrated {
        return;
    }
    if let Err(error) = sagas(&mut connection, report).await {
        report.wrong(
            "sagas",
            error.to_string(),
            "see whether this binary and the database belong together",
        );
    }
    sealed::examine(facts, report).await;
    drift::examine(&facts.database_url, report).await;
}

async fn server(
    facts: &Facts,
    connection: &mut PgConnection,
    report: &mut Report,
) -> Result<(), sqlx::Error> {
    let settings: BTreeMap<String, String> = sqlx::query_as::<_, (String, String)>(
        "select name, setting from pg_settings where name in ('server_version', 'fsync', 'full_page_writes',
         'synchronous_commit', 'max_connections', 'superuser_reserved_connections')",
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    let setting = |name: &str| settings.get(name).map_or("", String::as_str);
    report.ok("database", format!("Postgres {}", setting("server_version")));
    for name in ["fsync", "full_page_writes", "synchronous_commit"] {
        match setting(name) {
            "off" => report.wrong(
                name,
                "off",
                format!("set {name} = on and reload: what was answered may be lost otherwise"),
            ),
            value => report.ok(name, value),
        }
    }
    let number = |name: &str| setting(name).parse::<i64>().unwrap_or_default();
    let available = number("max_connections") - number("superuser_reserved_connections") - SPARE;
    let wanted = i64::from(facts.connections);
    let found = format!("{wanted} wanted by all services, {available} available");
    if wanted > available {
        let limit = wanted + number("superuser_reserved_connections") + SPARE;
        report.look(
            "connections",
            found,
            format!("set max_connections to at least {limit}, or lower database.max of the services"),
        );
    } else {
        report.ok("connections", found);
    }
    Ok(())
}

/// Compares what is applied with what this binary has. Returns whether the schema can be used.
async fn migrations(
    schema: &str,
    migrator: &Migrator,
    connection: &mut PgConnection,
    report: &mut Report,
) -> Result<bool, sqlx::Error> {
    let check = format!("schema {schema}");
    let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null")
        .bind(format!("{schema}._sqlx_migrations"))
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        report.wrong(check, "not there", "evenkeel migrate");
        return Ok(false);
    }
    // The schema's name is one of ours, not input.
    let applied: Vec<(i64, bool, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(format!(
        "select version, success, checksum from {schema}._sqlx_migrations"
    )))
    .fetch_all(connection)
    .await?;
    let ours: BTreeMap<i64, &[u8]> = migrator
        .iter()
        .map(|m| (m.version, m.checksum.as_ref()))
        .collect();
    let edited = applied
        .iter()
        .filter(|(version, _, sum)| ours.get(version).is_some_and(|s| *s != sum.as_slice()))
        .count();
    let failed = applied.iter().filter(|(_, success, _)| !success).count();
    let ahead = applied
        .iter()
        .filter(|(version, _, _)| !ours.contains_key(version))
        .count();
    let behind = ours
        .keys()
        .filter(|version| !applied.iter().any(|(v, _, _)| v == *version))
        .count();
    match (edited + failed, behind, ahead) {
        (0, 0, 0) => report.ok(check, format!("{} migrations applied", applied.len())),
        (0, 0, ahead) => report.look(
            check,
            format!("{ahead} migrations newer than this binary"),
            "use the binary that made them",
        ),
        (0, behind, _) => report.wrong(
            check,
            format!("{behind} migrations are not applied"),
            "evenkeel migrate",
        ),
        (broken, _, _) => report.wrong(
            check,
            format!("{broken} migrations failed or were edited"),
            "restore the file, or the database from a backup",
        ),
    }
    Ok(edited + failed + behind == 0)
}

async fn sagas(connection: &mut PgConnection, report: &mut Report) -> Result<(), sqlx::Error> {
    let (open, attention, oldest): (i64, i64, Option<DateTime<Utc>>) = sqlx::query_as(
        "select count(*), count(*) filter (where needs_attention), min(created_at)
         from saga.saga_instances where status in ('RUNNING', 'COMPENSATING')",
    )
    .fetch_one(connection)
    .await?;
    let age = oldest.map(|oldest| Utc::now() - oldest);
    let found = match age {
        None => "none is open".to_owned(),
        Some(age) => format!("{open} open, the oldest for {}", time::span(age)),
    };
    if age.is_some_and(|age| age.num_seconds() > OLD_SAGA_SECONDS) {
        report.look(
            "sagas",
            found,
            "see what they wait for: evenkeel saga list --phase running --phase compensating",
        );
    } else {
        report.ok("sagas", found);
    }
    match attention {
        0 => report.ok("attention", "no saga needs attention"),
        n => report.look(
            "attention",
            format!("{n} need attention"),
            "see why: evenkeel saga list --attention",
        ),
    }
    Ok(())
}

//! Lists what people look at.

use super::super::App;
use crate::domain::{Channel, Page};
use crate::error::Error;
use crate::store::cases::{self, Case};
use crate::store::differences::{self, Found};
use crate::store::receipts::{self, Filter, Receipt};
use crate::store::statements::{self, Statement};

/// Lists cases, with the token of the next page.
pub(crate) async fn list_cases(
    app: &App,
    include_resolved: bool,
    page: &Page,
) -> Result<(Vec<Case>, String), Error> {
    let mut rows = cases::list(&app.pool, include_resolved, page.before, page.limit()).await?;
    let next = page.cut(&mut rows, |row| row.id.uuid());
    Ok((rows, next))
}

/// Lists deliveries of notifications, with the token of the next page.
pub(crate) async fn list_receipts(
    app: &App,
    filter: &Filter,
    page: &Page,
) -> Result<(Vec<Receipt>, String), Error> {
    let mut rows = receipts::list(&app.pool, filter, page.before, page.limit()).await?;
    let next = page.cut(&mut rows, |row| row.id.uuid());
    Ok((rows, next))
}

/// Lists statements, with the token of the next page.
pub(crate) async fn list_statements(
    app: &App,
    channel: Option<Channel>,
    page: &Page,
) -> Result<(Vec<Statement>, String), Error> {
    let mut rows = statements::list(&app.pool, channel, page.before, page.limit()).await?;
    let next = page.cut(&mut rows, |row| row.id);
    Ok((rows, next))
}

/// Lists differences, with the token of the next page.
pub(crate) async fn list_differences(
    app: &App,
    channel: Option<Channel>,
    include_resolved: bool,
    page: &Page,
) -> Result<(Vec<Found>, String), Error> {
    let mut rows = differences::list(&app.pool, channel, include_resolved, page.before, page.limit()).await?;
    let next = page.cut(&mut rows, |row| row.id.uuid());
    Ok((rows, next))
}

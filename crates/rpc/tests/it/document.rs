//! `docs/errors.md`: made of the catalogue, so that they cannot disagree.

use std::fmt::Write as _;
use std::path::Path;

use rpc::error::{Reason, code_name};

const HEAD: &str = "\
# Errors

Every failure has a reason: a name that never changes its meaning. Over gRPC it is the `reason` of the status's one
`google.rpc.ErrorInfo`, whose `domain` says who answers; over HTTP it is the member `reason` of an `application/problem+json`
(RFC 9457), beside `code`, its number. Each reason has one gRPC code and one HTTP status.

Decide by the reason. Texts and messages are for people and may change. A reason that you do not know means what its gRPC code
or HTTP status means: more may come.

This file is made of `crates/rpc/src/error/catalogue.rs`; `UPDATE_DOCS=1 cargo test -p rpc` writes it.
";

fn document() -> String {
    let mut text = HEAD.to_owned();
    let mut title = "";
    for reason in Reason::ALL {
        let group = reason.group();
        if group.title != title {
            title = group.title;
            write!(
                text,
                "\n## {title}\nFrom {}. Raised by {}.\n\n\
                 | reason | number | gRPC | HTTP | meaning | what to do | shown to end users |\n\
                 |---|---|---|---|---|---|---|\n",
                group.first_number, group.raised_by
            )
            .unwrap();
        }
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {}<br>{} |",
            reason.name(),
            reason.number(),
            code_name(reason.code()),
            reason.http_status(),
            reason.meaning(),
            reason.advice(),
            reason.text_en(),
            reason.text_zh(),
        )
        .unwrap();
    }
    text
}

#[test]
fn the_list_of_errors_is_that_of_the_catalogue() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let wanted = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/errors.md is stale: run `UPDATE_DOCS=1 cargo test -p rpc`"
    );
}

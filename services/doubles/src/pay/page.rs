//! The pages that play the payer.

use chrono::{DateTime, Utc};

use super::books::Books;
use super::rows::{Order, OrderState};

/// Orders on the list, the newest first.
const MAX_LISTED: usize = 50;

const STYLE: &str = "<style>body{font:1.1rem system-ui;max-width:28rem;margin:3rem auto;padding:0 1rem}\
    .sum{font-size:2.6rem;margin:.4rem 0}button{font:inherit;padding:.7rem 2.4rem;border:0;border-radius:.5rem;\
    background:#07c160;color:#fff}small{color:#666}li{margin:.6rem 0}</style>";

pub(super) fn order(order: &Order) -> String {
    let what = match order.state {
        OrderState::Waiting => "<form method=post><button>Pay</button></form>".to_owned(),
        OrderState::Paid => "<p>Paid. You can close this page.</p>".to_owned(),
        OrderState::Closed => "<p>This order is closed. It cannot be paid.</p>".to_owned(),
    };
    html(&format!(
        "<p>{}</p><p class=sum>¥ {}</p>{what}<p><small>Order {} of a provider that is a double: no money moves.</small></p>",
        escaped(&order.subject),
        yuan(order.amount_minor),
        escaped(&order.number),
    ))
}

pub(super) fn list(books: &Books, now: DateTime<Utc>) -> String {
    let mut open: Vec<&Order> = books
        .orders
        .values()
        .filter(|order| order.state == OrderState::Waiting && order.expires_at > now)
        .collect();
    open.sort_by_key(|order| std::cmp::Reverse(order.created_at));
    let items: String = open
        .into_iter()
        .take(MAX_LISTED)
        .map(|order| {
            format!(
                "<li><a href=\"/pay/{}\">{} · ¥ {}</a> <small>{}</small></li>",
                order.code,
                escaped(&order.subject),
                yuan(order.amount_minor),
                escaped(&order.number),
            )
        })
        .collect();
    let items = if items.is_empty() {
        "<li>None.</li>".to_owned()
    } else {
        items
    };
    html(&format!("<h1>Orders to pay</h1><ul>{items}</ul>"))
}

fn html(body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Scan and pay</title>{STYLE}<body>{body}</html>"
    )
}

fn yuan(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_merchant_writes_is_text() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}

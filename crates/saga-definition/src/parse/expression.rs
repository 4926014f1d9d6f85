//! Values of `with`: path, literal, message, list.

use crate::scalar::{Literal, is_path};
use crate::source::{Expr, ExprNode};
use crate::yaml::{Node, NodeValue, Spanned};

/// Reads a value of `with`. Recursion is bounded by [`MAX_DEPTH`](crate::MAX_DEPTH).
pub(super) fn expression(node: Node) -> Expr {
    let at = node.at;
    let node = match node.value {
        NodeValue::Scalar { text, plain: true } if is_path(&text) => ExprNode::Path {
            text,
            allow_default: false,
        },
        NodeValue::Scalar { text, plain: true } => ExprNode::Literal(Literal::plain(&text)),
        NodeValue::Scalar { text, plain: false } => ExprNode::Literal(Literal::Text(text)),
        NodeValue::Sequence(items) => ExprNode::List(items.into_iter().map(expression).collect()),
        NodeValue::Mapping(entries) => match long_form(&entries) {
            Some(path) => path,
            None => ExprNode::Fields(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, expression(value)))
                    .collect(),
            ),
        },
    };
    Expr { at, node }
}

/// Recognises `{ from: PATH }` and `{ from: PATH, allow_default: BOOL }`.
fn long_form(entries: &[(Spanned<String>, Node)]) -> Option<ExprNode> {
    let mut path = None;
    let mut allow_default = false;
    for (key, value) in entries {
        let NodeValue::Scalar { text, .. } = &value.value else {
            return None;
        };
        match key.value.as_str() {
            "from" => path = Some(text.clone()),
            "allow_default" => match Literal::plain(text) {
                Literal::Bool(value) => allow_default = value,
                Literal::Text(_) | Literal::Int(_) | Literal::Float(_) | Literal::Null => return None,
            },
            _ => return None,
        }
    }
    path.map(|text| ExprNode::Path { text, allow_default })
}

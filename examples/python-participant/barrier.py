"""What makes a step safe to call twice, late, or never: one row per operation, in the transaction of the work itself.

The rules are those of the Rust crate `barrier`; docs/sagas.md lists them. The key of an operation is
(saga, step, index, op): all attempts of it have the same one.
"""

import contextlib
import hashlib
from dataclasses import dataclass

TABLE = """
create table if not exists barrier (
    saga_id text not null, step text not null, idx integer not null,
    op text not null check (op in ('action', 'compensation')),
    request_digest blob,
    state text not null check (state in ('pending', 'succeeded', 'refused', 'superseded')),
    reply blob, code text, reason text, message text,
    primary key (saga_id, step, idx, op)
)"""


@dataclass(frozen=True)
class Call:
    saga_id: str
    step: str
    index: int
    op: str
    refusable: bool  # whether a "no" is an answer that the saga can act on


class Refused(Exception):
    """A definite no: nothing happened, and nothing will. The codes that can say so are listed in docs/sagas.md."""

    def __init__(self, reason, message, code="FAILED_PRECONDITION", stored=False):
        super().__init__(message)
        self.reason, self.message, self.code, self.stored = reason, message, code, stored


class Superseded(Exception):
    """A compensation of this action came first."""


class Mismatch(Exception):
    """The key was used with another request."""


def run(db, call, request, work):
    """Runs `work(db)` at most once for the key of `call`, and returns its reply; both are bytes.

    Any exception but `Refused` rolls everything back: the outcome is unknown, and the call comes again.
    """
    key = (call.saga_id, call.step, call.index)
    digest = hashlib.sha256(request).digest()
    refused = None
    # One writer at a time: in SQLite this is what row locks are elsewhere.
    with _transaction(db):
        action = None
        if call.op == "compensation":
            # First the action's row: an action that has not come yet finds its place taken.
            _insert(db, key, "action", None, "superseded")
            action = _row(db, key, "action")["state"]
        if not _insert(db, key, call.op, digest, "pending"):
            return _stored(_row(db, key, call.op), digest)
        if call.op == "compensation" and action != "succeeded":
            reply = b""  # there is nothing to undo
        else:
            db.execute("savepoint work")
            try:
                reply = work(db)
            except Refused as no:
                if call.op == "compensation" or not call.refusable:
                    raise  # rolls back: this "no" is not for ever
                db.execute("rollback to work")
                no.stored, refused = True, no
        if refused:
            values = ("refused", None, refused.code, refused.reason, refused.message)
        else:
            values = ("succeeded", reply, None, None, None)
        db.execute(
            "update barrier set state = ?, reply = ?, code = ?, reason = ?, message = ?"
            " where saga_id = ? and step = ? and idx = ? and op = ?",
            values + key + (call.op,),
        )
    if refused:
        raise refused  # only now: the transaction has kept it
    return reply


def _stored(row, digest):
    if row["state"] == "superseded":
        raise Superseded
    if row["request_digest"] != digest:
        raise Mismatch
    if row["state"] == "refused":
        raise Refused(row["reason"], row["message"], row["code"], stored=True)
    return row["reply"]


def _insert(db, key, op, digest, state):
    values = key + (op, digest, state)
    return db.execute(
        "insert into barrier (saga_id, step, idx, op, request_digest, state) values (?, ?, ?, ?, ?, ?)"
        " on conflict do nothing",
        values,
    ).rowcount == 1


def _row(db, key, op):
    found = db.execute(
        "select state, request_digest, reply, code, reason, message from barrier"
        " where saga_id = ? and step = ? and idx = ? and op = ?",
        key + (op,),
    ).fetchone()
    return dict(zip(("state", "request_digest", "reply", "code", "reason", "message"), found))


@contextlib.contextmanager
def _transaction(db):
    db.execute("begin immediate")
    try:
        yield
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")

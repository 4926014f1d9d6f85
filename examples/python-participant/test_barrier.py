"""The barrier's rules, as tests: python3 -m unittest"""

import sqlite3
import unittest

import barrier
from barrier import Call, Mismatch, Refused, Superseded

ACTION = Call("saga_1", "BOOK_HOTEL", 0, "action", True)
UNDO = Call("saga_1", "BOOK_HOTEL", 0, "compensation", False)


class BarrierTest(unittest.TestCase):
    def setUp(self):
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute(barrier.TABLE)
        self.db.execute("create table effect (name text)")

    def work(self, name, answer=b"reply"):
        def run(db):
            db.execute("insert into effect values (?)", (name,))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return run

    def effects(self):
        return [name for (name,) in self.db.execute("select name from effect")]

    def test_a_repeated_call_gets_the_stored_reply(self):
        for _ in range(2):
            self.assertEqual(barrier.run(self.db, ACTION, b"r", self.work("done")), b"reply")
        self.assertEqual(self.effects(), ["done"])

    def test_another_request_under_the_same_key_is_a_mismatch(self):
        barrier.run(self.db, ACTION, b"r", self.work("done"))
        with self.assertRaises(Mismatch):
            barrier.run(self.db, ACTION, b"other", self.work("done"))

    def test_a_refusal_is_stored_and_leaves_nothing(self):
        for answer in (Refused("NO", "full"), b"reply"):
            with self.assertRaises(Refused) as no:
                barrier.run(self.db, ACTION, b"r", self.work("done", answer))
            self.assertTrue(no.exception.stored)
        self.assertEqual(self.effects(), [])

    def test_a_no_from_what_cannot_be_refused_is_not_stored(self):
        call = Call("saga_1", "SEND", 0, "action", False)
        with self.assertRaises(Refused) as no:
            barrier.run(self.db, call, b"r", self.work("done", Refused("NO", "later")))
        self.assertFalse(no.exception.stored)
        self.assertEqual(barrier.run(self.db, call, b"r", self.work("done")), b"reply")

    def test_an_unknown_error_leaves_nothing_and_the_call_comes_again(self):
        with self.assertRaises(ZeroDivisionError):
            barrier.run(self.db, ACTION, b"r", self.work("done", ZeroDivisionError()))
        self.assertEqual(self.effects(), [])
        self.assertEqual(barrier.run(self.db, ACTION, b"r", self.work("done")), b"reply")

    def test_a_compensation_undoes_once(self):
        barrier.run(self.db, ACTION, b"r", self.work("done"))
        for _ in range(2):
            barrier.run(self.db, UNDO, b"u", self.work("undone"))
        self.assertEqual(self.effects(), ["done", "undone"])

    def test_a_compensation_without_an_action_does_nothing_and_keeps_the_action_out(self):
        self.assertEqual(barrier.run(self.db, UNDO, b"u", self.work("undone")), b"")
        with self.assertRaises(Superseded):
            barrier.run(self.db, ACTION, b"r", self.work("done"))
        self.assertEqual(self.effects(), [])

    def test_a_refused_action_has_nothing_to_undo(self):
        with self.assertRaises(Refused):
            barrier.run(self.db, ACTION, b"r", self.work("done", Refused("NO", "full")))
        barrier.run(self.db, UNDO, b"u", self.work("undone"))
        self.assertEqual(self.effects(), [])

    def test_a_compensation_is_never_refused_for_good(self):
        barrier.run(self.db, ACTION, b"r", self.work("done"))
        with self.assertRaises(Refused) as no:
            barrier.run(self.db, UNDO, b"u", self.work("undone", Refused("NO", "shipped")))
        self.assertFalse(no.exception.stored)
        barrier.run(self.db, UNDO, b"u", self.work("undone"))
        self.assertEqual(self.effects(), ["done", "undone"])


if __name__ == "__main__":
    unittest.main()

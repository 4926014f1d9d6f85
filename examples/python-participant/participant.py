"""A minimal participant of a saga in Python: a travel agency with its books in SQLite.

python3 participant.py --descriptors travel.binpb [--listen 127.0.0.1:7192] [--database travel.db]
"""

import argparse
import concurrent.futures
import pathlib
import sqlite3

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import barrier
import wire

SERVICE = "acme.travel.v1.TravelSteps"
DOMAIN = "travel.acme"  # `error_domain` in the orchestrator's settings
BOOKINGS = """
create table if not exists booking (
    trip_id text not null, what text not null, name text not null, primary key (trip_id, what)
)"""


# The business: each function is one step, runs in the barrier's transaction, and returns the fields of its reply.


def book_hotel(db, request):
    return {"hotel": _book(db, request.trip_id, "hotel", f"Grand Hotel {request.city}")}


def cancel_hotel(db, request):
    return _cancel(db, request.trip_id, "hotel")


def book_flight(db, request):
    if request.city == "Atlantis":
        raise barrier.Refused("NO_FLIGHT", f"nobody flies to {request.city}")
    return {"flight": _book(db, request.trip_id, "flight", f"EK 1 to {request.city}")}


def cancel_flight(db, request):
    return _cancel(db, request.trip_id, "flight")


def send_tickets(db, request):
    _book(db, request.trip_id, "tickets", f"{request.hotel}, {request.flight}")
    return {}


def _book(db, trip_id, what, name):
    db.execute("insert into booking (trip_id, what, name) values (?, ?, ?)", (trip_id, what, name))
    return name


def _cancel(db, trip_id, what):
    db.execute("delete from booking where trip_id = ? and what = ?", (trip_id, what))
    return {}


METHODS = {
    "BookHotel": book_hotel,
    "CancelHotel": cancel_hotel,
    "BookFlight": book_flight,
    "CancelFlight": cancel_flight,
    "SendTickets": send_tickets,
}


# The wiring: the same for every participant.


def handler(database, method, work):
    request_type, reply_type = _type(method.input_type), _type(method.output_type)

    def answer(request, context):
        try:
            call = wire.read(context.invocation_metadata())
        except wire.BadCall as error:
            wire.abort(context, DOMAIN, "INVALID_ARGUMENT", "STEP_METADATA_INVALID", str(error))
        db = sqlite3.connect(database, isolation_level=None, timeout=30)
        try:
            reply = barrier.run(
                db,
                call,
                request.SerializeToString(deterministic=True),
                lambda db: reply_type(**work(db, request)).SerializeToString(),
            )
        except barrier.Refused as no:
            wire.abort(context, DOMAIN, no.code, no.reason, no.message, no.stored)
        except barrier.Superseded:
            wire.abort(context, DOMAIN, "ABORTED", "SUPERSEDED", "a compensation of this step came first")
        except barrier.Mismatch:
            text = "this step was called before with another request"
            wire.abort(context, DOMAIN, "ABORTED", "BARRIER_MISMATCH", text)
        finally:
            db.close()
        context.send_initial_metadata((wire.STORED,))
        return reply

    # The reply is bytes already: what is stored is what is answered.
    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=request_type.FromString)


def _type(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)  # protobuf before 4.22


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--descriptors", required=True, help="made with `evenkeel proto compile`")
    arguments.add_argument("--listen", default="127.0.0.1:7192")
    arguments.add_argument("--database", default="travel.db")
    given = arguments.parse_args()

    types = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(given.descriptors).read_bytes())
    for file in files.file:
        types.AddSerializedFile(file.SerializeToString())
    service = types.FindServiceByName(SERVICE)

    db = sqlite3.connect(given.database)
    db.execute("pragma journal_mode = wal")
    db.execute(barrier.TABLE)
    db.execute(BOOKINGS)
    db.commit()
    db.close()

    handlers = {m.name: handler(given.database, m, METHODS[m.name]) for m in service.methods}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port(given.listen)
    server.start()
    host = given.listen.rsplit(":", 1)[0]
    print(f"the participant listens on {host}:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()

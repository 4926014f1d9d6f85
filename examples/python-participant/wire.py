"""How a step call looks on the wire: its metadata, and the answers that mean something to the orchestrator."""

import re

import grpc

from barrier import Call

STORED = ("evenkeel-barrier", "stored")


class BadCall(Exception):
    """The metadata is not that of a step call."""


def read(metadata):
    """Reads who calls and for what from the metadata of a request."""
    headers = {key: value for key, value in metadata}
    try:
        call = Call(
            saga_id=headers["evenkeel-saga-id"],
            step=headers["evenkeel-step"],
            index=int(headers.get("evenkeel-index", "0")),
            op=headers["evenkeel-op"],
            refusable=headers.get("evenkeel-refusable", "true") == "true",
        )
    except (KeyError, ValueError) as error:
        raise BadCall(str(error)) from error
    if call.op not in ("action", "compensation") or not re.fullmatch("[A-Z0-9_]{1,64}", call.step):
        raise BadCall("evenkeel-op or evenkeel-step is malformed")
    return call


def abort(context, domain, code, reason, message, stored=False):
    """Ends the call with a status that carries `google.rpc.ErrorInfo`."""
    code = grpc.StatusCode[code]
    info = _field(1, reason.encode()) + _field(2, domain.encode())
    detail = _field(1, b"type.googleapis.com/google.rpc.ErrorInfo") + _field(2, info)
    status = bytes([1 << 3, code.value[0]]) + _field(2, message.encode()) + _field(3, detail)
    trailers = (("grpc-status-details-bin", status),) + ((STORED,) if stored else ())
    context.set_trailing_metadata(trailers)
    context.abort(code, message)


def _field(number, value):
    """One protobuf field of the type bytes, string or message."""
    length, size = bytearray(), len(value)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + value

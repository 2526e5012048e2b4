"""Stands between a client and the server, and loses what a client must be able to lose.

`faulty_proxy.py GENERATED SERVER` listens on a free port of 127.0.0.1 and prints it. What it breaks:

- The answer to the first CreateEvent is lost, after the event was stored; the second attempt is
  turned away. A client whose retries have an idempotency key hears of one event, marked a duplicate.
- The first WatchEvents ends in the middle of the log. A client that resumes by `next_sequence` sees
  every event once.
"""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

sys.path.insert(0, sys.argv[1])
from auditlogs.v1.watch_requests_pb2 import WatchedEvents, WatchEventsResponse  # noqa: E402

SERVICE = "/auditlogs.v1.AuditLogs/"
STREAMS = {SERVICE + "GetExport", SERVICE + "WatchEvents"}
EVENTS_BEFORE_THE_CUT = 4


class Proxy(grpc.GenericRpcHandler):
    def __init__(self, server: grpc.Channel):
        self.server = server
        self.events = itertools.count()
        self.watches = itertools.count()

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if call.method in STREAMS:
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self.stream(call.method, request, context))
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.unary(call.method, request, context))

    def unary(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        attempt = next(self.events) if method == SERVICE + "CreateEvent" else None
        if attempt == 1:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "turned away by the faulty proxy")
        try:
            answer = self.server.unary_unary(method)(request, **forwarded(context))
        except grpc.RpcError as error:
            hand_on(error, context)
        if attempt == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost by the faulty proxy")
        return answer

    def stream(self, method: str, request: bytes, context: grpc.ServicerContext):
        frames = self.server.unary_stream(method)(request, **forwarded(context))
        context.add_callback(frames.cancel)
        try:
            if method == SERVICE + "WatchEvents" and next(self.watches) == 0:
                yield from until_the_cut(frames)
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut by the faulty proxy")
            yield from frames
        except grpc.RpcError as error:
            hand_on(error, context)


def until_the_cut(frames):
    """The frames as they are, with one event in each, until there were enough."""
    told = 0
    for frame in map(WatchEventsResponse.FromString, frames):
        if not frame.HasField("events"):
            yield frame.SerializeToString()
        for record in frame.events.events:
            if told == EVENTS_BEFORE_THE_CUT:
                return
            told += 1
            yield WatchEventsResponse(events=WatchedEvents(events=[record]),
                                      next_sequence=record.sequence + 1).SerializeToString()


def forwarded(context: grpc.ServicerContext) -> dict:
    metadata = [(k, v) for k, v in context.invocation_metadata() if k == "authorization"]
    # A call without a deadline has years left, which is more than a client may ask for.
    return {"metadata": metadata, "timeout": min(context.time_remaining() or 60, 60)}


def hand_on(error: grpc.RpcError, context: grpc.ServicerContext):
    """Ends the call as the server did: with its code, message and details."""
    context.set_trailing_metadata(tuple(error.trailing_metadata() or ()))
    context.abort(error.code(), error.details())


def main():
    channel = grpc.insecure_channel(sys.argv[2])
    listener = grpc.server(ThreadPoolExecutor(16), handlers=[Proxy(channel)])
    print(listener.add_insecure_port("127.0.0.1:0"), flush=True)
    listener.start()
    listener.wait_for_termination()


if __name__ == "__main__":
    main()

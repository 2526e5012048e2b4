"""Records an event, watches the log until it comes by, and exports it: the service from Python.

AUDIT_LOGS_SERVER is the address (http://127.0.0.1:50051), AUDIT_LOGS_API_KEY the key, and
AUDIT_LOGS_ORGANIZATION the log (org_acme). The argument is the file of the export (export.csv).
"""

import csv
import json
import os
import platform
import shutil
import sys
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.protobuf.struct_pb2 import Struct
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

# The generated modules call each other by their full names, so their folder is a root of its own.
sys.path.insert(0, str(Path(__file__).parent / "gen"))
from auditlogs.v1 import (  # noqa: E402
    action_pb2,
    action_requests_pb2,
    audit_event_pb2,
    audit_logs_service_pb2_grpc,
    event_requests_pb2,
    export_pb2,
    export_requests_pb2,
    watch_requests_pb2,
)

ACTION = "document.signed"
CALL_SECONDS = 15
# A log may be silent for long, and this program waits for an event that is there already.
WATCH_SECONDS = 60
WATCH_ATTEMPTS = 5
WORTH_A_RETRY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)

# What may be repeated, and how: https://grpc.io/docs/guides/retry/. CreateEvent is safe to repeat
# because every event here has an idempotency key. CreateExport is not named: each call makes one.
SERVICE_CONFIG = {
    "methodConfig": [{
        "name": [
            {"service": "auditlogs.v1.AuditLogs", "method": method}
            for method in ("CreateActionSchema", "CreateEvent", "GetExport", "WatchEvents")
        ],
        "retryPolicy": {
            "maxAttempts": 5,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": [code.name for code in WORTH_A_RETRY],
        },
    }],
}


class Failed(Exception):
    """Why the program cannot go on."""


def main() -> None:
    print(f"client: Python {platform.python_version()}, grpcio {version('grpcio')}, "
          f"protobuf {version('protobuf')}")
    key = os.environ.get("AUDIT_LOGS_API_KEY")
    if not key:
        raise Failed("AUDIT_LOGS_API_KEY is not set")
    server = os.environ.get("AUDIT_LOGS_SERVER", "http://127.0.0.1:50051")
    organization = os.environ.get("AUDIT_LOGS_ORGANIZATION", "org_acme")
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "export.csv")

    with connect(server) as channel:
        client = Client(channel, key, organization)
        client.ensure_schema()
        created = client.emit()
        client.emit_invalid()
        client.watch_for(created)
        client.export(created, file)


def connect(address: str) -> grpc.Channel:
    server = urlsplit(address)
    if not server.netloc:
        raise Failed(f"AUDIT_LOGS_SERVER is not an address like http://127.0.0.1:50051: {address}")
    options = [("grpc.service_config", json.dumps(SERVICE_CONFIG))]
    if server.scheme == "https":
        return grpc.secure_channel(server.netloc, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(server.netloc, options)


def struct(**members) -> Struct:
    made = Struct()
    made.update(members)
    return made


class Client:
    def __init__(self, channel: grpc.Channel, key: str, organization: str):
        self.stub = audit_logs_service_pb2_grpc.AuditLogsStub(channel)
        self.metadata = [("authorization", f"Bearer {key}")]
        self.organization = organization

    def ensure_schema(self) -> None:
        """Makes sure that the action has the schema. Sending one that is there makes no version."""
        schema = struct(type="object", required=["pages"],
                        properties={"pages": {"type": "integer", "minimum": 1}})
        answer = self.stub.CreateActionSchema(
            action_requests_pb2.CreateActionSchemaRequest(
                action_name=ACTION,
                targets=[action_pb2.SchemaTarget(type="document", metadata=schema)],
            ),
            metadata=self.metadata, timeout=CALL_SECONDS,
        )
        print(f"schema: {ACTION} version {answer.schema.version}, new: {answer.created}")

    def _new_event(self, pages) -> event_requests_pb2.CreateEventRequest:
        return event_requests_pb2.CreateEventRequest(
            organization_id=self.organization,
            idempotency_key=str(uuid.uuid4()),
            event=audit_event_pb2.Event(
                action=ACTION,
                occurred_at=datetime.now(UTC),
                actor=audit_event_pb2.Actor(id="user_1", type="user", name="Ada"),
                targets=[audit_event_pb2.Target(id="doc_1", type="document",
                                                metadata=struct(pages=pages))],
                context=audit_event_pb2.Context(location="203.0.113.9", user_agent="example/python"),
            ),
        )

    def emit(self) -> event_requests_pb2.CreateEventResponse:
        """Records an event. The answer means that it is durable and has its place in the log."""
        created = self.stub.CreateEvent(self._new_event(12), metadata=self.metadata,
                                        timeout=CALL_SECONDS)
        # A duplicate: an attempt whose answer was lost had stored it, and the retry nothing more.
        print(f"event: {created.event_id} is at sequence {created.sequence}, "
              f"duplicate: {created.duplicate}")
        return created

    def emit_invalid(self) -> None:
        """Sends an event that does not fit its schema, and reads what the service says about it."""
        try:
            self.stub.CreateEvent(self._new_event("twelve"), metadata=self.metadata,
                                  timeout=CALL_SECONDS)
        except grpc.RpcError as refusal:
            if refusal.code() != grpc.StatusCode.INVALID_ARGUMENT:
                raise
            print_details(refusal)
        else:
            raise Failed("an event that does not fit its schema was not refused")

    def watch_for(self, created: event_requests_pb2.CreateEventResponse) -> None:
        """Watches the log from a little before the event until it comes by.

        A stream that ends is resumed where its last frame said: nothing is missed and nothing comes
        twice.
        """
        following = max(created.sequence - 10, 0)
        for attempt in range(1, WATCH_ATTEMPTS + 1):
            stream = self.stub.WatchEvents(
                watch_requests_pb2.WatchEventsRequest(organization_id=self.organization,
                                                      from_sequence=following),
                metadata=self.metadata, timeout=WATCH_SECONDS,
            )
            try:
                for frame in stream:
                    following = frame.next_sequence
                    if saw(frame, created.event_id):
                        stream.cancel()
                        return
                ending = "OK"
            except grpc.RpcError as error:
                if error.code() not in WORTH_A_RETRY or attempt == WATCH_ATTEMPTS:
                    raise
                ending = error.code().name
            print(f"watch: ended with {ending}, resuming at sequence {following}")
        raise Failed("the event never came by")

    def export(self, created: event_requests_pb2.CreateEventResponse, file: Path) -> None:
        """Writes the last hour to a CSV file, follows it until it is ready, and downloads it."""
        now = datetime.now(UTC)
        answer = self.stub.CreateExport(
            export_requests_pb2.CreateExportRequest(
                organization_id=self.organization, range_start=now - timedelta(hours=1), range_end=now,
            ),
            metadata=self.metadata, timeout=CALL_SECONDS,
        )
        export = self._follow(answer.export.id)
        # The link is signed, and needs no key.
        with urllib.request.urlopen(export.url, timeout=CALL_SECONDS) as body, file.open("wb") as to:
            shutil.copyfileobj(body, to)
        with file.open(encoding="utf-8", newline="") as text:
            ids = [row["id"] for row in csv.DictReader(text)]
        if created.event_id not in ids:
            raise Failed(f"{file} does not have the event {created.event_id}")
        print(f"export: {file} has the event among {len(ids)}")

    def _follow(self, export_id: str) -> export_pb2.Export:
        for frame in self.stub.GetExport(export_requests_pb2.GetExportRequest(export_id=export_id),
                                         metadata=self.metadata, timeout=WATCH_SECONDS):
            state = export_pb2.ExportState.Name(frame.export.state)
            print(f"export: {state}, {frame.export.rows_written} rows")
            if frame.export.state == export_pb2.EXPORT_STATE_READY:
                return frame.export
            if frame.export.state != export_pb2.EXPORT_STATE_PENDING:
                raise Failed(f"{state}: {frame.export.error}")
        raise Failed("the export was not followed to its end")


def saw(frame: watch_requests_pb2.WatchEventsResponse, event_id: str) -> bool:
    """Prints a frame, and tells whether the event is in it."""
    if frame.WhichOneof("content") == "heartbeat":
        print(f"watch: heartbeat, the log has {frame.heartbeat.tree_size} events")
    for record in frame.events.events:
        print(f"watch: sequence {record.sequence} is {record.event.action} by {record.event.actor.id}")
        if record.id == event_id:
            return True
    return False


def print_details(refusal: grpc.RpcError) -> None:
    """Prints the `google.rpc` details, which come beside the code."""
    for detail in rpc_status.from_call(refusal).details:
        info, request = ErrorInfo(), BadRequest()
        if detail.Unpack(info):
            print(f"refused: {info.reason} of {info.domain}")
        elif detail.Unpack(request):
            for violation in request.field_violations:
                print(f"refused: {violation.field}: {violation.reason}: {violation.description}")


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"error: {error.code().name}: {error.details()}")
    except (Failed, OSError) as error:
        sys.exit(f"error: {error}")

// Records an event, watches the log until it comes by, and exports it: the service from Node.
//
// AUDIT_LOGS_SERVER is the address (http://127.0.0.1:50051), AUDIT_LOGS_API_KEY the key, and
// AUDIT_LOGS_ORGANIZATION the log (org_acme). The argument is the file of the export (export.csv).

import {
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { CreateActionSchemaResponse } from "./gen/auditlogs/v1/action_requests.js";
import { AuditLogsClient } from "./gen/auditlogs/v1/audit_logs_service.js";
import { type CreateEventResponse, CreateEventRequest } from "./gen/auditlogs/v1/event_requests.js";
import { type Export, ExportState, exportStateToJSON } from "./gen/auditlogs/v1/export.js";
import {
  type CreateExportResponse,
  CreateExportRequest,
  type GetExportResponse,
} from "./gen/auditlogs/v1/export_requests.js";
import { type WatchEventsResponse, WatchEventsRequest } from "./gen/auditlogs/v1/watch_requests.js";
import { BadRequest, ErrorInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";

const ACTION = "document.signed";
const CALL_SECONDS = 15;
// A log may be silent for long, and this program waits for an event that is there already.
const WATCH_SECONDS = 60;
const WATCH_ATTEMPTS = 5;

// What may be repeated, and how: https://grpc.io/docs/guides/retry/. CreateEvent is safe to repeat
// because every event here has an idempotency key. CreateExport is not named: each call makes one.
const SERVICE_CONFIG = {
  methodConfig: [{
    name: ["CreateActionSchema", "CreateEvent", "GetExport", "WatchEvents"].map((method) => (
      { service: "auditlogs.v1.AuditLogs", method }
    )),
    retryPolicy: {
      maxAttempts: 5,
      initialBackoff: "0.1s",
      maxBackoff: "2s",
      backoffMultiplier: 2,
      retryableStatusCodes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    },
  }],
};

function connect(address: string): AuditLogsClient {
  if (!URL.canParse(address)) {
    throw new Error(`AUDIT_LOGS_SERVER is not an address like http://127.0.0.1:50051: ${address}`);
  }
  const server = new URL(address);
  const secure = server.protocol === "https:";
  return new AuditLogsClient(
    // URL drops the port that is the default of its scheme; gRPC knows only 443.
    `${server.hostname}:${server.port || (secure ? 443 : 80)}`,
    secure ? credentials.createSsl() : credentials.createInsecure(),
    { "grpc.service_config": JSON.stringify(SERVICE_CONFIG) },
  );
}

class Client {
  private readonly metadata = new Metadata();

  constructor(
    private readonly stub: AuditLogsClient,
    private readonly organizationId: string,
    key: string,
  ) {
    this.metadata.set("authorization", `Bearer ${key}`);
  }

  /** Makes sure that the action has the schema. Sending one that is there makes no version. */
  async ensureSchema(): Promise<void> {
    const metadata = {
      type: "object",
      required: ["pages"],
      properties: { pages: { type: "integer", minimum: 1 } },
    };
    const request = {
      actionName: ACTION,
      targets: [{ type: "document", metadata }],
      actor: undefined,
      metadata: undefined,
    };
    const answer = await unary<CreateActionSchemaResponse>((done) =>
      this.stub.createActionSchema(request, this.metadata, within(CALL_SECONDS), done)
    );
    console.log(`schema: ${ACTION} version ${answer.schema?.version}, new: ${answer.created}`);
  }

  private newEvent(pages: number | string): CreateEventRequest {
    return CreateEventRequest.fromPartial({
      organizationId: this.organizationId,
      idempotencyKey: randomUUID(),
      event: {
        action: ACTION,
        occurredAt: new Date(),
        actor: { id: "user_1", type: "user", name: "Ada" },
        targets: [{ id: "doc_1", type: "document", metadata: { pages } }],
        context: { location: "203.0.113.9", userAgent: "example/typescript" },
      },
    });
  }

  private createEvent(request: CreateEventRequest): Promise<CreateEventResponse> {
    return unary((done) =>
      this.stub.createEvent(request, this.metadata, within(CALL_SECONDS), done)
    );
  }

  /** Records an event. The answer means that it is durable and has its place in the log. */
  async emit(): Promise<CreateEventResponse> {
    const created = await this.createEvent(this.newEvent(12));
    // A duplicate: an attempt whose answer was lost had stored it, and the retry stored nothing more.
    console.log(
      `event: ${created.eventId} is at sequence ${created.sequence}, duplicate: ${created.duplicate}`,
    );
    return created;
  }

  /** Sends an event that does not fit its schema, and reads what the service says about it. */
  async emitInvalid(): Promise<void> {
    try {
      await this.createEvent(this.newEvent("twelve"));
    } catch (refusal) {
      if (!isServiceError(refusal) || refusal.code !== status.INVALID_ARGUMENT) throw refusal;
      printDetails(refusal);
      return;
    }
    throw new Error("an event that does not fit its schema was not refused");
  }

  /**
   * Watches the log from a little before the event until it comes by. A stream that ends is resumed
   * where its last frame said: nothing is missed and nothing comes twice.
   */
  async watchFor(created: CreateEventResponse): Promise<void> {
    let next = created.sequence > 10n ? created.sequence - 10n : 0n;
    for (let attempt = 1; attempt <= WATCH_ATTEMPTS; attempt++) {
      const request = WatchEventsRequest.fromPartial({
        organizationId: this.organizationId,
        start: { $case: "fromSequence", value: next },
      });
      const stream = this.stub.watchEvents(request, this.metadata, within(WATCH_SECONDS));
      let ending = "OK";
      try {
        for await (const frame of frames(stream)) {
          next = frame.nextSequence;
          if (saw(frame, created.eventId)) return;
        }
      } catch (error) {
        const worthIt = isServiceError(error) &&
          [status.UNAVAILABLE, status.RESOURCE_EXHAUSTED].includes(error.code);
        if (!worthIt) throw error;
        ending = status[error.code];
      }
      console.log(`watch: ended with ${ending}, resuming at sequence ${next}`);
    }
    throw new Error("the event never came by");
  }

  /** Writes the last hour to a CSV file, follows it until it is ready, and downloads it. */
  async export(created: CreateEventResponse, file: string): Promise<void> {
    const now = new Date();
    const request = CreateExportRequest.fromPartial({
      organizationId: this.organizationId,
      rangeStart: new Date(now.getTime() - 3_600_000),
      rangeEnd: now,
    });
    const answer = await unary<CreateExportResponse>((done) =>
      this.stub.createExport(request, this.metadata, within(CALL_SECONDS), done)
    );
    const { url } = await this.follow(answer.export!.id);
    await download(url, file);
    // An id needs no quotes in CSV, so the beginning of a line tells.
    const lines = (await readFile(file, "utf8")).trimEnd().split("\r\n");
    if (!lines.some((line) => line.startsWith(`${created.eventId},`))) {
      throw new Error(`${file} does not have the event ${created.eventId}`);
    }
    console.log(`export: ${file} has the event among ${lines.length - 1}`);
  }

  private async follow(exportId: string): Promise<Export> {
    const stream = this.stub.getExport(
      { exportId, watch: undefined }, this.metadata, within(WATCH_SECONDS),
    );
    for await (const frame of frames<GetExportResponse>(stream)) {
      const now = frame.export!;
      console.log(`export: ${exportStateToJSON(now.state)}, ${now.rowsWritten} rows`);
      if (now.state === ExportState.EXPORT_STATE_READY) return now;
      if (now.state !== ExportState.EXPORT_STATE_PENDING) {
        throw new Error(`${exportStateToJSON(now.state)}: ${now.error}`);
      }
    }
    throw new Error("the export was not followed to its end");
  }
}

/** Turns a call with a callback into a promise. */
function unary<Answer>(
  call: (done: (error: ServiceError | null, answer: Answer) => void) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) =>
    call((error, answer) => (error ? reject(error) : resolve(answer)))
  );
}

/** The messages of a stream, which is cancelled when nobody wants more. */
async function* frames<Frame>(stream: ClientReadableStream<Frame>): AsyncGenerator<Frame> {
  // Cancelling is an error to a stream too, that comes when nobody reads any more.
  stream.on("error", () => {});
  try {
    yield* stream as AsyncIterable<Frame>;
  } finally {
    stream.cancel();
  }
}

function within(seconds: number): { deadline: Date } {
  return { deadline: new Date(Date.now() + seconds * 1000) };
}

/** Prints a frame, and tells whether the event is in it. */
function saw({ content }: WatchEventsResponse, eventId: string): boolean {
  if (content?.$case === "heartbeat") {
    console.log(`watch: heartbeat, the log has ${content.value.treeSize} events`);
  }
  const records = content?.$case === "events" ? content.value.events : [];
  for (const { sequence, event, id } of records) {
    console.log(`watch: sequence ${sequence} is ${event?.action} by ${event?.actor?.id}`);
    if (id === eventId) return true;
  }
  return false;
}

/** Prints the `google.rpc` details, which come as a message in the trailers. */
function printDetails(refusal: ServiceError): void {
  const [bytes] = refusal.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) throw new Error("the refusal has no details");
  for (const { typeUrl, value } of Status.decode(bytes).details) {
    if (typeUrl.endsWith("/google.rpc.ErrorInfo")) {
      const { reason, domain } = ErrorInfo.decode(value);
      console.log(`refused: ${reason} of ${domain}`);
    } else if (typeUrl.endsWith("/google.rpc.BadRequest")) {
      for (const { field, reason, description } of BadRequest.decode(value).fieldViolations) {
        console.log(`refused: ${field}: ${reason}: ${description}`);
      }
    }
  }
}

/** Fetches the signed link, which needs no key. */
async function download(url: string, file: string): Promise<void> {
  const response = await fetch(url, { signal: AbortSignal.timeout(CALL_SECONDS * 1000) });
  if (!response.ok || !response.body) {
    throw new Error(`the download answered ${response.status} ${response.statusText}`);
  }
  await pipeline(Readable.fromWeb(response.body), createWriteStream(file));
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

async function main(): Promise<void> {
  const { version } = createRequire(import.meta.url)("@grpc/grpc-js/package.json");
  console.log(`client: Node ${process.versions.node}, grpc-js ${version}`);
  const key = process.env.AUDIT_LOGS_API_KEY;
  if (!key) throw new Error("AUDIT_LOGS_API_KEY is not set");
  const stub = connect(process.env.AUDIT_LOGS_SERVER ?? "http://127.0.0.1:50051");
  try {
    const client = new Client(stub, process.env.AUDIT_LOGS_ORGANIZATION ?? "org_acme", key);
    await client.ensureSchema();
    const created = await client.emit();
    await client.emitInvalid();
    await client.watchFor(created);
    await client.export(created, process.argv[2] ?? "export.csv");
  } finally {
    stub.close();
  }
}

main().catch((error: unknown) => {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});

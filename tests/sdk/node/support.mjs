// What the Node stories share: the story's data, how a check is told, and the CSV.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'csv-parse/sync';

export const story = JSON.parse(readFileSync(`${process.env.AUDIT_LOGS_SUITE}/story.json`, 'utf8'));
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const COLUMNS = [
  'id', 'organization_id', 'action', 'version', 'occurred_at', 'received_at', 'actor_id',
  'actor_type', 'actor_name', 'actor_metadata', 'targets', 'context_location',
  'context_user_agent', 'metadata', 'sequence',
];
const started = Date.now();

/** Tells whether `actual` is what was expected, as a line of TAP. */
export function check(name, actual, expected = true) {
  try {
    assert.deepEqual(actual, expected);
    console.log(`ok - ${name}`);
  } catch {
    process.exitCode = 1;
    console.log(`not ok - ${name}: got ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
}

/** The exception of `kind` that the call must throw, or undefined. */
export async function refused(name, kind, call) {
  try {
    const answer = await call();
    check(name, answer, kind.name);
  } catch (error) {
    check(name, error.constructor === kind ? kind.name : `${error}`, kind.name);
    return error.constructor === kind ? error : undefined;
  }
}

/** Runs the chapters in order; one that breaks off is a failed check, not the end. */
export async function run(...chapters) {
  for (const chapter of chapters) {
    try {
      await chapter();
    } catch (error) {
      check(`${chapter.name} ends well`, error.stack);
    }
  }
}

/** An event of the story as these SDKs take it. */
export function asOptions(event) {
  const { occurred_at: occurredAt, context, ...rest } = structuredClone(event);
  return {
    ...rest,
    occurredAt: new Date(occurredAt),
    context: { location: context.location, userAgent: context.user_agent },
  };
}

/** The events that must be refused, as far as these SDKs can express them. */
export function refusals() {
  return story.refusals
    .filter(({ needs }) => needs === undefined || needs === 'free form')
    .map((refusal) => {
      const event = { ...story.events[0], ...refusal.change };
      delete event[refusal.remove];
      return { refusal, event };
    });
}

/** Whether an entry of `errors` points at what is wrong with the refused event. */
export function namesWhatIsWrong(refusal, errors) {
  return errors.some((entry) =>
    refusal.instance_path !== undefined
      ? entry.instancePath === refusal.instance_path
      : entry.field.startsWith(refusal.field) && entry.code === (refusal.code ?? entry.code));
}

/** Asks until the export is no longer pending. */
export async function poll(auditLogs, created) {
  const deadline = Date.now() + 30_000;
  let current = created;
  while (current.state === 'pending' && Date.now() < deadline) {
    await sleep(50);
    current = await auditLogs.getExport(created.id);
  }
  return current;
}

/** The rows of a CSV that is fetched by its link alone. */
export async function download(url) {
  const response = await fetch(url);
  assert.equal(response.status, 200);
  const [header, ...rows] = parse(await response.text());
  assert.deepEqual(header, COLUMNS);
  return rows.map((row) => Object.fromEntries(row.map((cell, i) => [COLUMNS[i], cell])));
}

/** Compares every cell with what was sent. */
export function checkRows(name, rows, organization, indices) {
  check(`${name}: rows`, rows.length, indices.length);
  rows.forEach((row, i) => {
    const event = story.events[indices[i]];
    check(`${name}: event ${indices[i]}`, toldApart(row), event && expected(event, organization));
  });
}

const guard = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);

function expected(event, organization) {
  const { actor, context } = event;
  return {
    id: true,
    organization_id: organization,
    action: event.action,
    version: String(event.version ?? 1),
    occurred_at: Date.parse(event.occurred_at),
    received_at: true,
    actor_id: actor.id,
    actor_type: actor.type,
    actor_name: guard(actor.name ?? ''),
    actor_metadata: actor.metadata ?? null,
    targets: event.targets,
    context_location: guard(context.location),
    context_user_agent: context.user_agent ?? '',
    metadata: event.metadata ?? null,
    sequence: true,
  };
}

/** The cells with JSON parsed, and what only the server knows held against its form. */
function toldApart(row) {
  const json = (cell) => (cell === '' ? null : JSON.parse(cell));
  const received = Date.parse(row.received_at);
  return {
    ...row,
    id: /^audit_event_[0-9A-HJKMNP-TV-Z]{26}$/.test(row.id),
    occurred_at: Date.parse(row.occurred_at),
    received_at: received >= started - 5000 && received <= Date.now() + 5000,
    actor_metadata: json(row.actor_metadata),
    targets: json(row.targets),
    metadata: json(row.metadata),
    sequence: /^\d+$/.test(row.sequence),
  };
}

// The story, told by `@workos-inc/node`: `node story.mjs workos-11`. The older line offers less.

import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import {
  asOptions, check, checkRows, download, namesWhatIsWrong, poll, refusals, refused, run, story, UUID,
} from './support.mjs';

const sdk = process.argv[2];
const require = createRequire(import.meta.url);
const { WorkOS, ...exceptions } = require(sdk);
const major = Number(sdk.split('-')[1]);

const { hostname, port } = new URL(process.env.AUDIT_LOGS_URL);
const connect = (key) => new WorkOS(key, { apiHostname: hostname, port: Number(port), https: false });
const { auditLogs, organizations } = connect(process.env.AUDIT_LOGS_KEY);
const { version } = JSON.parse(readFileSync(new URL(`node_modules/${sdk}/package.json`, import.meta.url)));
console.log(`# sdk @workos-inc/node ${version}`);

const acme = await organizations.createOrganization({ name: 'Acme' });

const send = (organization, event, options) =>
  auditLogs.createEvent(organization, asOptions(event), options);

/** The short form of a metadata schema that these SDKs take and expand themselves. */
const short = (schema) => schema && Object.fromEntries(
  Object.entries(schema.properties).map(([name, { type }]) => [name, type]));

const shortForm = (schema) => ({
  actor: schema.actor && { metadata: short(schema.actor.metadata) },
  targets: schema.targets.map(({ type, metadata }) => ({ type, metadata: short(metadata) })),
  metadata: short(schema.metadata),
});

const createSchema = (action, schema) => auditLogs.createSchema({ action, ...shortForm(schema) });

async function readExport(organizationId, wanted) {
  const { actions, actors, targets, actor_names: actorNames, actor_ids: actorIds } = wanted;
  const created = await auditLogs.createExport({
    organizationId,
    rangeStart: new Date(wanted.from),
    rangeEnd: new Date(wanted.to),
    actions, actors, actorNames, actorIds, targets,
  });
  return download((await poll(auditLogs, created)).url);
}

async function toldOrganizations() {
  check('a new organization', [acme.object, acme.name], ['organization', 'Acme']);
  check('got by id', await organizations.getOrganization(acme.id), acme);
  const missing = await refused('an unknown one', exceptions.NotFoundException,
    () => organizations.getOrganization(story.unknown_organization));
  check('its message', missing.message, `Organization not found: '${story.unknown_organization}'.`);
  const renamed = await organizations.updateOrganization({ organization: acme.id, name: 'Acme Incorporated' });
  check('renamed', [renamed.id, renamed.name], [acme.id, 'Acme Incorporated']);
  const gone = await organizations.createOrganization({ name: 'Gone' });
  await organizations.deleteOrganization(gone.id);
  await refused('a deleted one', exceptions.NotFoundException, () => organizations.getOrganization(gone.id));
}

async function toldWhatOrganizationsHold() {
  const made = await organizations.createOrganization(
    { name: 'Globex', externalId: 'crm-17', metadata: { tier: 'gold' } }, { idempotencyKey: randomUUID() });
  check('external id and metadata', [made.externalId, made.metadata], ['crm-17', { tier: 'gold' }]);
  check('got by external id', await organizations.getOrganizationByExternalId('crm-17'), made);
  const changed = await organizations.updateOrganization(
    { organization: made.id, externalId: null, metadata: { seats: '5' } });
  check('external id removed', changed.externalId ?? null, null);
  check('no domains', made.domains, []);
}

async function toldPagesOfOrganizations() {
  for (let number = 0; number < 3; number += 1) {
    await organizations.createOrganization({ name: `Page ${number}` });
  }
  const page = await organizations.listOrganizations({ limit: 2 });
  check('the newest first', page.data.map(({ name }) => name), ['Page 2', 'Page 1']);
  check('no cursor before the first page', page.listMetadata.before, null);
  const all = await organizations.listOrganizations();
  const everyone = (await all.autoPagination()).map(({ id }) => id);
  check('every organization once', everyone.length, new Set(everyone).size);
  check('the first of them last', everyone.at(-1), acme.id);
}

async function toldSchemas() {
  const [first, second] = story.schemas;
  const made = await createSchema(story.action, first);
  check('version 1', [made.object, made.version], ['audit_log_schema', 1]);
  const { actor, targets, metadata } = made;
  check('what it holds', JSON.parse(JSON.stringify({ actor, targets, metadata })),
    JSON.parse(JSON.stringify(shortForm(first))));
  check('the same again', await createSchema(story.action, first), made);
  const changed = await createSchema(story.action, second);
  check('version 2', [changed.version, changed.metadata], [2, short(second.metadata)]);
  const plain = await createSchema('report.plain', { targets: [{ type: 'report' }] });
  check('without any constraint', plain.version, 1);
  await refused('a schema without targets', exceptions.UnprocessableEntityException,
    () => createSchema('report.empty', { targets: [] }));
  await createSchema('paging.action_01', { targets: [{ type: story.paging.target }] });
  if (!auditLogs.listSchemas) return;
  const page = await auditLogs.listSchemas(story.action);
  check('both, newest first', page.data, [changed, made]);
  check('no cursors', page.listMetadata, { before: null, after: null });
  const one = await auditLogs.listSchemas(story.action, { limit: 1 });
  check('the newest', one.data, [changed]);
  check('all pages', await (await auditLogs.listSchemas(story.action)).autoPagination(), [changed, made]);
  await refused('schemas of an unknown action', exceptions.NotFoundException,
    () => auditLogs.listSchemas('report.unheard_of'));
  await refused('an unknown cursor', exceptions.NotFoundException,
    () => auditLogs.listSchemas(story.action, { after: 'als_01HXYZ123456789ABCDEFGHIJ' }));
  await refused('a limit of 9999', exceptions.UnprocessableEntityException,
    () => auditLogs.listSchemas(story.action, { limit: 9999 }));
  await createSchema(story.odd_action, { targets: [{ type: 'thing' }] });
  const odd = await auditLogs.listSchemas(story.odd_action);
  check('an action whose name needs escapes', odd.data.length, 1);
}

async function toldEvents() {
  for (const [index, event] of story.events.entries()) {
    check(`event ${index}`, (await send(acme.id, event)) === undefined);
  }
  const elsewhere = story.unregistered_organization;
  await send(elsewhere, story.events[0]);
  checkRows('an organization that nobody made', await readExport(elsewhere, story.exports[0]), elsewhere, [0]);
}

async function toldRefusals() {
  const kinds = { 400: exceptions.BadRequestException, 422: exceptions.UnprocessableEntityException };
  for (const { refusal, event } of refusals()) {
    const error = await refused(refusal.name, kinds[refusal.status], () => send(acme.id, event));
    if (!error) continue;
    check(`${refusal.name}: status`, error.status, refusal.status);
    if (refusal.status === 400) {
      check(`${refusal.name}: what is wrong`, namesWhatIsWrong(refusal, error.errors));
      check(`${refusal.name}: code`, [error.code, error.message],
        ['invalid_audit_log_event', 'Invalid Audit Log event.']);
    } else {
      // This SDK makes its message of the codes and drops the fields.
      check(`${refusal.name}: message`, error.message.includes(refusal.code ?? ''));
    }
    // Version 7 looks the header up in a way that never finds it.
    if (major >= 11) check(`${refusal.name}: request id`, UUID.test(error.requestID));
  }
}

async function toldIdempotency() {
  const idempotencyKey = randomUUID();
  const [zero, one] = story.events;
  for (const event of [zero, zero, one]) await send('org_same_key', event, { idempotencyKey });
  checkRows('a key counts once for equal events only',
    await readExport('org_same_key', story.exports[0]), 'org_same_key', [1, 0]);
  // The SDK makes a new key for every call.
  await send('org_no_key', zero);
  await send('org_no_key', zero);
  checkRows('equal calls are two events', await readExport('org_no_key', story.exports[0]), 'org_no_key', [0, 0]);
}

async function toldExports() {
  for (const wanted of story.exports) {
    // Version 8 and newer do not send the old filter.
    if (wanted.actors && major >= 8) continue;
    checkRows(`export ${wanted.name}`, await readExport(acme.id, wanted), acme.id, wanted.events);
  }
  const instant = new Date('2022-08-31T15:51:23.604Z');
  const created = await auditLogs.createExport(
    { organizationId: acme.id, rangeStart: instant, rangeEnd: instant });
  check('a new export', [created.object, created.id.length, ['pending', 'ready'].includes(created.state)],
    ['audit_log_export', 43, true]);
  const ready = await poll(auditLogs, created);
  check('is ready', [ready.id, ready.state], [created.id, 'ready']);
  check('and empty', await download(ready.url), []);
  const missing = await refused('an unknown export', exceptions.NotFoundException,
    () => auditLogs.getExport(story.unknown_export));
  check('its message', missing.message, `Audit Log Export not found: '${story.unknown_export}'.`);
  const backwards = { from: '2026-11-02T00:00:00Z', to: '2026-11-01T00:00:00Z' };
  // The class depends on whether the body has `errors`, which nothing fixes: fact sheet 3.1 and 3.2.
  const error = await readExport(acme.id, backwards).catch((thrown) => thrown);
  check('a range that ends before it starts', [error.status, error.message], [400, 'Invalid date range']);
  await refused('an export of an unknown organization', exceptions.NotFoundException,
    () => readExport(story.unknown_organization, story.exports[0]));
}

async function toldRetention() {
  if (!auditLogs.getOrganizationAuditLogsRetention) return;
  const get = (id) => auditLogs.getOrganizationAuditLogsRetention({ id });
  const set = (id, retentionPeriod) => auditLogs.updateOrganizationAuditLogsRetention({ id, retentionPeriod });
  check('no retention yet', await get(acme.id), { retentionPeriodInDays: null });
  for (const [period, days] of [['1_MONTH', 30], ['11_MONTHS', 330], ['1_YEAR', 365], ['10_YEARS', 3650]]) {
    check(`set to ${period}`, await set(acme.id, period), { retentionPeriodInDays: days });
  }
  check('got', await get(acme.id), { retentionPeriodInDays: 3650 });
  await refused('an unknown period', exceptions.UnprocessableEntityException, () => set(acme.id, '12_MONTHS'));
  await refused('of an unknown organization', exceptions.NotFoundException, () => get(story.unknown_organization));
}

async function toldKeys() {
  const stranger = connect('sk_wrong');
  const error = await refused('a wrong key', exceptions.UnauthorizedException,
    () => stranger.auditLogs.getExport(story.unknown_export));
  if (major >= 11) check('its request id', UUID.test(error.requestID));
}

await run(toldOrganizations, toldWhatOrganizationsHold, toldPagesOfOrganizations, toldSchemas,
  toldEvents, toldRefusals, toldIdempotency, toldExports, toldRetention, toldKeys);

// Drives @medplum/core through the interactions an EHR uses. Reads FHIR_BASE_URL and FHIR_TOKEN.
import assert from 'node:assert/strict';
import { MedplumClient, OperationOutcomeError, getReferenceString } from '@medplum/core';

const { FHIR_BASE_URL: fhir, FHIR_TOKEN: token } = process.env;
assert.ok(fhir && token, 'set FHIR_BASE_URL and FHIR_TOKEN (target/demo/demo.env has both)');
// Without its cache, so that every call is a request.
const settings = { baseUrl: fhir.replace(/fhir$/, ''), fhirUrlPath: 'fhir', cacheTime: 0 };
const client = new MedplumClient(settings);
client.setAccessToken(token);
const family = `Medplum${Date.now()}`;
const identifier = { system: 'https://example.org/medplum', value: family };

/** The OperationOutcome of a request that must be refused. */
async function refused(request) {
  try {
    await request;
  } catch (error) {
    assert.ok(error instanceof OperationOutcomeError, `an OperationOutcome and not ${error}`);
    assert.equal(error.outcome.resourceType, 'OperationOutcome');
    return error.outcome;
  }
  throw new assert.AssertionError({ message: 'the request was not refused' });
}

const capabilities = await client.get(client.fhirUrl('metadata'));
assert.equal(capabilities.fhirVersion, '4.0.1');

const created = await client.createResource({
  resourceType: 'Patient',
  identifier: [identifier],
  name: [{ family, given: ['Med', 'Plum'] }],
  gender: 'female',
  birthDate: '1970-01-01',
});
assert.equal(created.meta.versionId, '1');
assert.deepEqual(await client.readResource('Patient', created.id), created);
assert.deepEqual(await client.readReference({ reference: getReferenceString(created) }), created);

const updated = await client.updateResource({ ...created, gender: 'other' }, { headers: { 'If-Match': 'W/"1"' } });
assert.equal(updated.meta.versionId, '2');
const stale = await refused(client.updateResource({ ...created, gender: 'male' }, { headers: { 'If-Match': 'W/"1"' } }));
assert.equal(stale.issue[0].code, 'conflict');
assert.equal((await client.readVersion('Patient', created.id, '1')).gender, 'female');

const patched = await client.patchResource('Patient', created.id, [
  { op: 'test', path: '/gender', value: 'other' },
  { op: 'replace', path: '/gender', value: 'unknown' },
]);
assert.deepEqual([patched.meta.versionId, patched.gender], ['3', 'unknown']);
const history = await client.readHistory('Patient', created.id);
assert.deepEqual(history.entry.map(({ resource }) => resource.gender), ['unknown', 'other', 'female']);

const condition = `identifier=${identifier.system}|${family}-2`;
const conditional = { resourceType: 'Patient', identifier: [{ ...identifier, value: `${family}-2` }] };
const first = await client.createResourceIfNoneExist(conditional, condition);
assert.equal((await client.createResourceIfNoneExist(conditional, condition)).id, first.id);
const upserted = await client.upsertResource({ ...conditional, active: true }, condition);
assert.deepEqual([upserted.id, upserted.active], [first.id, true]);
const byHeader = { headers: { 'If-None-Exist': condition } };
assert.equal((await client.createResource(conditional, byHeader)).id, first.id);

for (let number = 0; number < 7; number += 1) {
  await client.createResource({
    resourceType: 'Observation',
    status: 'final',
    code: { coding: [{ system: 'http://loinc.org', code: '8867-4' }] },
    subject: { reference: getReferenceString(created), display: family },
    valueQuantity: { value: 60 + number, unit: '/min', system: 'http://unitsofmeasure.org', code: '/min' },
  });
}
const seen = new Set();
let pages = 0;
for await (const page of client.searchResourcePages('Observation', { patient: created.id, _count: 3 })) {
  pages += 1;
  page.forEach(({ id }) => {
    assert.ok(!seen.has(id), 'no resource is on two pages');
    seen.add(id);
  });
}
assert.deepEqual([pages, seen.size], [3, 7], 'no resource is skipped');
const highest = await client.searchOne('Observation', { patient: created.id, _sort: '-value-quantity' });
assert.equal(highest.valueQuantity.value, 66);
const bundle = await client.search('Observation', { patient: created.id, _include: 'Observation:subject', _total: 'accurate' });
assert.equal(bundle.total, 7);
assert.equal(bundle.entry.filter(({ search }) => search.mode === 'include').length, 1);
const everything = await client.readPatientEverything(created.id);
assert.equal(everything.entry.length, 8);

const transaction = await client.executeBatch({
  resourceType: 'Bundle',
  type: 'transaction',
  entry: [
    {
      fullUrl: 'urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a',
      resource: { resourceType: 'Patient', name: [{ family: `${family}Two` }] },
      request: { method: 'POST', url: 'Patient' },
    },
    {
      resource: {
        resourceType: 'Condition',
        subject: { reference: 'urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a' },
        code: { text: 'checked' },
      },
      request: { method: 'POST', url: 'Condition' },
    },
  ],
});
assert.equal(transaction.type, 'transaction-response');
assert.ok(transaction.entry.every(({ response }) => response.status.startsWith('201')));

const binary = await client.createBinary({ data: 'plain text', contentType: 'text/plain' });
assert.equal(binary.contentType, 'text/plain');
const blob = await client.download(client.fhirUrl('Binary', binary.id));
assert.equal(await blob.text(), 'plain text');

assert.equal((await client.validateResource({ resourceType: 'Patient', gender: 'male' })).resourceType, 'OperationOutcome');
const invalid = await refused(client.createResource({ resourceType: 'Patient', nonsense: 1 }));
assert.ok(invalid.issue[0].diagnostics.includes('nonsense'));

await client.deleteResource('Patient', created.id);
assert.equal((await refused(client.readResource('Patient', created.id))).issue[0].code, 'deleted');
assert.equal((await refused(client.readResource('Patient', 'absent'))).issue[0].code, 'not-found');
const stranger = new MedplumClient(settings);
stranger.setAccessToken('wrong');
assert.equal((await refused(stranger.readResource('Patient', 'absent'))).resourceType, 'OperationOutcome');
console.log('@medplum/core: all interactions as expected');

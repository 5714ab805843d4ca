// Drives fhir-kit-client through the interactions an EHR uses. Reads FHIR_BASE_URL and FHIR_TOKEN.
import assert from 'node:assert/strict';
import Client from 'fhir-kit-client';

const { FHIR_BASE_URL: baseUrl, FHIR_TOKEN: token } = process.env;
assert.ok(baseUrl && token, 'set FHIR_BASE_URL and FHIR_TOKEN (target/demo/demo.env has both)');
const client = new Client({ baseUrl, bearerToken: token });
const family = `Kit${Date.now()}`;

const capabilities = await client.capabilityStatement();
assert.equal(capabilities.fhirVersion, '4.0.1');
assert.ok(capabilities.rest[0].resource.some(({ type }) => type === 'Patient'));

// Not smartAuthMetadata(): the abort controller that it brings does not work with the fetch of Node.js 20.
const smart = await client.request('.well-known/smart-configuration');
assert.ok(smart.token_endpoint, 'the token endpoint is discovered');

const created = await client.create({
  resourceType: 'Patient',
  body: { resourceType: 'Patient', name: [{ family, given: ['Fhir', 'Kit'] }], gender: 'female', birthDate: '1970-01-01' },
});
assert.ok(created.id);
assert.equal(created.meta.versionId, '1');

const read = await client.read({ resourceType: 'Patient', id: created.id });
assert.equal(read.name[0].family, family);

const found = await client.search({ resourceType: 'Patient', searchParams: { family } });
assert.equal(found.resourceType, 'Bundle');
assert.deepEqual(found.entry.map(({ resource }) => resource.id), [created.id]);

const updated = await client.update({ resourceType: 'Patient', id: created.id, body: { ...read, gender: 'other' } });
assert.equal(updated.meta.versionId, '2');
assert.equal((await client.vread({ resourceType: 'Patient', id: created.id, version: '1' })).gender, 'female');
assert.equal((await client.history({ resourceType: 'Patient', id: created.id })).entry.length, 2);

const JSONPatch = [{ op: 'replace', path: '/gender', value: 'unknown' }];
assert.equal((await client.patch({ resourceType: 'Patient', id: created.id, JSONPatch })).gender, 'unknown');
assert.equal((await client.history({ resourceType: 'Patient' })).entry[0].resource.gender, 'unknown');
assert.equal((await client.history({})).type, 'history');

for (let number = 0; number < 5; number += 1) {
  await client.create({
    resourceType: 'Observation',
    body: {
      resourceType: 'Observation',
      status: 'final',
      code: { coding: [{ system: 'http://loinc.org', code: '8867-4' }] },
      subject: { reference: `Patient/${created.id}` },
      valueQuantity: { value: 60 + number, unit: '/min' },
    },
  });
}
let page = await client.search({
  resourceType: 'Observation',
  searchParams: { patient: created.id, _count: '2' },
});
const seen = new Set();
while (page) {
  for (const { resource } of page.entry ?? []) {
    assert.ok(!seen.has(resource.id), 'no resource is on two pages');
    seen.add(resource.id);
  }
  page = page.link.some(({ relation }) => relation === 'next') ? await client.nextPage({ bundle: page }) : undefined;
}
assert.equal(seen.size, 5, 'no resource is skipped');

const compartment = { resourceType: 'Patient', id: created.id };
const observed = await client.compartmentSearch({ resourceType: 'Observation', compartment });
assert.equal(observed.total, 5);
const everything = await client.operation({ ...compartment, name: 'everything', method: 'GET' });
assert.equal(everything.total, 6);
const included = await client.search({
  resourceType: 'Observation',
  searchParams: { 'subject:Patient.family': family, _include: 'Observation:subject', _sort: '-value-quantity', _count: 1 },
});
assert.deepEqual(included.entry.map(({ search }) => search.mode), ['match', 'include']);
assert.equal(included.entry[0].resource.valueQuantity.value, 64);

const bundle = await client.transaction({
  body: {
    resourceType: 'Bundle',
    type: 'transaction',
    entry: [
      {
        fullUrl: 'urn:uuid:8a6b2c1e-4e7d-4c0f-9a43-0d5f7f1f2a01',
        resource: { resourceType: 'Patient', name: [{ family: `${family}Two` }] },
        request: { method: 'POST', url: 'Patient' },
      },
      {
        resource: {
          resourceType: 'Condition',
          subject: { reference: 'urn:uuid:8a6b2c1e-4e7d-4c0f-9a43-0d5f7f1f2a01' },
          code: { text: 'checked' },
        },
        request: { method: 'POST', url: 'Condition' },
      },
    ],
  },
});
assert.equal(bundle.type, 'transaction-response');
assert.ok(bundle.entry.every(({ response }) => response.status.startsWith('201')));

await client.delete({ resourceType: 'Patient', id: created.id });
await assert.rejects(client.read({ resourceType: 'Patient', id: created.id }), (error) => {
  assert.equal(error.response.status, 410);
  assert.equal(error.response.data.resourceType, 'OperationOutcome');
  return true;
});
await assert.rejects(client.read({ resourceType: 'Patient', id: 'absent' }), ({ response }) => response.status === 404);
await assert.rejects(
  new Client({ baseUrl, bearerToken: 'wrong' }).read({ resourceType: 'Patient', id: 'absent' }),
  ({ response }) => response.status === 401,
);
console.log('fhir-kit-client: all interactions as expected');

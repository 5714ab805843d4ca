// An OpenID provider whose access tokens are for a FHIR server. Prints its address, then takes commands by line:
// `rotate` gives it new keys in place of the old ones, and prints `rotated`. Ends with its standard input.
//
// Reads AUDIENCE (the FHIR endpoint), SCOPES (what it may grant) and PATIENT (the launch context of every token).
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const { AUDIENCE: audience, SCOPES: scope, PATIENT: patient } = process.env;
if (!audience || !scope || !patient) throw new Error('set AUDIENCE, SCOPES and PATIENT');

function keys() {
  const curve = (namedCurve, alg) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve });
    return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig' };
  };
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const rsa = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' };
  return [rsa, curve('P-384', 'ES384'), curve('P-256', 'ES256')];
}

// Each client gets its access tokens signed with another key: the one that its name ends with.
const client = (id) => ({
  client_id: id,
  token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1:9/callback'],
  response_types: ['code'],
  grant_types: ['authorization_code'],
});

function provider(issuer) {
  return new Provider(issuer, {
    clients: ['app-rs256', 'app-es384', 'app-es256'].map(client),
    extraParams: ['aud'],
    extraTokenClaims: () => ({ patient }),
    jwks: { keys: keys() },
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource, { clientId }) => ({
          scope,
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: clientId.split('-')[1].toUpperCase() } },
        }),
      },
    },
  });
}

let current;
const server = createServer((request, response) => current(request, response));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  current = provider(issuer).callback();
  console.log(issuer);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line.trim() !== 'rotate') return;
    current = provider(issuer).callback();
    console.log('rotated');
  });
  lines.on('close', () => process.exit(0));
});

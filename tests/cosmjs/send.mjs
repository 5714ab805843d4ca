// Sends one message with an unmodified CosmJS SigningStargateClient and prints what became of it.
//
//   CARELEDGER_RPC=http://127.0.0.1:26657 CARELEDGER_KEY=<64 hex digits> \
//     node send.mjs '{"typeUrl": "/careledger.consent.v1.MsgGrantConsent", "value": {"subject": "<hex>", …}}'
//
// Bytes are hexadecimal; `sender` is filled in. Prints one line of JSON: address, accountNumber,
// sequence (before), chainId, code, height, hash. Exits with 1 where the ledger refused.

import { fromHex } from "@cosmjs/encoding";
import { DirectSecp256k1Wallet, Registry } from "@cosmjs/proto-signing";
import { defaultRegistryTypes, SigningStargateClient } from "@cosmjs/stargate";
import { types } from "./messages.mjs";

const rpc = process.env.CARELEDGER_RPC;
const key = process.env.CARELEDGER_KEY;
const [text] = process.argv.slice(2);
if (!rpc || !key || !text) {
  console.error("usage: CARELEDGER_RPC=URL CARELEDGER_KEY=HEX node send.mjs MESSAGE");
  process.exit(2);
}

const asBytes = new Set(["subject", "grant", "grantee", "terms", "body", "request", "encryptionKey"]);
const { typeUrl, value } = JSON.parse(text);
const fields = Object.entries(value).map(([name, field]) => [name, asBytes.has(name) ? fromHex(field) : field]);

const wallet = await DirectSecp256k1Wallet.fromKey(fromHex(key), "care");
const [{ address }] = await wallet.getAccounts();
const registry = new Registry([...defaultRegistryTypes, ...types]);
const client = await SigningStargateClient.connectWithSigner(rpc, wallet, { registry });
const chainId = await client.getChainId();
const { accountNumber, sequence } = await client.getSequence(address);
const message = { typeUrl, value: { sender: address, ...Object.fromEntries(fields) } };
const gas = await client.simulate(address, [message], "");
const fee = { amount: [], gas: "200000" };
const result = await client.signAndBroadcast(address, [message], fee);
const { code, height, transactionHash, rawLog } = result;
const line = { address, accountNumber, sequence, chainId, gas, code, height, hash: transactionHash, log: rawLog ?? "" };
console.log(JSON.stringify(line, (_, field) => (typeof field === "bigint" ? Number(field) : field)));
client.disconnect();
process.exit(code === 0 ? 0 : 1);

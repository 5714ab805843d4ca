// The commitment of a plan, from its intervals and terms, with circomlibjs alone: what an insurer compares the
// third public input with. `node plan_commitment.mjs < ../golden/plan.json`
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { buildPoseidonReference } from "circomlibjs";

const poseidon = await buildPoseidonReference();
const hash = (tag, inputs) => poseidon.F.toObject(poseidon(inputs, tag));
const hex = (value) => value.toString(16).padStart(64, "0");

const digest248 = (...fields) => {
  const hasher = createHash("sha256");
  for (const field of fields) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(field.length);
    hasher.update(length).update(field);
  }
  return BigInt("0x" + hasher.digest().subarray(0, 31).toString("hex"));
};

const plan = JSON.parse(readFileSync(0, "utf8"));
const insurer = Buffer.from(plan.insurer, "hex");
const policyName = createHash("sha256").update(plan.policy).digest();
const policyId = digest248(Buffer.from("careledger/zk/policy/1"), insurer, policyName);
const scope = digest248(Buffer.from("careledger/zk/scope/1"), insurer);

// Tag 6: one leaf an interval, ascending, no gap; then zero up to 256 leaves; then four levels of tag 10.
let nodes = plan.intervals.map(({ lo, hi, class: kind, wait_days, cap }) =>
  hash(6, [BigInt("0x" + lo), BigInt("0x" + hi), BigInt(kind), (BigInt(wait_days) << 40n) | BigInt(cap)]),
);
while (nodes.length < 256) nodes.push(0n);
while (nodes.length > 1) {
  const parents = [];
  for (let first = 0; first < nodes.length; first += 4) parents.push(hash(10, nodes.slice(first, first + 4)));
  nodes = parents;
}

const { claims_per_period, period_days, claim_within_days, age_days_min, age_days_max } = plan.terms;
const complete = plan.intervals.some((interval) => interval.class === 2) ? 1 : 0;
const days = [period_days, claim_within_days, age_days_min, age_days_max];
const terms = days.reduce(
  (packed, value, place) => packed | (BigInt(value) << BigInt(16 + 20 * place)),
  BigInt(claims_per_period) | (BigInt(complete) << 96n),
);
const commitment = hash(7, [policyId, scope, nodes[0], terms]);
console.log(hex(commitment));
process.exit(hex(commitment) === (plan.commitment ?? hex(commitment)) ? 0 : 1);

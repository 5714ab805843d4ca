// CareLedger's consent messages as CosmJS's Registry takes them. Field numbers are those of
// app/wire/proto/careledger/{consent,identity}/v1/tx.proto.

import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

const kinds = {
  string: { wire: 2, isDefault: (value) => value === "", write: (writer, value) => writer.string(value) },
  bytes: { wire: 2, isDefault: (value) => value.length === 0, write: (writer, value) => writer.bytes(value) },
  enum: { wire: 0, isDefault: (value) => value === 0, write: (writer, value) => writer.int32(value) },
  bool: { wire: 0, isDefault: (value) => !value, write: (writer, value) => writer.bool(value) },
  uint32: { wire: 0, isDefault: (value) => value === 0, write: (writer, value) => writer.uint32(value) },
  int64: { wire: 0, isDefault: (value) => BigInt(value) === 0n, write: (writer, value) => writer.int64(value) },
};

/** A message type with these fields, in the order of their numbers. */
function messageType(fields) {
  return {
    encode(message, writer = new BinaryWriter()) {
      fields.forEach(([name, kind], index) => {
        const value = message[name];
        if (value === undefined || kinds[kind].isDefault(value)) return;
        kinds[kind].write(writer.uint32(((index + 1) << 3) | kinds[kind].wire), value);
      });
      return writer;
    },
    decode(input, length) {
      const reader = input instanceof BinaryReader ? input : new BinaryReader(input);
      const end = length === undefined ? reader.len : reader.pos + length;
      const message = {};
      while (reader.pos < end) {
        const [name, kind] = fields[(reader.uint32() >>> 3) - 1];
        message[name] = kind === "enum" ? reader.int32() : reader[kind]();
      }
      return message;
    },
    fromPartial: (message) => message,
  };
}

export const MsgClaimSubject = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["encryptionKey", "bytes"],
]);

export const MsgGrantConsent = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["grant", "bytes"],
  ["grantee", "bytes"],
  ["mode", "enum"],
  ["notBefore", "int64"],
  ["expiresAt", "int64"],
  ["terms", "bytes"],
  ["body", "bytes"],
  ["request", "bytes"],
  ["delegable", "bool"],
]);

export const MsgAmendConsent = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["grant", "bytes"],
  ["version", "uint32"],
  ["mode", "enum"],
  ["notBefore", "int64"],
  ["expiresAt", "int64"],
  ["terms", "bytes"],
  ["body", "bytes"],
  ["delegable", "bool"],
]);

export const MsgReinstateConsent = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["grant", "bytes"],
]);

export const MsgAppointGuardian = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["guardian", "bytes"],
  ["until", "int64"],
  ["evidence", "bytes"],
]);

export const MsgApproveStanding = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["standing", "bytes"],
  ["grantee", "bytes"],
  ["mode", "enum"],
  ["terms", "bytes"],
  ["body", "bytes"],
  ["grantSeconds", "uint32"],
  ["expiresAt", "int64"],
  ["usesMax", "uint32"],
]);

export const MsgWithdrawStanding = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["standing", "bytes"],
]);

export const MsgRevokeConsent = messageType([
  ["sender", "string"],
  ["subject", "bytes"],
  ["grant", "bytes"],
]);

export const types = [
  ["/careledger.identity.v1.MsgClaimSubject", MsgClaimSubject],
  ["/careledger.consent.v1.MsgGrantConsent", MsgGrantConsent],
  ["/careledger.consent.v1.MsgRevokeConsent", MsgRevokeConsent],
  ["/careledger.consent.v1.MsgAmendConsent", MsgAmendConsent],
  ["/careledger.consent.v1.MsgReinstateConsent", MsgReinstateConsent],
  ["/careledger.consent.v1.MsgAppointGuardian", MsgAppointGuardian],
  ["/careledger.consent.v1.MsgApproveStanding", MsgApproveStanding],
  ["/careledger.consent.v1.MsgWithdrawStanding", MsgWithdrawStanding],
];

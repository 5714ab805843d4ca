#!/usr/bin/env python3
"""Records what a real browser makes of two CareLedger transactions: app/golden/passkeys.json.

Chromium, driven over WebDriver, creates a passkey in its virtual authenticator and signs the
challenges of two sign documents: a patient claims a subject, then grants a consent. The documents are
encoded here, apart from the ledger's code, from what app/wire/proto says; the test
`what_a_real_browser_signed_takes_effect` holds both together and replays the transactions.

    apt-get install -y chromium chromium-driver
    tests/passkeys/record.py

Run it again to record anew; keys and signatures are fresh each time.
"""

import hashlib
import http.server
import json
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
VECTORS = ROOT / "app" / "golden" / "passkeys.json"
PAGE_PORT = 41873
DRIVER_PORT = 41874
ORIGIN = f"http://localhost:{PAGE_PORT}"
RP_ID = "localhost"
CHAIN = "careledger-dev-1"
# The clinic, the lab and the account number of the test's chain.
CLINIC = "care1kua2vz40v9mt2vxk7ltl987zrhd2r8gwv4nz6h"
LAB = "care1srlful3ley386xtu3zjqfcypg37z8yupd3pcfs"
ACCOUNT_NUMBER = 5
# 2027-01-15T08:00:00Z, as in the ledger's tests.
START = 1_800_000_000

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]

CREATE = """
const done = arguments[arguments.length - 1];
navigator.credentials.create({ publicKey: {
  rp: { id: arguments[0], name: "CareLedger" },
  user: { id: new Uint8Array(16), name: "patient", displayName: "patient" },
  challenge: new Uint8Array(32),
  pubKeyCredParams: [{ type: "public-key", alg: -7 }],
  authenticatorSelection: { residentKey: "required", userVerification: "required" },
} }).then((credential) => {
  const bytes = (buffer) => Array.from(new Uint8Array(buffer));
  done({ id: bytes(credential.rawId), spki: bytes(credential.response.getPublicKey()) });
}, (error) => done({ error: String(error) }));
"""

SIGN = """
const done = arguments[arguments.length - 1];
navigator.credentials.get({ publicKey: {
  rpId: arguments[0],
  challenge: new Uint8Array(arguments[1]),
  allowCredentials: [{ type: "public-key", id: new Uint8Array(arguments[2]) }],
  userVerification: "required",
} }).then((credential) => {
  const bytes = (buffer) => Array.from(new Uint8Array(buffer));
  const response = credential.response;
  done({
    authenticatorData: bytes(response.authenticatorData),
    clientDataJSON: bytes(response.clientDataJSON),
    signature: bytes(response.signature),
  });
}, (error) => done({ error: String(error) }));
"""


class Page(http.server.BaseHTTPRequestHandler):
    """An empty page: passkeys need an origin."""

    def do_GET(self):
        body = b"<!doctype html><title>passkeys</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


# --- what the documents are made of -----------------------------------------------------------


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value):
    """A protobuf field; proto3 leaves out what is zero or empty."""
    if not value:
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(*values):
    return b"".join(field(number, value) for number, value in enumerate(values, 1))


BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> bit & 1:
                check ^= generator
    return check


def bech32(data):
    prefix = [ord(letter) >> 5 for letter in "care"] + [0] + [ord(letter) & 31 for letter in "care"]
    number = int.from_bytes(data, "big")
    words = [number >> shift & 31 for shift in range(len(data) * 8 - 5, -1, -5)]
    check = polymod(prefix + words + [0] * 6) ^ 1
    words += [check >> 5 * (5 - place) & 31 for place in range(6)]
    return "care1" + "".join(BECH32[word] for word in words)


def bech32_bytes(text):
    number = 0
    for letter in text[len("care1"):-6]:
        number = number << 5 | BECH32.index(letter)
    return number.to_bytes(20, "big")


def tagged(domain, *parts):
    """SHA3-256 over a tag and parts, each with its length before it."""
    digest = hashlib.sha3_256()
    for part in (domain.encode(), *parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def named(name):
    return hashlib.sha256(name.encode()).digest()


def sign_document(key, url, message, sequence):
    body = fields(fields(url, message))
    signer = fields(fields("/careledger.crypto.v1.WebAuthnP256PubKey", fields(key)), fields(fields(1)), sequence)
    auth = fields(signer, field(2, 200_000))
    return fields(body, auth, CHAIN, ACCOUNT_NUMBER)


# --- the browser ------------------------------------------------------------------------------


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{DRIVER_PORT}{path}", data, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def wait_for_driver():
    deadline = time.monotonic() + 30
    while True:
        try:
            if ask("GET", "/status")["ready"]:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("the browser's driver is not ready after 30 s: does `chromedriver` start by itself?")
        time.sleep(0.1)


def run(session, script, *arguments):
    value = ask("POST", f"/session/{session}/execute/async", {"script": script, "args": list(arguments)})
    if "error" in value:
        raise SystemExit(f"the browser refused: {value['error']}")
    return value


def record(profile):
    options = {"args": CHROMIUM + [f"--user-data-dir={profile}"]}
    capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
    opened = ask("POST", "/session", {"capabilities": capabilities})
    session = opened["sessionId"]
    try:
        ask("POST", f"/session/{session}/url", {"url": f"{ORIGIN}/"})
        authenticator = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserVerified": True,
        }
        ask("POST", f"/session/{session}/webauthn/authenticator", authenticator)
        created = run(session, CREATE, RP_ID)
        # An SPKI of P-256 ends in the uncompressed point: 4, x, y.
        point = bytes(created["spki"])[-65:]
        assert point[0] == 4, "an uncompressed point"
        key = bytes([2 | point[64] & 1]) + point[1:33]
        kind = hashlib.sha256(b"careledger.crypto.v1.WebAuthnP256PubKey").digest()
        address = hashlib.sha256(kind + key).digest()[:20]
        signed = []
        for url, message, sequence in messages(address):
            document = sign_document(key, url, message, sequence)
            challenge = hashlib.sha256(document).digest()
            made = run(session, SIGN, RP_ID, list(challenge), created["id"])
            signed.append({
                "type_url": url,
                "sign_bytes": document.hex(),
                "authenticator_data": bytes(made["authenticatorData"]).hex(),
                "client_data_json": bytes(made["clientDataJSON"]).decode(),
                "signature_der": bytes(made["signature"]).hex(),
            })
        browser = opened["capabilities"]
        return {
            "browser": f"{browser['browserName']} {browser['browserVersion']}",
            "chain_id": CHAIN, "origin": ORIGIN, "rp_id": RP_ID,
            "public_key": key.hex(), "address": bech32(address), "transactions": signed,
        }
    finally:
        ask("DELETE", f"/session/{session}")


def messages(address):
    subject = tagged("careledger/subject/1", bech32_bytes(CLINIC), address)
    yield ("/careledger.identity.v1.MsgClaimSubject",
           fields(bech32(address), subject, named("encryption key")), 0)
    yield ("/careledger.consent.v1.MsgGrantConsent",
           fields(bech32(address), subject, named("grant"), bech32_bytes(LAB), 1, START, START + 1_000,
                  named("terms"), named("body")), 1)


def main():
    page = http.server.ThreadingHTTPServer(("127.0.0.1", PAGE_PORT), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    driver = subprocess.Popen(["chromedriver", f"--port={DRIVER_PORT}"], stdout=subprocess.DEVNULL)
    try:
        wait_for_driver()
        with tempfile.TemporaryDirectory() as profile:
            vectors = record(profile)
    finally:
        driver.terminate()
        driver.wait()
        page.shutdown()
    VECTORS.write_text(json.dumps(vectors, indent=2) + "\n")
    print(f"recorded {len(vectors['transactions'])} transactions with {vectors['browser']}")


if __name__ == "__main__":
    main()

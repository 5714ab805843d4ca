//! Clients that we did not write, unmodified.

use std::{fs, path::Path, process::Command};

use careledger_tests::{node_project, root};
use careledger_wire::{commitment, ids::Address};
use serde_json::{Value, json};

use crate::{
    fhir::Fhir,
    home::{Home, succeeded, target},
    proofs,
};

/// A patient's consent, signed and sent by CosmJS.
pub fn cosmjs(home: &Home) {
    let folder = node_project::installed(root().join("tests/cosmjs"));
    let key = hex::encode(commitment::hash("careledger/test-key/1", &[home.path().display().to_string().as_bytes()]));
    let claimant: Address = address(&folder, &key).parse().unwrap();
    let hospital: Address = home.variable("GENERAL_ACCOUNT").parse().unwrap();
    let clinic: Address = home.variable("LAKESIDE_ACCOUNT").parse().unwrap();
    let account = json!({"system": "urn:careledger:account", "value": claimant.to_string()});
    Fhir::new(home, "general").created(&json!({"resourceType": "Patient", "identifier": [account]}));
    let subject = commitment::subject_id(&hospital, &claimant).to_string();
    let send = |message: Value| -> Value {
        let mut command = Command::new("node");
        command.args(["send.mjs", &message.to_string()]).current_dir(&folder);
        command.env("CARELEDGER_RPC", home.variable("CARELEDGER_RPC")).env("CARELEDGER_KEY", &key);
        serde_json::from_str(&succeeded(&mut command)).unwrap()
    };
    let claimed = send(json!({
        "typeUrl": "/careledger.identity.v1.MsgClaimSubject",
        "value": {"subject": subject, "encryptionKey": "07".repeat(32)},
    }));
    assert_eq!(claimed["code"], 0, "{claimed}");
    let grant = "5c".repeat(32);
    let expires = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 86_400;
    let granted = send(json!({
        "typeUrl": "/careledger.consent.v1.MsgGrantConsent",
        "value": {
            "subject": subject, "grant": grant, "grantee": hex::encode(clinic.as_bytes()), "mode": 1,
            "notBefore": expires - 86_400, "expiresAt": expires, "terms": "01".repeat(32), "body": "02".repeat(32),
        },
    }));
    assert_eq!(granted["code"], 0, "{granted}");
    assert_eq!(granted["chainId"], home.variable("CARELEDGER_CHAIN_ID").as_str());
    proofs::rest_on_what_validators_signed(home, &subject, &grant, &clinic.to_string());
}

/// The address of a key, as CosmJS sees it.
fn address(folder: &Path, key: &str) -> String {
    let script = format!(
        "import {{ fromHex }} from '@cosmjs/encoding'; import {{ DirectSecp256k1Wallet }} from '@cosmjs/proto-signing';\
         const wallet = await DirectSecp256k1Wallet.fromKey(fromHex('{key}'), 'care');\
         console.log((await wallet.getAccounts())[0].address);"
    );
    let printed = succeeded(Command::new("node").args(["--input-type=module", "--eval", &script]).current_dir(folder));
    printed.trim().to_owned()
}

/// fhir-kit-client against hospital A.
pub fn fhir_kit_client(home: &Home) {
    let folder = node_project::installed(root().join("tests/clients/fhir-kit-client"));
    let printed = succeeded(with_endpoint(home, Command::new("node").arg("check.mjs").current_dir(folder)));
    assert!(printed.contains("as expected"), "{printed}");
}

/// fhirpy against hospital A.
pub fn fhirpy(home: &Home) {
    let folder = root().join("tests/clients/fhirpy");
    let requirements = folder.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).unwrap();
    let environment = target().join("e2e/fhirpy");
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).ok().as_deref() != Some(&wanted) {
        succeeded(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        let pip = environment.join("bin/python");
        succeeded(Command::new(pip).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&requirements));
        fs::write(&installed, wanted).unwrap();
    }
    let python = environment.join("bin/python");
    let printed = succeeded(with_endpoint(home, Command::new(python).arg("check.py").current_dir(folder)));
    assert!(printed.contains("as expected"), "{printed}");
}

fn with_endpoint<'a>(home: &Home, command: &'a mut Command) -> &'a mut Command {
    command.env("FHIR_BASE_URL", home.variable("GENERAL_BASE_URL")).env("FHIR_TOKEN", home.token("general"))
}

//! `query`: ask a running ledger.

use careledger_app::{
    client::Client,
    keys::{self, Key},
};
use careledger_wire::{
    ids::{
        Address, ClaimId, Digest, EmergencyId, FieldBytes, GrantId, ProposalId, RecordId, RequestId, StandingId,
        SubjectId, TransactionHash, ValidatorKey,
    },
    proto::query::{self, PathRequest},
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{
    Failure, Format, Node, Result,
    access::Access,
    audit::Audit,
    describe::Describe,
    governance::proposals,
    parse::UnixTime,
    trust::{At, TrustArguments},
};

/// Ask a running ledger.
///
/// With --prove the value, or its absence, is checked with an ICS23 proof against the app hash of a
/// block header, and that header against one that you trust: the chain's validators must have signed it.
/// Name the trusted one with --trust-height and --trust-hash; what was verified last is kept in the home
/// folder, so once is enough. The answer says what it rests on. An absent value leaves with code 1.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd query organization care1hospital…
  careledgerd query grant 5d86… 77ab… --prove --trust-height 1042 --trust-hash 9f31…
  careledgerd query grant 5d86… 77ab… --prove --witness http://validator.example:26657
  careledgerd query access 5d86… --prove --at-time 2027-01-31T12:00:00Z
  careledgerd query transaction 3F1A…
  careledgerd query key 706172616d6574657273 --prove     (hexadecimal of `parameters`)")]
pub struct Query {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    trust: TrustArguments,
    /// Check the answer against a block header that the validators signed.
    #[arg(long, global = true)]
    prove: bool,
    /// Height of the state, with --prove [default: the newest].
    #[arg(long, global = true, requires = "prove", alias = "height", value_name = "HEIGHT")]
    at_height: Option<u64>,
    /// The state that stood at this time, with --prove: 2027-01-31, 2027-01-31T12:00:00Z or Unix seconds.
    #[arg(long, global = true, requires = "prove", conflicts_with = "at_height", value_name = "TIME")]
    at_time: Option<UnixTime>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Guardians of an account, and whether a recovery is under way.
    Guardians {
        /// The account.
        address: Address,
    },
    /// What was approved of a new key for an account.
    Recovery {
        /// The account.
        address: Address,
        /// Address of the new key.
        key: Address,
    },
    /// Number, sequence, role and keys of an account.
    Account {
        /// The account.
        address: Address,
    },
    /// An organization: kind, keys, end of its accreditation, suspension.
    Organization {
        /// Its account.
        address: Address,
    },
    /// A member of an organization's staff.
    Practitioner {
        /// The organization's account.
        organization: Address,
        /// The practitioner's account.
        practitioner: Address,
    },
    /// One organization's view of one patient.
    Subject {
        /// The subject.
        subject: SubjectId,
    },
    /// An access request.
    Request {
        /// The request.
        request: RequestId,
    },
    /// A consent grant.
    Grant {
        /// The subject.
        subject: SubjectId,
        /// The grant.
        grant: GrantId,
    },
    /// What was delegated from a grant.
    Delegations {
        /// The subject.
        subject: SubjectId,
        /// The grant.
        grant: GrantId,
    },
    /// A subject's guardian: until when, and who approved.
    Guardianship {
        /// The subject.
        subject: SubjectId,
        /// The guardian's account.
        guardian: Address,
    },
    /// A view that was opened without consent.
    Emergency {
        /// The subject.
        subject: SubjectId,
        /// The emergency.
        emergency: EmergencyId,
    },
    /// An organization's emergencies that wait for their review.
    EmergencyReviews {
        /// The organization's account.
        organization: Address,
    },
    /// A standing approval, and how often it was used.
    Standing {
        /// The subject.
        subject: SubjectId,
        /// The approval.
        standing: StandingId,
    },
    /// A record's version and commitment.
    Record {
        /// The custodian's account.
        organization: Address,
        /// The record.
        record: RecordId,
    },
    /// How many batches of its access log an organization anchored, or one of them.
    AccessLog {
        /// The organization's account.
        organization: Address,
        /// Number of the batch.
        batch: Option<u64>,
    },
    /// A published plan.
    Plan {
        /// Its commitment.
        commitment: FieldBytes,
    },
    /// The authentication path of an anchored commitment, for a prover.
    Path {
        /// Which tree.
        tree: Tree,
        /// The commitment.
        commitment: FieldBytes,
        /// The insurer, for enrolments.
        #[arg(long, value_name = "ADDRESS", required_if_eq("tree", "enrolment"))]
        insurer: Option<Address>,
    },
    /// What the ledger confirmed about a claim.
    Eligibility {
        /// The insurer's account.
        insurer: Address,
        /// The insurer's id of the claim.
        claim: ClaimId,
    },
    /// Who may see what of a subject, now or at an earlier time.
    Access(Access),
    /// Check an access log against what the ledger proves.
    Audit(Audit),
    /// The registrars, the format of the state, and what was voted on.
    Parameters,
    /// A proposal of the registrars.
    Proposal {
        /// The proposal.
        proposal: ProposalId,
    },
    /// The proposals that registrars can vote on.
    Proposals,
    /// A validator's power and offences.
    Validator {
        /// Its Ed25519 public key, hexadecimal.
        key: ValidatorKey,
    },
    /// A batch of records.
    Batch {
        /// The custodian's account.
        organization: Address,
        /// Its root.
        root: Digest,
    },
    /// What one organization countersigned of another's record, or was asked to.
    Countersignature {
        /// The custodian's account.
        organization: Address,
        /// The record.
        record: RecordId,
        /// The countersigner's account.
        countersigner: Address,
    },
    /// What became of a transaction.
    Transaction {
        /// Its hash.
        hash: TransactionHash,
    },
    /// The bytes under any key of the state.
    Key {
        /// The key, hexadecimal.
        key: String,
    },
}

/// A tree of commitments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tree {
    /// Facts that providers attest.
    Attestation,
    /// Members that one insurer enrolled.
    Enrolment,
}

impl From<Tree> for query::Tree {
    fn from(tree: Tree) -> Self {
        match tree {
            Tree::Attestation => Self::Attestations,
            Tree::Enrolment => Self::Enrolments,
        }
    }
}

impl Query {
    pub async fn run(self) -> Result<()> {
        let client = Client::new(&self.node.node)?;
        let rests_on_a_proof = self.prove || matches!(self.what, What::Audit(_));
        if self.trust.is_given() && !rests_on_a_proof {
            return Err(Failure::new("what a proof rests on is given, and no proof is asked for: add --prove"));
        }
        match &self.what {
            What::Guardians { address } => self.show(&client, &keys::guardians(address)).await,
            What::Recovery { address, key } => self.show(&client, &keys::recovery(address, key)).await,
            What::Account { address } => self.show(&client, &keys::account(address)).await,
            What::Organization { address } => self.show(&client, &keys::organization(address)).await,
            What::Practitioner { organization, practitioner } => {
                self.show(&client, &keys::practitioner(organization, practitioner)).await
            }
            What::Subject { subject } => self.show(&client, &keys::subject(subject)).await,
            What::Request { request } => self.show(&client, &keys::request(request)).await,
            What::Grant { subject, grant } => self.show(&client, &keys::consent(subject, grant)).await,
            What::Delegations { subject, grant } => self.show(&client, &keys::delegation(subject, grant)).await,
            What::Guardianship { subject, guardian } => {
                self.show(&client, &keys::guardianship(subject, guardian)).await
            }
            What::Emergency { subject, emergency } => self.show(&client, &keys::emergency(subject, emergency)).await,
            What::EmergencyReviews { organization } => self.show(&client, &keys::emergency_reviews(organization)).await,
            What::Standing { subject, standing } => self.show(&client, &keys::standing(subject, standing)).await,
            What::Record { organization, record } => self.show(&client, &keys::record(organization, record)).await,
            What::AccessLog { organization, batch: None } => self.show(&client, &keys::access_log(organization)).await,
            What::AccessLog { organization, batch: Some(batch) } => {
                self.show(&client, &keys::access_log_batch(organization, *batch)).await
            }
            What::Access(access) => self.access(&client, access).await,
            What::Audit(audit) => self.audit(&client, audit).await,
            What::Parameters => self.show(&client, &keys::parameters()).await,
            What::Proposal { proposal } => self.show(&client, &keys::proposal(proposal)).await,
            What::Proposals => {
                self.refuse_prove("a list is on the node's word; prove each with `query proposal`")?;
                self.format.print(&proposals(&client).await?);
                Ok(())
            }
            What::Validator { key } => self.show(&client, &keys::validator(key)).await,
            What::Batch { organization, root } => self.show(&client, &keys::batch(organization, root)).await,
            What::Countersignature { organization, record, countersigner } => {
                self.show(&client, &keys::countersignature(organization, record, countersigner)).await
            }
            What::Plan { commitment } => self.show(&client, &keys::plan(commitment)).await,
            What::Eligibility { insurer, claim } => self.show(&client, &keys::eligibility(insurer, claim)).await,
            What::Key { key } => {
                let key = hex::decode(key).map_err(|_| Failure::new("the key is not hexadecimal"))?;
                let describe = |value: &[u8]| Ok(json!({ "value": hex::encode(value) }));
                self.answer(&client, &key, describe).await
            }
            What::Path { tree, commitment, insurer } => {
                self.refuse_prove("a path proves itself: its root is compared with the ledger's")?;
                let insurer = insurer.map(|insurer| insurer.to_vec()).unwrap_or_default();
                let tree = query::Tree::from(*tree).into();
                let path = client.path(&PathRequest { tree, insurer, commitment: commitment.to_vec() }).await?;
                self.print_found(path.map(|path| path.describe()))
            }
            What::Transaction { hash } => {
                self.refuse_prove("results are kept by each node, outside the proven state")?;
                self.print_found(client.result(hash).await?.map(|result| result.describe()))
            }
        }
    }

    async fn access(&self, client: &Client, access: &Access) -> Result<()> {
        if !self.prove {
            return Err(Failure::new("who may see what is answered with proofs only: add --prove"));
        }
        let mut prover = self.trust.prover(client).await?;
        self.format.print(&access.run(client, &mut prover, self.at()).await?);
        Ok(())
    }

    async fn audit(&self, client: &Client, audit: &Audit) -> Result<()> {
        self.refuse_prove("an audit always rests on a proof")?;
        let mut prover = self.trust.prover(client).await?;
        self.format.print(&audit.run(client, &mut prover).await?);
        Ok(())
    }

    async fn show<V: Describe>(&self, client: &Client, key: &Key<V>) -> Result<()> {
        let describe = |bytes: &[u8]| {
            let value = V::decode(bytes).map_err(|_| Failure::new("the node's value cannot be read"))?;
            Ok(value.describe())
        };
        self.answer(client, key.as_bytes(), describe).await
    }

    async fn answer(&self, client: &Client, key: &[u8], describe: impl Fn(&[u8]) -> Result<Value>) -> Result<()> {
        if !self.prove {
            let value = client.get(key).await?;
            return self.print_found(value.map(|value| describe(&value)).transpose()?);
        }
        let (value, proven) = self.trust.prover(client).await?.prove(key, self.at()).await?;
        let mut shown = match &value {
            Some(value) => describe(value)?,
            None => json!({ "absent": true }),
        };
        shown["proven"] = proven;
        self.format.print(&shown);
        value.map(|_| ()).ok_or_else(|| Failure::new("the ledger has no such value; its absence is proven"))
    }

    fn at(&self) -> At {
        match (self.at_height, self.at_time) {
            (Some(height), _) => At::Height(height),
            (None, Some(time)) => At::Time(time),
            (None, None) => At::Newest,
        }
    }

    fn print_found(&self, found: Option<Value>) -> Result<()> {
        let found = found.ok_or_else(|| {
            Failure::new("the ledger has no such value").next("--prove shows that the node does not withhold it")
        })?;
        self.format.print(&found);
        Ok(())
    }

    fn refuse_prove(&self, reason: &str) -> Result<()> {
        if self.prove { Err(Failure::new(format!("--prove does not apply: {reason}"))) } else { Ok(()) }
    }
}

//! State sync: giving snapshots to nodes that join, and joining from one.

use tendermint_proto::v0_38::abci::{
    RequestApplySnapshotChunk, RequestLoadSnapshotChunk, RequestOfferSnapshot, ResponseApplySnapshotChunk,
    ResponseListSnapshots, ResponseLoadSnapshotChunk, ResponseOfferSnapshot, Snapshot,
    response_apply_snapshot_chunk::Result as Chunk, response_offer_snapshot::Result as Offer,
};

use crate::{
    machine::Machine,
    snapshot::{Applied, FORMAT, Refused, Restore},
    store::Store,
};

/// What this node can give.
pub(super) fn list<S: Store>(machine: &Machine<S>) -> ResponseListSnapshots {
    let snapshots = machine.store().snapshots().into_iter().map(|manifest| Snapshot {
        height: manifest.height,
        format: FORMAT,
        chunks: u32::try_from(manifest.chunks.len()).expect("a manifest has a bounded number of chunks"),
        hash: manifest.hash().to_vec().into(),
        metadata: manifest.encode().into(),
    });
    ResponseListSnapshots { snapshots: snapshots.collect() }
}

/// One chunk; empty where it is not there, which CometBFT tells the node that joins.
pub(super) fn load<S: Store>(machine: &Machine<S>, request: &RequestLoadSnapshotChunk) -> ResponseLoadSnapshotChunk {
    let chunk = (request.format == FORMAT).then(|| machine.store().snapshot_chunk(request.height, request.chunk));
    ResponseLoadSnapshotChunk { chunk: chunk.flatten().unwrap_or_default().into() }
}

/// Begins to join from a snapshot, or says what is wrong with it.
pub(super) fn offer<S: Store>(
    machine: &Machine<S>,
    joining: &mut Option<Restore>,
    bytes_max: u64,
    request: RequestOfferSnapshot,
) -> ResponseOfferSnapshot {
    *joining = None;
    let app_hash = <[u8; 32]>::try_from(request.app_hash.as_ref());
    let result = match (request.snapshot, app_hash) {
        _ if machine.has_blocks() => {
            tracing::error!(height = machine.height(), "a snapshot was offered to a node that has a state already");
            Offer::Abort
        }
        (Some(offered), Ok(app_hash)) => {
            let size = (offered.height, offered.format, offered.chunks);
            match Restore::begin(size, &offered.hash, &offered.metadata, app_hash, bytes_max) {
                Ok(restore) => {
                    tracing::info!(height = offered.height, chunks = offered.chunks, "joining from a snapshot");
                    *joining = Some(restore);
                    Offer::Accept
                }
                Err(Refused::Format) => Offer::RejectFormat,
                Err(Refused::Damaged) => Offer::Reject,
                Err(Refused::TooLarge) => {
                    say_too_large();
                    Offer::Reject
                }
            }
        }
        _ => Offer::Reject,
    };
    ResponseOfferSnapshot { result: result.into() }
}

/// Takes a chunk. A wrong one is asked for again, from others than who sent it.
pub(super) fn apply<S: Store>(
    machine: &mut Machine<S>,
    joining: &mut Option<Restore>,
    request: RequestApplySnapshotChunk,
) -> ResponseApplySnapshotChunk {
    let Some(restore) = joining.as_mut() else {
        return answer(Chunk::Abort);
    };
    let index = request.index;
    match restore.apply(index, &request.chunk) {
        Applied::More => answer(Chunk::Accept),
        Applied::Wrong => {
            tracing::warn!(index, sender = %request.sender, "a chunk is not the one of the manifest; asking others");
            let reject_senders = if request.sender.is_empty() { Vec::new() } else { vec![request.sender] };
            ResponseApplySnapshotChunk { result: Chunk::Retry.into(), refetch_chunks: vec![index], reject_senders }
        }
        Applied::Forged => {
            tracing::warn!("the snapshot is not of the state that validators signed; trying another");
            *joining = None;
            answer(Chunk::RejectSnapshot)
        }
        Applied::TooLarge => {
            say_too_large();
            *joining = None;
            answer(Chunk::RejectSnapshot)
        }
        Applied::Whole(restored) => {
            let (height, pairs) = (restored.height, restored.pairs.len());
            machine.install(restored);
            *joining = None;
            tracing::info!(height, pairs, "joined from a snapshot");
            answer(Chunk::Accept)
        }
    }
}

/// A true one may be: then the operator must say so.
fn say_too_large() {
    tracing::warn!("the snapshot is larger than [snapshots] join_bytes_max of app.toml; trying another");
}

fn answer(result: Chunk) -> ResponseApplySnapshotChunk {
    ResponseApplySnapshotChunk { result: result.into(), ..ResponseApplySnapshotChunk::default() }
}

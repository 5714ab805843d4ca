package abciclient

import (
	"context"

	abcicli "github.com/cometbft/cometbft/abci/client"
	"github.com/cometbft/cometbft/abci/types"
)

// CheckTxAsync queues a transaction for checking and returns at once; the response reaches the callbacks.
func (client *Client) CheckTxAsync(ctx context.Context, request *types.RequestCheckTx) (*abcicli.ReqRes, error) {
	return client.enqueue(ctx, types.ToRequestCheckTx(request))
}

// Flush returns when every request queued before it has been answered and its callbacks have run.
func (client *Client) Flush(ctx context.Context) error {
	_, err := client.call(ctx, types.ToRequestFlush())
	return err
}

// Echo asks the application to repeat a message.
func (client *Client) Echo(ctx context.Context, message string) (*types.ResponseEcho, error) {
	response, err := client.call(ctx, types.ToRequestEcho(message))
	return response.GetEcho(), err
}

// Info is the ABCI method of that name.
func (client *Client) Info(ctx context.Context, request *types.RequestInfo) (*types.ResponseInfo, error) {
	response, err := client.call(ctx, types.ToRequestInfo(request))
	return response.GetInfo(), err
}

// Query is the ABCI method of that name.
func (client *Client) Query(ctx context.Context, request *types.RequestQuery) (*types.ResponseQuery, error) {
	response, err := client.call(ctx, types.ToRequestQuery(request))
	return response.GetQuery(), err
}

// CheckTx is the ABCI method of that name.
func (client *Client) CheckTx(ctx context.Context, request *types.RequestCheckTx) (*types.ResponseCheckTx, error) {
	response, err := client.call(ctx, types.ToRequestCheckTx(request))
	return response.GetCheckTx(), err
}

// InitChain is the ABCI method of that name.
func (client *Client) InitChain(ctx context.Context, request *types.RequestInitChain) (*types.ResponseInitChain, error) {
	response, err := client.call(ctx, types.ToRequestInitChain(request))
	return response.GetInitChain(), err
}

// PrepareProposal is the ABCI method of that name.
func (client *Client) PrepareProposal(ctx context.Context, request *types.RequestPrepareProposal) (*types.ResponsePrepareProposal, error) {
	response, err := client.call(ctx, types.ToRequestPrepareProposal(request))
	return response.GetPrepareProposal(), err
}

// ProcessProposal is the ABCI method of that name.
func (client *Client) ProcessProposal(ctx context.Context, request *types.RequestProcessProposal) (*types.ResponseProcessProposal, error) {
	response, err := client.call(ctx, types.ToRequestProcessProposal(request))
	return response.GetProcessProposal(), err
}

// FinalizeBlock is the ABCI method of that name.
func (client *Client) FinalizeBlock(ctx context.Context, request *types.RequestFinalizeBlock) (*types.ResponseFinalizeBlock, error) {
	response, err := client.call(ctx, types.ToRequestFinalizeBlock(request))
	return response.GetFinalizeBlock(), err
}

// ExtendVote is the ABCI method of that name.
func (client *Client) ExtendVote(ctx context.Context, request *types.RequestExtendVote) (*types.ResponseExtendVote, error) {
	response, err := client.call(ctx, types.ToRequestExtendVote(request))
	return response.GetExtendVote(), err
}

// VerifyVoteExtension is the ABCI method of that name.
func (client *Client) VerifyVoteExtension(ctx context.Context, request *types.RequestVerifyVoteExtension) (*types.ResponseVerifyVoteExtension, error) {
	response, err := client.call(ctx, types.ToRequestVerifyVoteExtension(request))
	return response.GetVerifyVoteExtension(), err
}

// Commit is the ABCI method of that name.
func (client *Client) Commit(ctx context.Context, _ *types.RequestCommit) (*types.ResponseCommit, error) {
	response, err := client.call(ctx, types.ToRequestCommit())
	return response.GetCommit(), err
}

// ListSnapshots is the ABCI method of that name.
func (client *Client) ListSnapshots(ctx context.Context, request *types.RequestListSnapshots) (*types.ResponseListSnapshots, error) {
	response, err := client.call(ctx, types.ToRequestListSnapshots(request))
	return response.GetListSnapshots(), err
}

// OfferSnapshot is the ABCI method of that name.
func (client *Client) OfferSnapshot(ctx context.Context, request *types.RequestOfferSnapshot) (*types.ResponseOfferSnapshot, error) {
	response, err := client.call(ctx, types.ToRequestOfferSnapshot(request))
	return response.GetOfferSnapshot(), err
}

// LoadSnapshotChunk is the ABCI method of that name.
func (client *Client) LoadSnapshotChunk(ctx context.Context, request *types.RequestLoadSnapshotChunk) (*types.ResponseLoadSnapshotChunk, error) {
	response, err := client.call(ctx, types.ToRequestLoadSnapshotChunk(request))
	return response.GetLoadSnapshotChunk(), err
}

// ApplySnapshotChunk is the ABCI method of that name.
func (client *Client) ApplySnapshotChunk(ctx context.Context, request *types.RequestApplySnapshotChunk) (*types.ResponseApplySnapshotChunk, error) {
	response, err := client.call(ctx, types.ToRequestApplySnapshotChunk(request))
	return response.GetApplySnapshotChunk(), err
}

// answers says whether a response is of the kind its request asks for.
func answers(request *types.Request, response *types.Response) bool {
	switch request.Value.(type) {
	case *types.Request_Echo:
		return response.GetEcho() != nil
	case *types.Request_Flush:
		return response.GetFlush() != nil
	case *types.Request_Info:
		return response.GetInfo() != nil
	case *types.Request_Query:
		return response.GetQuery() != nil
	case *types.Request_CheckTx:
		return response.GetCheckTx() != nil
	case *types.Request_InitChain:
		return response.GetInitChain() != nil
	case *types.Request_PrepareProposal:
		return response.GetPrepareProposal() != nil
	case *types.Request_ProcessProposal:
		return response.GetProcessProposal() != nil
	case *types.Request_FinalizeBlock:
		return response.GetFinalizeBlock() != nil
	case *types.Request_ExtendVote:
		return response.GetExtendVote() != nil
	case *types.Request_VerifyVoteExtension:
		return response.GetVerifyVoteExtension() != nil
	case *types.Request_Commit:
		return response.GetCommit() != nil
	case *types.Request_ListSnapshots:
		return response.GetListSnapshots() != nil
	case *types.Request_OfferSnapshot:
		return response.GetOfferSnapshot() != nil
	case *types.Request_LoadSnapshotChunk:
		return response.GetLoadSnapshotChunk() != nil
	case *types.Request_ApplySnapshotChunk:
		return response.GetApplySnapshotChunk() != nil
	}
	return false
}

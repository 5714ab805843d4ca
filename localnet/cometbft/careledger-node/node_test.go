package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cometbft/cometbft/abci/example/kvstore"
	"github.com/cometbft/cometbft/abci/server"
	"github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/libs/service"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	cmttypes "github.com/cometbft/cometbft/types"

	"careledger/localnet/cometbft/abciclient"
)

// deadline only turns a hang into a failure; no test waits for it.
const deadline = 60 * time.Second

// rejecting refuses every proposal, its own included: CometBFT calls that a consensus failure.
type rejecting struct{ *kvstore.Application }

func (rejecting) ProcessProposal(context.Context, *types.RequestProcessProposal) (*types.ResponseProcessProposal, error) {
	return &types.ResponseProcessProposal{Status: types.ResponseProcessProposal_UNKNOWN}, nil
}

// home makes a home folder of a chain with one validator, and the configuration of its node.
func home(t *testing.T, proxyApp string) *config.Config {
	t.Helper()
	folder := t.TempDir()
	config.EnsureRoot(folder)
	configuration := config.TestConfig().SetRoot(folder)
	configuration.ProxyApp = proxyApp
	configuration.RPC.ListenAddress = "tcp://127.0.0.1:0"
	configuration.RPC.GRPCListenAddress = ""
	configuration.P2P.ListenAddress = "tcp://127.0.0.1:0"
	// Its address book is saved by a routine that outlives Stop.
	configuration.P2P.PexReactor = false
	configuration.Consensus.TimeoutCommit = 10 * time.Millisecond
	configuration.Consensus.CreateEmptyBlocks = true
	validator := privval.LoadOrGenFilePV(configuration.PrivValidatorKeyFile(), configuration.PrivValidatorStateFile())
	if _, err := p2p.LoadOrGenNodeKey(configuration.NodeKeyFile()); err != nil {
		t.Fatal(err)
	}
	public, err := validator.GetPubKey()
	if err != nil {
		t.Fatal(err)
	}
	genesis := cmttypes.GenesisDoc{
		ChainID:         "node-test",
		GenesisTime:     time.Now(),
		ConsensusParams: cmttypes.DefaultConsensusParams(),
		Validators:      []cmttypes.GenesisValidator{{Address: public.Address(), PubKey: public, Power: 10}},
	}
	if err := genesis.SaveAs(configuration.GenesisFile()); err != nil {
		t.Fatal(err)
	}
	return configuration
}

func serve(t *testing.T, application types.Application) (string, service.Service) {
	t.Helper()
	address := "unix://" + filepath.Join(t.TempDir(), "abci.sock")
	peer := server.NewSocketServer(address, application)
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Stop() })
	return address, peer
}

func run(t *testing.T, configuration *config.Config) (*node.Node, <-chan error) {
	t.Helper()
	created, faults, err := newNode(configuration, log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	if err := created.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = created.Stop() })
	return created, faults
}

func awaitBlock(t *testing.T, running *node.Node) {
	t.Helper()
	blocks, err := running.EventBus().Subscribe(context.Background(), t.Name(), cmttypes.EventQueryNewBlock)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-blocks.Out():
	case <-time.After(deadline):
		t.Fatal("no block was committed")
	}
}

func awaitFault(t *testing.T, faults <-chan error, wanted string) {
	t.Helper()
	select {
	case fault := <-faults:
		if !strings.Contains(fault.Error(), wanted) {
			t.Fatalf("the fault is %q, wanted %q", fault, wanted)
		}
	case <-time.After(deadline):
		t.Fatalf("no fault was reported, wanted %q", wanted)
	}
}

func TestANodeReportsThatItsApplicationDied(t *testing.T) {
	address, application := serve(t, kvstore.NewInMemoryApplication())
	running, faults := run(t, home(t, address))
	awaitBlock(t, running)
	if err := application.Stop(); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, faults, "the application is lost")
}

func TestANodeReportsAConsensusFailure(t *testing.T) {
	address, _ := serve(t, rejecting{kvstore.NewInMemoryApplication()})
	_, faults := run(t, home(t, address))
	awaitFault(t, faults, "consensus failed")
}

func TestOurClientServesSocketsAndNothingElse(t *testing.T) {
	configuration := config.DefaultConfig().SetRoot(t.TempDir())
	for proxyApp, ours := range map[string]bool{
		"unix:///tmp/abci.sock":   true,
		"tcp://127.0.0.1:1":       true,
		"kvstore":                 false,
		"noop":                    false,
		"https://127.0.0.1:1/abc": false,
	} {
		configuration.ProxyApp = proxyApp
		client, err := clientCreator(configuration, nil).NewABCIClient()
		if err != nil {
			t.Fatal(err)
		}
		if _, got := client.(*abciclient.Client); got != ours {
			t.Errorf("%s: our client is used: %v, wanted %v", proxyApp, got, ours)
		}
	}
	configuration.ProxyApp, configuration.ABCI = "tcp://127.0.0.1:1", "grpc"
	client, err := clientCreator(configuration, nil).NewABCIClient()
	if err != nil {
		t.Fatal(err)
	}
	if _, ours := client.(*abciclient.Client); ours {
		t.Error("our client would speak the socket protocol to a gRPC application")
	}
}

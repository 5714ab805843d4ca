package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	abcicli "github.com/cometbft/cometbft/abci/client"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"

	"careledger/localnet/cometbft/abciclient"
)

// stopTimeMax is how long a node that cannot go on may take to close its databases.
const stopTimeMax = 10 * time.Second

// newSupervisedNode makes a node that ends the process with exit code 1 when it cannot go on.
func newSupervisedNode(configuration *config.Config, logger log.Logger, options ...node.Option) (*node.Node, error) {
	created, faults, err := newNode(configuration, logger, options...)
	if err != nil {
		return nil, err
	}
	go func() {
		fault := <-faults
		logger.Error("this node cannot go on and ends; restart it when the cause is mended", "err", fault)
		time.AfterFunc(stopTimeMax, func() { os.Exit(1) })
		if err := created.Stop(); err != nil {
			logger.Error("stopping the node", "err", err)
		}
		os.Exit(1)
	}()
	return created, nil
}

// newNode makes a node and a channel that tells why it cannot go on, once that is so.
func newNode(
	configuration *config.Config, logger log.Logger, options ...node.Option,
) (*node.Node, <-chan error, error) {
	faults := make(chan error, 1)
	report := func(fault error) {
		// CometBFT is about to send itself SIGTERM, whose handler would end the process with exit code 0.
		signal.Ignore(syscall.SIGTERM)
		select {
		case faults <- fault:
		default:
			// The first fault is the cause; what follows is its echo.
		}
	}
	nodeKey, err := p2p.LoadOrGenNodeKey(configuration.NodeKeyFile())
	if err != nil {
		return nil, nil, fmt.Errorf("node key %s: %w", configuration.NodeKeyFile(), err)
	}
	created, err := node.NewNode(configuration,
		privval.LoadOrGenFilePV(configuration.PrivValidatorKeyFile(), configuration.PrivValidatorStateFile()),
		nodeKey,
		clientCreator(configuration, report),
		node.DefaultGenesisDocProviderFunc(configuration),
		config.DefaultDBProvider,
		node.DefaultMetricsProvider(configuration.Instrumentation),
		consensusWatch{Logger: logger, report: report},
		options...,
	)
	return created, faults, err
}

// clientCreator uses our client for an application behind a socket, and CometBFT's own for its built-in
// applications and for gRPC.
func clientCreator(configuration *config.Config, report func(error)) proxy.ClientCreator {
	network, address, found := strings.Cut(configuration.ProxyApp, "://")
	if !found || configuration.ABCI != "socket" || (network != "unix" && network != "tcp") {
		return proxy.DefaultClientCreator(configuration.ProxyApp, configuration.ABCI, configuration.DBDir())
	}
	return socketClientCreator{network: network, address: address, report: report}
}

type socketClientCreator struct {
	network, address string
	report           func(error)
}

// NewABCIClient makes one of the four connections (consensus, mempool, query, snapshot) of a node.
func (creator socketClientCreator) NewABCIClient() (abcicli.Client, error) {
	return abciclient.New(creator.network, creator.address, func(fault error) {
		creator.report(fmt.Errorf("the application is lost: %w", fault))
	}), nil
}

// consensusFailure is what CometBFT logs when its consensus routine ends for good. The process and its RPC
// stay alive after it, so nothing but this line and a height that stands still would tell.
const consensusFailure = "CONSENSUS FAILURE!!!"

// consensusWatch is a logger that reports a consensus failure when it is logged.
type consensusWatch struct {
	log.Logger
	report func(error)
}

// Error logs, and reports a consensus failure.
func (watch consensusWatch) Error(message string, keyvals ...interface{}) {
	watch.Logger.Error(message, keyvals...)
	if message == consensusFailure {
		watch.report(errors.New("consensus failed: the log above says why"))
	}
}

// With keeps the watch on the loggers of the node's modules.
func (watch consensusWatch) With(keyvals ...interface{}) log.Logger {
	return consensusWatch{Logger: watch.Logger.With(keyvals...), report: watch.report}
}

// Command careledger-node runs CometBFT, unmodified, with an ABCI client that flushes sensibly.
//
// It takes the commands and flags of the stock `cometbft` program and reads the same home folder, so either
// can be stopped and the other started in its place. What differs: the client (see package abciclient), and
// that a node which cannot go on ends with exit code 1, where the stock program ends with 0 when the
// application dies and stays alive, without ever producing a block again, after a consensus failure; and a flag
// of `start` (see package gossip).
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/cmd/cometbft/commands"
	"github.com/cometbft/cometbft/cmd/cometbft/commands/debug"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/cli"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/node"

	"careledger/localnet/cometbft/gossip"
)

func main() {
	collectSeldom()
	var blocks int64
	start := commands.NewRunNodeCmd(func(configuration *config.Config, logger log.Logger) (*node.Node, error) {
		if blocks < 0 {
			return nil, fmt.Errorf("--pass-on-after is a number of blocks, not %d", blocks)
		}
		return newSupervisedNode(configuration, logger, gossip.Option(blocks))
	})
	start.Flags().Int64Var(&blocks, "pass-on-after", 0,
		"pass on what a peer sent only when it was in none of this many blocks, 0 at once; "+
			"for validators that are all peers of each other")
	root := commands.RootCmd
	root.Use = "careledger-node"
	root.AddCommand(
		commands.GenValidatorCmd,
		commands.InitFilesCmd,
		commands.LightCmd,
		commands.ReplayCmd,
		commands.ReplayConsoleCmd,
		commands.ResetAllCmd,
		commands.ResetPrivValidatorCmd,
		commands.ResetStateCmd,
		commands.ShowValidatorCmd,
		commands.TestnetFilesCmd,
		commands.ShowNodeIDCmd,
		commands.ReIndexEventCmd,
		commands.GenNodeKeyCmd,
		commands.VersionCmd,
		commands.RollbackStateCmd,
		commands.CompactGoLevelDBCmd,
		commands.InspectCmd,
		debug.DebugCmd,
		cli.NewCompletionCmd(root, true),
		start,
	)
	home := os.ExpandEnv(filepath.Join("$HOME", config.DefaultTendermintDir))
	if err := cli.PrepareBaseCmd(root, "CMT", home).Execute(); err != nil {
		os.Exit(1)
	}
}

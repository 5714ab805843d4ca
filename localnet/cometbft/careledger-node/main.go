// Command careledger-node runs CometBFT, unmodified, with an ABCI client that flushes sensibly.
//
// It takes the commands and flags of the stock `cometbft` program and reads the same home folder, so either
// can be stopped and the other started in its place. What differs: the client (see package abciclient), and
// that a node which cannot go on ends with exit code 1, where the stock program ends with 0 when the
// application dies and stays alive, without ever producing a block again, after a consensus failure.
package main

import (
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/cmd/cometbft/commands"
	"github.com/cometbft/cometbft/cmd/cometbft/commands/debug"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/cli"
)

func main() {
	collectSeldom()
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
		commands.NewRunNodeCmd(newSupervisedNode),
	)
	home := os.ExpandEnv(filepath.Join("$HOME", config.DefaultTendermintDir))
	if err := cli.PrepareBaseCmd(root, "CMT", home).Execute(); err != nil {
		os.Exit(1)
	}
}

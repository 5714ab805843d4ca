package abciclient

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	abcicli "github.com/cometbft/cometbft/abci/client"
	"github.com/cometbft/cometbft/abci/server"
	"github.com/cometbft/cometbft/abci/types"
)

// byteReader reads no further than asked, so that a test can take one message at a time.
type byteReader struct{ net.Conn }

func typeName(request *types.Request) string { return fmt.Sprintf("%T", request.Value) }

func numbered(number uint32) *abcicli.ReqRes {
	return abcicli.NewReqRes(types.ToRequestCheckTx(&types.RequestCheckTx{Tx: binary.BigEndian.AppendUint32(nil, number)}))
}

// BenchmarkCheckTx compares this client with CometBFT's own: one call at a time, and many in flight.
func BenchmarkCheckTx(b *testing.B) {
	address := "unix://" + filepath.Join(b.TempDir(), "abci.sock")
	peer := server.NewSocketServer(address, &recorder{})
	if err := peer.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = peer.Stop() }()
	transaction := &types.RequestCheckTx{Tx: make([]byte, 350)}
	for name, client := range map[string]abcicli.Client{
		"ours":  New("unix", address[len("unix://"):], nil),
		"stock": abcicli.NewSocketClient(address, true),
	} {
		if err := client.Start(); err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/one at a time", func(b *testing.B) {
			for iteration := 0; iteration < b.N; iteration++ {
				if _, err := client.CheckTx(context.Background(), transaction); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/in flight", func(b *testing.B) {
			for iteration := 0; iteration < b.N; iteration++ {
				if _, err := client.CheckTxAsync(context.Background(), transaction); err != nil {
					b.Fatal(err)
				}
			}
			if err := client.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
		if err := client.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}

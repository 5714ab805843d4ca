package abciclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cometbft/cometbft/abci/example/kvstore"
	"github.com/cometbft/cometbft/abci/server"
	"github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/libs/protoio"
)

// deadline only turns a hang into a failure; no test waits for it.
const deadline = 20 * time.Second

// recorder is an application that answers CheckTx with the transaction and refuses those that say so.
type recorder struct {
	types.BaseApplication
}

func (application *recorder) CheckTx(_ context.Context, request *types.RequestCheckTx) (*types.ResponseCheckTx, error) {
	if string(request.Tx) == "raise" {
		return nil, errors.New("raised on purpose")
	}
	return &types.ResponseCheckTx{Data: request.Tx}, nil
}

func start(t *testing.T, network string, application types.Application) *Client {
	t.Helper()
	address := filepath.Join(t.TempDir(), "abci.sock")
	if network == "tcp" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address = listener.Addr().String()
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
	peer := server.NewSocketServer(network+"://"+address, application)
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Stop() })
	client := New(network, address, nil)
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Stop() })
	return client
}

// scripted is a client whose peer is the test itself.
func scripted(t *testing.T, onFault func(error)) (*Client, net.Conn) {
	t.Helper()
	return scriptedAt(t, checkInterval, onFault)
}

// scriptedAt is the same with a time of its own between two writes of CheckTx alone.
func scriptedAt(t *testing.T, interval time.Duration, onFault func(error)) (*Client, net.Conn) {
	t.Helper()
	address := filepath.Join(t.TempDir(), "abci.sock")
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	client := New("unix", address, onFault)
	client.checkInterval = interval
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Stop() })
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	if err := peer.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	return client, peer
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatalf("%s did not happen", what)
	}
}

func TestEveryCallGetsItsOwnAnswerOnBothTransports(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			client := start(t, network, kvstore.NewInMemoryApplication())
			ctx := context.Background()
			if echo, err := client.Echo(ctx, "hello"); err != nil || echo.Message != "hello" {
				t.Fatalf("echo: %v %v", echo, err)
			}
			if info, err := client.Info(ctx, &types.RequestInfo{}); err != nil || info.Data == "" {
				t.Fatalf("info: %v %v", info, err)
			}
			if check, err := client.CheckTx(ctx, &types.RequestCheckTx{Tx: []byte("a=b")}); err != nil || check.Code != 0 {
				t.Fatalf("check: %v %v", check, err)
			}
			block := &types.RequestFinalizeBlock{Height: 1, Txs: [][]byte{[]byte("a=b")}}
			if results, err := client.FinalizeBlock(ctx, block); err != nil || len(results.TxResults) != 1 {
				t.Fatalf("finalize: %v %v", results, err)
			}
			if _, err := client.Commit(ctx, &types.RequestCommit{}); err != nil {
				t.Fatalf("commit: %v", err)
			}
			if found, err := client.Query(ctx, &types.RequestQuery{Data: []byte("a")}); err != nil || string(found.Value) != "b" {
				t.Fatalf("query: %v %v", found, err)
			}
		})
	}
}

func TestCallbacksRunInOrderAndBeforeTheFlushReturns(t *testing.T) {
	const requests = 5000
	client := start(t, "unix", &recorder{})
	var global, own []uint32
	client.SetResponseCallback(func(request *types.Request, _ *types.Response) {
		if check := request.GetCheckTx(); check != nil {
			global = append(global, binary.BigEndian.Uint32(check.Tx))
		}
		// A callback may look at the client; the mempool does.
		if err := client.Error(); err != nil {
			t.Error(err)
		}
	})
	var mutex sync.Mutex
	for index := uint32(0); index < requests; index++ {
		pending, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{Tx: binary.BigEndian.AppendUint32(nil, index)})
		if err != nil {
			t.Fatal(err)
		}
		pending.SetCallback(func(response *types.Response) {
			mutex.Lock()
			defer mutex.Unlock()
			own = append(own, binary.BigEndian.Uint32(response.GetCheckTx().Data))
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(global) != requests {
		t.Fatalf("the flush returned after %d of %d global callbacks", len(global), requests)
	}
	for index, seen := range global {
		if seen != uint32(index) {
			t.Fatalf("global callback %d ran for request %d", index, seen)
		}
	}
	mutex.Lock()
	defer mutex.Unlock()
	if len(own) != requests {
		t.Fatalf("%d of %d own callbacks ran", len(own), requests)
	}
}

func TestRequestsThatWaitTogetherShareOneFlush(t *testing.T) {
	const requests = 500
	client, peer := scripted(t, nil)
	for index := 0; index < requests; index++ {
		if _, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{Tx: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	checks, flushes := 0, 0
	for checks < requests || flushes == 0 {
		request := &types.Request{}
		if err := types.ReadMessage(byteReader{peer}, request); err != nil {
			t.Fatal(err)
		}
		if request.GetFlush() != nil {
			flushes++
		} else {
			checks++
		}
	}
	if flushes > requests/2 {
		t.Fatalf("%d flushes for %d requests: they were not batched", flushes, requests)
	}
}

func TestALoneRequestIsFollowedByAFlush(t *testing.T) {
	client, peer := scripted(t, nil)
	if _, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{Tx: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{"*types.Request_CheckTx", "*types.Request_Flush"} {
		request := &types.Request{}
		if err := types.ReadMessage(byteReader{peer}, request); err != nil {
			t.Fatal(err)
		}
		if got := typeName(request); got != wanted {
			t.Fatalf("got %s, wanted %s", got, wanted)
		}
	}
}

func TestAFaultStopsTheClientAndReleasesEveryWaiter(t *testing.T) {
	exception := types.ToResponseException("boom")
	for _, fault := range []struct {
		name, message string
		act           func(net.Conn) error
	}{
		{"the connection ends", "read response", func(peer net.Conn) error { return peer.Close() }},
		{"an exception", "boom", func(peer net.Conn) error { return types.WriteMessage(exception, peer) }},
		{"an answer to another request", "unexpected response *types.Response_Info to the request *types.Request_CheckTx", func(peer net.Conn) error {
			return types.WriteMessage(types.ToResponseInfo(&types.ResponseInfo{}), peer)
		}},
		{"an empty answer", "unexpected response", func(peer net.Conn) error { return types.WriteMessage(&types.Response{}, peer) }},
		{"bytes that are no message", "read response", func(peer net.Conn) error {
			_, err := peer.Write([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
			return err
		}},
		{"a response over the limit", "max size", func(peer net.Conn) error {
			_, err := peer.Write(binary.AppendUvarint(nil, responseBytesMax+1))
			return err
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			told := make(chan error, 8)
			client, peer := scripted(t, func(err error) { told <- err })
			pending, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{Tx: []byte("x")})
			if err != nil {
				t.Fatal(err)
			}
			// The request is out once the peer has seen it.
			if err := types.ReadMessage(byteReader{peer}, &types.Request{}); err != nil {
				t.Fatal(err)
			}
			if err := fault.act(peer); err != nil {
				t.Fatal(err)
			}
			await(t, "the stop", client.Quit())
			pending.Wait()
			if pending.Response != nil {
				t.Fatalf("a response appeared: %v", pending.Response)
			}
			if err := client.Error(); err == nil || !strings.Contains(err.Error(), fault.message) {
				t.Fatalf("the fault is %v, wanted %q", err, fault.message)
			}
			if len(told) != 1 {
				t.Fatalf("the owner was told %d times", len(told))
			}
			if _, err := client.Info(context.Background(), &types.RequestInfo{}); !errors.Is(err, client.Error()) {
				t.Fatalf("a later call got %v", err)
			}
			late, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{})
			if err != nil {
				t.Fatalf("the mempool would panic on %v", err)
			}
			late.Wait()
		})
	}
}

func TestAnOrderlyStopIsNoFault(t *testing.T) {
	client, peer := scripted(t, func(err error) { t.Errorf("told of %v", err) })
	waiting := make(chan error, 1)
	go func() {
		_, err := client.Info(context.Background(), &types.RequestInfo{})
		waiting <- err
	}()
	if err := types.ReadMessage(byteReader{peer}, &types.Request{}); err != nil {
		t.Fatal(err)
	}
	if err := client.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, errStopped) {
		t.Fatalf("the waiting call got %v", err)
	}
	if err := client.Error(); err != nil {
		t.Fatalf("the stop counts as a fault: %v", err)
	}
}

func TestCallersRacingAStopAllReturn(t *testing.T) {
	client := start(t, "unix", &recorder{})
	var callers sync.WaitGroup
	for caller := 0; caller < 8; caller++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for {
				pending, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{Tx: []byte("x")})
				if err != nil {
					t.Error(err)
					return
				}
				pending.Wait()
				if pending.Response == nil {
					return
				}
			}
		}()
	}
	if err := client.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := client.Stop(); err != nil {
		t.Fatal(err)
	}
	finished := make(chan struct{})
	go func() { callers.Wait(); close(finished) }()
	await(t, "the return of every caller", finished)
}

func TestTheClientWaitsForTheApplicationToListen(t *testing.T) {
	address := filepath.Join(t.TempDir(), "abci.sock")
	client := New("unix", address, nil)
	started := make(chan error, 1)
	go func() { started <- client.Start() }()
	peer := server.NewSocketServer("unix://"+address, &recorder{})
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Stop() })
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Stop() })
	if _, err := client.Echo(context.Background(), "hello"); err != nil {
		t.Fatal(err)
	}
}

func TestTheFifoKeepsOrderAcrossReuse(t *testing.T) {
	var queue fifo
	pushed, popped := uint32(0), uint32(0)
	for round := 0; round < 200; round++ {
		for count := 0; count < round%7; count++ {
			queue.push(numbered(pushed))
			pushed++
		}
		for count := 0; count < round%5; count++ {
			if request := queue.pop(); request != nil {
				if got := binary.BigEndian.Uint32(request.Request.GetCheckTx().Tx); got != popped {
					t.Fatalf("popped %d, wanted %d", got, popped)
				}
				popped++
			}
		}
	}
	for request := queue.pop(); request != nil; request = queue.pop() {
		popped++
	}
	if popped != pushed {
		t.Fatalf("popped %d of %d", popped, pushed)
	}
}

func TestChecksOfAMomentGoTogetherAndEveryOtherCallGoesAtOnce(t *testing.T) {
	// Only another call than CheckTx ends the moment.
	client, peer := scriptedAt(t, time.Hour, nil)
	arrived := func() string {
		request := &types.Request{}
		if _, err := protoio.NewDelimitedReader(peer, 1024).ReadMsg(request); err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(fmt.Sprintf("%T", request.Value), "*types.Request_")
	}
	check := func() {
		if _, err := client.CheckTxAsync(context.Background(), &types.RequestCheckTx{Tx: []byte("a=b")}); err != nil {
			t.Fatal(err)
		}
	}
	check()
	if first, flush := arrived(), arrived(); first != "CheckTx" || flush != "Flush" {
		t.Fatalf("an idle connection wrote %s, %s", first, flush)
	}
	check()
	check()
	go func() { _, _ = client.Echo(context.Background(), "now") }()
	var later []string
	for range 4 {
		later = append(later, arrived())
	}
	if got := strings.Join(later, " "); got != "CheckTx CheckTx Echo Flush" {
		t.Fatalf("wrote %s", got)
	}
}

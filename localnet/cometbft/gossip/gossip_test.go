package gossip

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cometbft/cometbft/abci/example/kvstore"
	"github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/p2p"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
	"github.com/cometbft/cometbft/proxy"
	cmttypes "github.com/cometbft/cometbft/types"
)

// deadline only turns a hang into a failure; no test waits for it.
const deadline = 60 * time.Second

// blocks is after how many blocks the tests' nodes pass on what they kept back.
const blocks = 3

// atHeight is what the consensus reactor knows of a peer.
type atHeight int64

func (height atHeight) GetHeight() int64 { return int64(height) }

// counting counts the transactions that peers sent to a reactor.
type counting struct {
	*Reactor
	received atomic.Int64
}

func (reactor *counting) Receive(envelope p2p.Envelope) {
	if message, ok := envelope.Message.(*protomem.Txs); ok {
		reactor.received.Add(int64(len(message.Txs)))
	}
	reactor.Reactor.Receive(envelope)
}

// member is a node as far as its mempool goes: CometBFT's mempool and reactor on a connection to a real application.
type member struct {
	pool    *mempool.CListMempool
	reactor *counting
	local   *p2p.Switch
}

// network makes `size` members that are connected where `connected` says so.
func network(t *testing.T, size int, connected func(one, other int) bool) []*member {
	t.Helper()
	configuration := config.TestConfig()
	members := make([]*member, size)
	for index := range members {
		connections := proxy.NewAppConns(
			proxy.NewLocalClientCreator(kvstore.NewInMemoryApplication()), proxy.NopMetrics())
		if err := connections.Start(); err != nil {
			t.Fatal(err)
		}
		pool := mempool.NewCListMempool(configuration.Mempool, connections.Mempool(), 0)
		inner := mempool.NewReactor(configuration.Mempool, pool)
		inner.SetLogger(log.NewNopLogger())
		members[index] = &member{pool: pool, reactor: &counting{Reactor: New(inner, blocks)}}
		t.Cleanup(func() { _ = connections.Stop() })
	}
	join := func(switches []*p2p.Switch, one, other int) {
		if connected(one, other) {
			p2p.Connect2Switches(switches, one, other)
		}
	}
	add := func(index int, local *p2p.Switch) *p2p.Switch {
		local.AddReactor(reactorName, members[index].reactor)
		return local
	}
	for index, local := range p2p.MakeConnectedSwitches(configuration.P2P, size, add, join) {
		members[index].local = local
		for _, peer := range local.Peers().List() {
			peer.Set(cmttypes.PeerStateKey, atHeight(1))
		}
		t.Cleanup(func() { _ = local.Stop() })
	}
	return members
}

// give hands transactions to a member, as a client does.
func (given *member) give(t *testing.T, transactions cmttypes.Txs) {
	t.Helper()
	for _, transaction := range transactions {
		if err := given.pool.CheckTx(transaction, nil, mempool.TxInfo{}); err != nil {
			t.Fatal(err)
		}
	}
}

// commit tells members of a block.
func commit(t *testing.T, members []*member, height int64, transactions cmttypes.Txs) {
	t.Helper()
	results := make([]*types.ExecTxResult, len(transactions))
	for index := range results {
		results[index] = &types.ExecTxResult{}
	}
	for _, member := range members {
		member.pool.Lock()
		err := member.pool.Update(height, transactions, results, nil, nil)
		member.pool.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		member.reactor.Committed(height, transactions)
	}
}

func numbered(prefix string, count int) cmttypes.Txs {
	transactions := make(cmttypes.Txs, count)
	for index := range transactions {
		transactions[index] = kvstore.NewTx(fmt.Sprintf("%s%d", prefix, index), "value")
	}
	return transactions
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(deadline); !holds(); {
		if time.Now().After(until) {
			t.Fatal(what)
		}
		time.Sleep(time.Millisecond)
	}
}

func everybody(one, other int) bool { return true }

// line connects each member to the next one alone.
func line(one, other int) bool { return one+1 == other || other+1 == one }

// keptBack says how many transactions a member keeps back for its peers.
func (keeping *member) keptBack() int {
	keeping.reactor.mutex.Lock()
	defer keeping.reactor.mutex.Unlock()
	count := 0
	for _, peer := range keeping.reactor.peers {
		count += len(peer.kept)
	}
	return count
}

func TestEveryTransactionIsSentToEveryPeerOnceWhereAllKnowEachOther(t *testing.T) {
	const size, each = 4, 50
	members := network(t, size, everybody)
	for index, member := range members {
		member.give(t, numbered(fmt.Sprintf("from%d-", index), each))
	}
	for _, member := range members {
		eventually(t, "a transaction never came", func() bool { return member.pool.Size() == size*each })
	}
	// Everybody went through everything that others sent, and sent none of it.
	for _, member := range members {
		eventually(t, "what others sent was sent again", func() bool {
			return member.keptBack() >= (size-1)*(size-2)*each
		})
	}
	for _, member := range members {
		if received := member.reactor.received.Load(); received != (size-1)*each {
			t.Errorf("%d transactions were received, of %d", received, (size-1)*each)
		}
	}
}

func TestWhatNoBlockTakesIsPassedOnWhereAConnectionIsMissing(t *testing.T) {
	members := network(t, 3, line)
	first, middle, last := members[0], members[1], members[2]
	taken, left := numbered("taken", 5), numbered("left", 5)
	first.give(t, append(append(cmttypes.Txs{}, taken...), left...))
	eventually(t, "they are kept back for the last one", func() bool { return middle.keptBack() == 10 })
	commit(t, members, 1, taken)
	for height := int64(2); height < blocks; height++ {
		commit(t, members, height, nil)
		if last.reactor.received.Load() != 0 {
			t.Fatalf("passed on at height %d already", height)
		}
	}
	commit(t, members, blocks, nil)
	eventually(t, "they never came", func() bool { return last.pool.Size() == len(left) })
	if received := last.reactor.received.Load(); received != int64(len(left)) {
		t.Errorf("%d were sent, of %d that no block took", received, len(left))
	}
	eventually(t, "what was passed on is still kept", func() bool { return middle.keptBack() == 0 })
}

// A chain that makes no block without a transaction may wait for the very one that is kept back.
func TestWhatIsKeptBackIsPassedOnWhereNoBlockComes(t *testing.T) {
	members := network(t, 3, line)
	first, middle, last := members[0], members[1], members[2]
	first.give(t, numbered("awaited", 5))
	eventually(t, "they are kept back for the last one", func() bool { return middle.keptBack() == 5 })
	moved := middle.reactor.moved
	middle.reactor.look(moved.Add(standstill - time.Millisecond))
	if middle.keptBack() != 5 || last.reactor.received.Load() != 0 {
		t.Error("passed on although blocks may still come")
	}
	middle.reactor.look(moved.Add(standstill))
	eventually(t, "they never came", func() bool { return last.pool.Size() == 5 })
	eventually(t, "what was passed on is still kept", func() bool { return middle.keptBack() == 0 })
}

// A node hears of blocks by its event bus, and stops hearing when that stops.
func TestBlocksAreHeardOfByTheEventBus(t *testing.T) {
	bus := cmttypes.NewEventBus()
	if err := bus.Start(); err != nil {
		t.Fatal(err)
	}
	events, err := bus.SubscribeUnbuffered(context.Background(), subscriber, cmttypes.EventQueryNewBlock)
	if err != nil {
		t.Fatal(err)
	}
	members := network(t, 3, line)
	ended := make(chan struct{})
	go func() {
		members[1].reactor.follow(events)
		close(ended)
	}()
	members[0].give(t, numbered("awaited", 1))
	eventually(t, "it is kept back for the last one", func() bool { return members[1].keptBack() == 1 })
	for height := int64(1); height <= blocks; height++ {
		block := &cmttypes.Block{Header: cmttypes.Header{Height: height}}
		if err := bus.PublishEventNewBlock(cmttypes.EventDataNewBlock{Block: block}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it never came", func() bool { return members[2].pool.Size() == 1 })
	if err := bus.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(deadline):
		t.Error("still listening")
	}
}

// refusing is a peer that does not take what it is sent, and counts how often it was tried.
type refusing struct {
	p2p.Peer
	tries *atomic.Int64
}

func (peer refusing) Send(p2p.Envelope) bool {
	peer.tries.Add(1)
	return false
}

func TestWhatAPeerDoesNotTakeStaysKeptAndIsTriedAgain(t *testing.T) {
	reactor := New(nil, blocks)
	var tries atomic.Int64
	full := &peer{
		Peer:    refusing{p2p.CreateRandomPeer(false), &tries},
		reactor: reactor,
		wake:    make(chan struct{}, 1),
	}
	reactor.peers["full"] = full
	go full.passOn()
	transaction := numbered("refused", 1).ToSliceOfBytes()
	reactor.remember(transaction)
	if !full.Send(p2p.Envelope{Message: &protomem.Txs{Txs: transaction}}) || tries.Load() != 0 {
		t.Fatal("it is not kept back")
	}
	for height := int64(1); height <= blocks; height++ {
		reactor.Committed(height, nil)
	}
	eventually(t, "it is never tried", func() bool { return tries.Load() == 1 })
	reactor.look(time.Now())
	eventually(t, "it is not tried again", func() bool { return tries.Load() == 2 })
	reactor.Committed(blocks+1, numbered("refused", 1))
	reactor.mutex.Lock()
	defer reactor.mutex.Unlock()
	if len(full.kept) != 0 {
		t.Error("a block took it, and it is still kept")
	}
}

func TestAPeerThatComesLaterIsToldOfWhatAClientGave(t *testing.T) {
	apart := func(one, other int) bool { return false }
	members := network(t, 2, apart)
	members[0].give(t, numbered("early", 5))
	p2p.Connect2Switches([]*p2p.Switch{members[0].local, members[1].local}, 0, 1)
	for _, member := range members {
		for _, peer := range member.local.Peers().List() {
			peer.Set(cmttypes.PeerStateKey, atHeight(1))
		}
	}
	eventually(t, "they never came", func() bool { return members[1].pool.Size() == 5 })
}

func TestWhatIsRememberedOfPeersIsBounded(t *testing.T) {
	members := network(t, 1, everybody)
	reactor := members[0].reactor.Reactor
	for index := 0; index < 3*receivedMax; index += 1000 {
		reactor.remember(cmttypes.Txs(numbered(fmt.Sprintf("%d-", index), 1000)).ToSliceOfBytes())
	}
	if held := len(reactor.received) + len(reactor.former); held > 2*receivedMax {
		t.Errorf("%d are remembered", held)
	}
	for height := int64(1); height <= 3*blocks; height++ {
		reactor.Committed(height, nil)
	}
	if held := len(reactor.received) + len(reactor.former); held != 0 {
		t.Errorf("%d are remembered when they are long past", held)
	}
}

// The wrapped reactor judges messages before they are read: a peer that sends more than a transaction may be is refused.
func TestMessagesAreFilteredAsBefore(t *testing.T) {
	members := network(t, 1, everybody)
	var filter p2p.MsgBytesFilter = members[0].reactor
	if filter.FilterMsgBytes(mempool.MempoolChannel, nil, []byte{0x0a, 0x00}) == nil {
		t.Error("a message without transactions is let in")
	}
}

// Package gossip tells each transaction to each peer once, where every validator is a peer of every other.
//
// CometBFT's mempool sends every transaction to every peer that did not send it: among four nodes that all know each
// other, one transaction travels up to nine times where three would do. Here a node passes on at once what a client
// gave to it, and keeps back what a peer sent, which sent it to the others, too. What is in no block some blocks
// later is passed on after all: a connection may be missing, or the peer may have died halfway.
//
// Nothing differs on the wire, so such a node can be the peer of any other. CometBFT's reactor stays in its place and
// does everything else; it is given peers that keep back.
package gossip

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	protomem "github.com/cometbft/cometbft/proto/tendermint/mempool"
	"github.com/cometbft/cometbft/types"
)

const (
	// reactorName is under which name CometBFT's switch knows its mempool's reactor.
	reactorName = "MEMPOOL"
	// subscriber names us to the event bus.
	subscriber = "careledger-gossip"
	// receivedMax bounds what is remembered of what peers sent, in each of two generations.
	receivedMax = 100_000
	// keptBackMax bounds what is kept back for one peer; what comes beyond it is passed on at once.
	keptBackMax = 20_000
)

// Option makes a node keep back what its peers sent until it was in none of `blocks` blocks; 0 changes nothing.
func Option(blocks int64) node.Option {
	return func(created *node.Node) {
		if blocks == 0 {
			return
		}
		events, err := created.EventBus().SubscribeUnbuffered(context.Background(), subscriber, types.EventQueryNewBlock)
		if err != nil {
			// Without blocks nothing would ever be passed on.
			created.Logger.Error("transactions are passed on at once: the node's blocks are not told", "err", err)
			return
		}
		reactor := New(created.Switch().Reactor(reactorName), blocks)
		node.CustomReactors(map[string]p2p.Reactor{reactorName: reactor})(created)
		go reactor.follow(events)
	}
}

// follow hears of blocks until the node stops.
func (reactor *Reactor) follow(events types.Subscription) {
	for {
		select {
		case message := <-events.Out():
			if event, ok := message.Data().(types.EventDataNewBlock); ok {
				reactor.Committed(event.Block.Height, event.Block.Txs)
			}
		case <-events.Canceled():
			return
		}
	}
}

// digest tells transactions apart within one process. Two that are equal by chance are kept back together, no more.
type digest uint64

// Reactor is CometBFT's reactor of the mempool, with peers that keep back.
type Reactor struct {
	p2p.Reactor
	blocks int64
	seed   maphash.Seed

	mutex sync.Mutex
	// height is that of the newest block.
	height int64
	// received is what peers sent lately; former what they sent before that.
	received, former map[digest]struct{}
	// rotated is the height at which received was begun.
	rotated int64
	peers   map[p2p.ID]*peer
}

// New wraps a reactor of the mempool.
func New(reactor p2p.Reactor, blocks int64) *Reactor {
	return &Reactor{
		Reactor:  reactor,
		blocks:   blocks,
		seed:     maphash.MakeSeed(),
		received: map[digest]struct{}{},
		former:   map[digest]struct{}{},
		peers:    map[p2p.ID]*peer{},
	}
}

// FilterMsgBytes judges a message before it is read, as the wrapped reactor does.
func (reactor *Reactor) FilterMsgBytes(channel byte, source p2p.Peer, message []byte) error {
	if filter, ok := reactor.Reactor.(p2p.MsgBytesFilter); ok {
		return filter.FilterMsgBytes(channel, source, message)
	}
	return nil
}

// AddPeer begins to tell a peer of transactions.
func (reactor *Reactor) AddPeer(added p2p.Peer) {
	wrapped := &peer{Peer: added, reactor: reactor}
	reactor.mutex.Lock()
	reactor.peers[added.ID()] = wrapped
	reactor.mutex.Unlock()
	reactor.Reactor.AddPeer(wrapped)
}

// RemovePeer forgets a peer.
func (reactor *Reactor) RemovePeer(removed p2p.Peer, reason interface{}) {
	reactor.mutex.Lock()
	delete(reactor.peers, removed.ID())
	reactor.mutex.Unlock()
	reactor.Reactor.RemovePeer(removed, reason)
}

// Receive remembers what a peer sent, before the mempool knows it.
func (reactor *Reactor) Receive(envelope p2p.Envelope) {
	if message, ok := envelope.Message.(*protomem.Txs); ok {
		reactor.remember(message.Txs)
	}
	reactor.Reactor.Receive(envelope)
}

func (reactor *Reactor) remember(transactions [][]byte) {
	reactor.mutex.Lock()
	defer reactor.mutex.Unlock()
	for _, transaction := range transactions {
		reactor.received[reactor.digest(transaction)] = struct{}{}
	}
	if len(reactor.received) >= receivedMax {
		reactor.rotate()
	}
}

// rotate forgets what was received longest ago. The mutex is held.
func (reactor *Reactor) rotate() {
	reactor.former, reactor.received, reactor.rotated = reactor.received, map[digest]struct{}{}, reactor.height
}

func (reactor *Reactor) digest(transaction []byte) digest {
	return digest(maphash.Bytes(reactor.seed, transaction))
}

// Committed tells of a block: what is in it is passed on no more, and what was kept back for long enough is.
func (reactor *Reactor) Committed(height int64, transactions types.Txs) {
	committed := make(map[digest]struct{}, len(transactions))
	for _, transaction := range transactions {
		committed[reactor.digest(transaction)] = struct{}{}
	}
	reactor.mutex.Lock()
	defer reactor.mutex.Unlock()
	reactor.height = height
	if height-reactor.rotated > reactor.blocks {
		reactor.rotate()
	}
	for _, peer := range reactor.peers {
		if due := peer.due(committed, height-reactor.blocks); len(due) > 0 {
			// A peer that does not read makes its sender wait.
			go peer.passOn(due)
		}
	}
}

// keptBack is a transaction that another peer sent.
type keptBack struct {
	digest      digest
	transaction []byte
	// since is the height of the newest block when it came.
	since int64
}

// peer is told of what a peer sent only when no block takes it.
type peer struct {
	p2p.Peer
	reactor *Reactor
	// kept is guarded by the reactor's mutex.
	kept []keptBack
}

// Send sends, or keeps back.
func (peer *peer) Send(envelope p2p.Envelope) bool {
	message, ok := envelope.Message.(*protomem.Txs)
	if ok && len(message.Txs) == 1 && peer.keepBack(message.Txs[0]) {
		return true
	}
	return peer.Peer.Send(envelope)
}

func (peer *peer) keepBack(transaction []byte) bool {
	digest := peer.reactor.digest(transaction)
	peer.reactor.mutex.Lock()
	defer peer.reactor.mutex.Unlock()
	_, isReceived := peer.reactor.received[digest]
	if !isReceived {
		_, isReceived = peer.reactor.former[digest]
	}
	if !isReceived || len(peer.kept) >= keptBackMax {
		return false
	}
	peer.kept = append(peer.kept, keptBack{digest, transaction, peer.reactor.height})
	return true
}

// due takes what was kept back until `latest` or before, without what was committed. The reactor's mutex is held.
func (peer *peer) due(committed map[digest]struct{}, latest int64) [][]byte {
	var due [][]byte
	waiting := peer.kept[:0]
	for _, kept := range peer.kept {
		if _, is := committed[kept.digest]; is {
			continue
		}
		if kept.since <= latest {
			due = append(due, kept.transaction)
		} else {
			waiting = append(waiting, kept)
		}
	}
	clear(peer.kept[len(waiting):])
	peer.kept = waiting
	return due
}

func (peer *peer) passOn(transactions [][]byte) {
	for _, transaction := range transactions {
		if !peer.IsRunning() {
			return
		}
		peer.Peer.Send(p2p.Envelope{
			ChannelID: mempool.MempoolChannel,
			Message:   &protomem.Txs{Txs: [][]byte{transaction}},
		})
	}
}

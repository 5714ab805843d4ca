// Package gossip tells each transaction to each peer once, where every validator is a peer of every other.
//
// CometBFT's mempool sends every transaction to every peer that did not send it: among four nodes that all know each
// other, one transaction travels up to nine times where three would do. Here a node passes on at once what a client
// gave to it, and keeps back what a peer sent, which sent it to the others, too. What is in no block some blocks
// later is passed on after all, and everything where no block comes for some seconds: a connection may be missing, or
// the peer may have died halfway, and the next block may need it.
//
// Nothing differs on the wire, so such a node can be the peer of any other. CometBFT's reactor stays in its place and
// does everything else; it is given peers that keep back.
package gossip

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

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
	// standstill is how long no block may come before everything is passed on: more than a loaded network takes for one.
	standstill = 3 * time.Second
	// lookEvery is how often that is looked at, and what could not be sent is tried again.
	lookEvery = 500 * time.Millisecond
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
		inner := created.Switch().Reactor(reactorName)
		if inner == nil {
			created.Logger.Error("nothing is passed on: this node has no mempool")
			return
		}
		reactor := New(inner, blocks)
		node.CustomReactors(map[string]p2p.Reactor{reactorName: reactor})(created)
		go reactor.follow(events)
	}
}

// follow hears of blocks until the node stops.
func (reactor *Reactor) follow(events types.Subscription) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case now := <-look.C:
			reactor.look(now)
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
	// height is that of the newest block, which came at moved.
	height int64
	moved  time.Time
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
		moved:    time.Now(),
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
	wrapped := &peer{Peer: added, reactor: reactor, wake: make(chan struct{}, 1)}
	reactor.mutex.Lock()
	reactor.peers[added.ID()] = wrapped
	reactor.mutex.Unlock()
	go wrapped.passOn()
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
	reactor.height, reactor.moved = height, time.Now()
	if height-reactor.rotated > reactor.blocks {
		reactor.rotate()
	}
	for _, peer := range reactor.peers {
		peer.forget(committed)
		peer.release(height - reactor.blocks)
	}
}

// look passes everything on where no block came for so long that the next one may need it.
func (reactor *Reactor) look(now time.Time) {
	reactor.mutex.Lock()
	defer reactor.mutex.Unlock()
	latest := reactor.height - reactor.blocks
	if now.Sub(reactor.moved) >= standstill {
		latest = reactor.height
	}
	for _, peer := range reactor.peers {
		peer.release(latest)
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
	// wake says that something may be passed on.
	wake chan struct{}
	// kept, oldest first, and released, up to which height it is passed on, are guarded by the reactor's mutex.
	kept     []keptBack
	released int64
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

// forget drops what a block took. The reactor's mutex is held.
func (peer *peer) forget(committed map[digest]struct{}) {
	waiting := peer.kept[:0]
	for _, kept := range peer.kept {
		if _, is := committed[kept.digest]; !is {
			waiting = append(waiting, kept)
		}
	}
	clear(peer.kept[len(waiting):])
	peer.kept = waiting
}

// release lets what was kept back until the height `latest` or before be passed on. The reactor's mutex is held.
func (peer *peer) release(latest int64) {
	peer.released = latest
	if len(peer.kept) > 0 && peer.kept[0].since <= latest {
		select {
		case peer.wake <- struct{}{}:
		default:
			// It is awake.
		}
	}
}

// passOn sends what is released, until the peer is gone. What a peer does not take stays kept, and is tried again.
func (peer *peer) passOn() {
	for {
		select {
		case <-peer.wake:
		case <-peer.Quit():
			return
		}
		for {
			next, isReleased := peer.next()
			if !isReleased {
				break
			}
			sent := peer.Peer.Send(p2p.Envelope{
				ChannelID: mempool.MempoolChannel,
				Message:   &protomem.Txs{Txs: [][]byte{next.transaction}},
			})
			if !sent {
				break
			}
			peer.sent(next)
		}
	}
}

// next is the oldest transaction that may be passed on.
func (peer *peer) next() (keptBack, bool) {
	peer.reactor.mutex.Lock()
	defer peer.reactor.mutex.Unlock()
	if len(peer.kept) == 0 || peer.kept[0].since > peer.released {
		return keptBack{}, false
	}
	return peer.kept[0], true
}

// sent drops the oldest, unless a block took it meanwhile.
func (peer *peer) sent(oldest keptBack) {
	peer.reactor.mutex.Lock()
	defer peer.reactor.mutex.Unlock()
	if len(peer.kept) > 0 && peer.kept[0].digest == oldest.digest {
		peer.kept[0] = keptBack{}
		peer.kept = peer.kept[1:]
	}
}

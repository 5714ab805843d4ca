// Package abciclient speaks ABCI to an application in another process.
//
// CometBFT's own socket client asks its timer for 20 nanoseconds where 20 milliseconds were meant, so a
// loaded node spends a third of its time in that timer, and each CheckTx drags a Flush of its own along.
// This client writes whatever is waiting in one go and flushes when nothing more waits; under load the
// CheckTx of a moment go together. The protocol on the wire is the same, so the application cannot tell the
// two apart.
package abciclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	abcicli "github.com/cometbft/cometbft/abci/client"
	"github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/libs/protoio"
	"github.com/cometbft/cometbft/libs/service"
)

const (
	// queueRequestsMax bounds the requests that wait to be written; a caller that would exceed it waits.
	queueRequestsMax = 1024
	// bufferBytes is the size of the read and of the write buffer, one write(2) of a loaded node.
	bufferBytes = 64 * 1024
	// checkInterval is the time between two writes of CheckTx alone: each wakes the application and the node
	// once, which costs as much as checking. An idle connection writes at once, and so does every other call.
	checkInterval = 2 * time.Millisecond
	// responseBytesMax bounds one response: the largest is a block's results, tens of megabytes at most.
	responseBytesMax = 256 * 1024 * 1024
	// dialRetryInterval is short because a supervisor starts node and application side by side.
	dialRetryInterval = 100 * time.Millisecond
	// dialComplaintInterval is how often the log says that the application does not listen yet.
	dialComplaintInterval = 3 * time.Second
)

// errStopped is what a call gets after an orderly Stop.
var errStopped = errors.New("ABCI client is stopped")

// Client is an [abcicli.Client] over a Unix or TCP socket.
//
// Responses arrive in the order of their requests. Callbacks run one at a time in that order, and before the
// Flush that follows them returns: the mempool relies on it when it rechecks. Any fault (the connection
// ends, the application answers with an exception or out of turn) stops the client, releases all waiters
// and stays readable through Error; the node must not go on after it.
type Client struct {
	service.BaseService

	network, address string
	// onFault runs once, before the client stops because of a fault. May be nil.
	onFault func(error)
	// checkInterval is that of the package, or a test's.
	checkInterval time.Duration

	connection net.Conn
	queue      chan *abcicli.ReqRes
	closing    chan struct{}

	mutex    sync.Mutex
	closed   bool
	fault    error
	sent     fifo
	callback abcicli.Callback
}

var _ abcicli.Client = (*Client)(nil)

// New makes a client of the application at network ("unix" or "tcp") and address. Start waits for the
// application to listen. onFault, if not nil, is told of the fault that is about to stop the client.
func New(network, address string, onFault func(error)) *Client {
	client := &Client{
		network: network,
		address: address,
		onFault: onFault,

		checkInterval: checkInterval,

		queue:   make(chan *abcicli.ReqRes, queueRequestsMax),
		closing: make(chan struct{}),
	}
	client.BaseService = *service.NewBaseService(nil, "abciClient", client)
	return client
}

// OnStart connects, retrying until the application listens.
func (client *Client) OnStart() error {
	connection, err := client.dial()
	if err != nil {
		return err
	}
	client.connection = connection
	go client.write()
	go client.read()
	return nil
}

func (client *Client) dial() (net.Conn, error) {
	complainAt := time.Now()
	for {
		connection, err := net.Dial(client.network, client.address)
		if err != nil {
			if now := time.Now(); now.After(complainAt) {
				client.Logger.Error("the application does not listen yet", "address", client.address, "err", err)
				complainAt = now.Add(dialComplaintInterval)
			}
			time.Sleep(dialRetryInterval)
			continue
		}
		if tcp, isTCP := connection.(*net.TCPConn); isTCP {
			// Without it a reply waits for the peer's delayed acknowledgement: 44 ms a call.
			if err := tcp.SetNoDelay(true); err != nil {
				return nil, errors.Join(err, connection.Close())
			}
		}
		return connection, nil
	}
}

// OnStop closes the connection and releases everyone who waits for a response.
func (client *Client) OnStop() {
	if client.connection != nil {
		if err := client.connection.Close(); err != nil {
			client.Logger.Debug("closing the connection", "err", err)
		}
	}
	client.mutex.Lock()
	client.closed = true
	for request := client.sent.pop(); request != nil; request = client.sent.pop() {
		request.Done()
	}
	client.mutex.Unlock()
	close(client.closing)
	client.drainQueue()
}

// Error returns the fault that stopped the client, or nil.
func (client *Client) Error() error {
	client.mutex.Lock()
	defer client.mutex.Unlock()
	return client.fault
}

// SetResponseCallback sets the function that sees every response, internal flushes included.
func (client *Client) SetResponseCallback(callback abcicli.Callback) {
	client.mutex.Lock()
	defer client.mutex.Unlock()
	client.callback = callback
}

// write sends what is queued. It flushes when the queue is empty and not before, and CheckTx alone not sooner
// than checkInterval after the last flush: under load many requests share a system call and a Flush, and an
// idle connection never delays a request.
func (client *Client) write() {
	buffer := bufio.NewWriterSize(client.connection, bufferBytes)
	messages := protoio.NewDelimitedWriter(buffer)
	var flushed time.Time
	for {
		select {
		case request := <-client.queue:
			if err := client.writeBatch(messages, request, flushed.Add(client.checkInterval)); err != nil {
				client.stopFor(fmt.Errorf("write request: %w", err))
				return
			}
			if err := buffer.Flush(); err != nil {
				client.stopFor(fmt.Errorf("flush requests: %w", err))
				return
			}
			flushed = time.Now()
		case <-client.closing:
			return
		}
	}
}

// writeBatch writes request and what follows it; CheckTx alone waits for more until checksDue.
func (client *Client) writeBatch(messages protoio.Writer, request *abcicli.ReqRes, checksDue time.Time) error {
	checksAlone := true
	for {
		if err := client.writeRequest(messages, request); err != nil {
			return err
		}
		_, isCheck := request.Request.Value.(*types.Request_CheckTx)
		_, isFlush := request.Request.Value.(*types.Request_Flush)
		checksAlone = checksAlone && isCheck
		next := client.next()
		if next == nil && checksAlone {
			next = client.nextBefore(checksDue)
		}
		if next == nil {
			if isFlush {
				return nil
			}
			// An application may hold responses back until it is asked to flush.
			return client.writeRequest(messages, abcicli.NewReqRes(types.ToRequestFlush()))
		}
		request = next
	}
}

// next returns a request that already waits, or nil. It lets callers that are about to queue one go first.
func (client *Client) next() *abcicli.ReqRes {
	select {
	case request := <-client.queue:
		return request
	default:
		runtime.Gosched()
	}
	select {
	case request := <-client.queue:
		return request
	default:
		return nil
	}
}

// nextBefore returns the next request that is queued before due, or nil.
func (client *Client) nextBefore(due time.Time) *abcicli.ReqRes {
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case request := <-client.queue:
		return request
	case <-timer.C:
		return nil
	case <-client.closing:
		return nil
	}
}

func (client *Client) writeRequest(messages protoio.Writer, request *abcicli.ReqRes) error {
	// Before the write: the application may answer before WriteMsg returns.
	if !client.track(request) {
		request.Done()
		return nil
	}
	_, err := messages.WriteMsg(request.Request)
	return err
}

func (client *Client) track(request *abcicli.ReqRes) bool {
	client.mutex.Lock()
	defer client.mutex.Unlock()
	if client.closed {
		return false
	}
	client.sent.push(request)
	return true
}

func (client *Client) read() {
	messages := protoio.NewDelimitedReader(bufio.NewReaderSize(client.connection, bufferBytes), responseBytesMax)
	for {
		response := &types.Response{}
		if _, err := messages.ReadMsg(response); err != nil {
			client.stopFor(fmt.Errorf("read response: %w", err))
			return
		}
		if err := client.receive(response); err != nil {
			client.stopFor(err)
			return
		}
	}
}

// receive hands a response to the oldest request without one.
func (client *Client) receive(response *types.Response) error {
	if exception := response.GetException(); exception != nil {
		return fmt.Errorf("the application raised an exception: %s", exception.Error)
	}
	client.mutex.Lock()
	request := client.sent.peek()
	switch {
	case request == nil:
		client.mutex.Unlock()
		return fmt.Errorf("unexpected response %T when no request waits", response.Value)
	case !answers(request.Request, response):
		client.mutex.Unlock()
		return fmt.Errorf("unexpected response %T to the request %T", response.Value, request.Request.Value)
	}
	client.sent.pop()
	callback := client.callback
	client.mutex.Unlock()

	request.Response = response
	request.Done()
	// Outside the lock, so that a callback may ask for Error or queue a request.
	if callback != nil {
		callback(request.Request, response)
	}
	request.InvokeCallback()
	return nil
}

// enqueue hands a request to the writer, waiting while the queue is full. After a stop the request is
// returned already done and without a response, as CometBFT's client does: its mempool panics on an error.
func (client *Client) enqueue(ctx context.Context, message *types.Request) (*abcicli.ReqRes, error) {
	request := abcicli.NewReqRes(message)
	select {
	case client.queue <- request:
	case <-client.closing:
		request.Done()
		return request, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-client.closing:
		// The stop may have drained the queue before this request reached it.
		client.drainQueue()
	default:
	}
	return request, nil
}

// call queues a request and waits for its response.
func (client *Client) call(ctx context.Context, message *types.Request) (*types.Response, error) {
	request, err := client.enqueue(ctx, message)
	if err != nil {
		return nil, err
	}
	request.Wait()
	if request.Response == nil {
		if fault := client.Error(); fault != nil {
			return nil, fault
		}
		return nil, errStopped
	}
	return request.Response, nil
}

func (client *Client) drainQueue() {
	for {
		select {
		case request := <-client.queue:
			request.Done()
		default:
			return
		}
	}
}

// stopFor records the first fault and stops. After an orderly Stop the broken connection is no fault.
func (client *Client) stopFor(fault error) {
	client.mutex.Lock()
	if client.closed || client.fault != nil || !client.IsRunning() {
		client.mutex.Unlock()
		return
	}
	client.fault = fault
	client.mutex.Unlock()

	client.Logger.Error("the connection to the application failed", "err", fault)
	if client.onFault != nil {
		client.onFault(fault)
	}
	if err := client.Stop(); err != nil {
		client.Logger.Debug("stopping", "err", err)
	}
}

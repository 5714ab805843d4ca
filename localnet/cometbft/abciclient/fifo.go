package abciclient

import abcicli "github.com/cometbft/cometbft/abci/client"

// fifo is a queue of requests that reuses its memory: a loaded node sends thousands a second.
type fifo struct {
	requests []*abcicli.ReqRes
	head     int
}

func (queue *fifo) push(request *abcicli.ReqRes) {
	if queue.head > 0 && len(queue.requests) == cap(queue.requests) {
		kept := copy(queue.requests, queue.requests[queue.head:])
		clear(queue.requests[kept:])
		queue.requests = queue.requests[:kept]
		queue.head = 0
	}
	queue.requests = append(queue.requests, request)
}

// peek returns the oldest request, or nil.
func (queue *fifo) peek() *abcicli.ReqRes {
	if queue.head == len(queue.requests) {
		return nil
	}
	return queue.requests[queue.head]
}

// pop removes and returns the oldest request, or nil.
func (queue *fifo) pop() *abcicli.ReqRes {
	request := queue.peek()
	if request == nil {
		return nil
	}
	queue.requests[queue.head] = nil
	queue.head++
	if queue.head == len(queue.requests) {
		queue.requests, queue.head = queue.requests[:0], 0
	}
	return request
}

package main

import (
	"os"
	"runtime/debug"
)

const (
	// garbagePercent is how much garbage may lie about before it is collected, in percent of what lives. A
	// node holds some tens of megabytes, so that Go's 100 collects many times a second under load.
	garbagePercent = 400
	// memoryBytes is where collecting becomes eager again, so that a large snapshot or a full mempool
	// does not grow to five times its size.
	memoryBytes = 1 << 30
)

// collectSeldom trades memory for processor time, where the operator has not said otherwise by Go's own
// variables GOGC and GOMEMLIMIT.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryBytes)
	}
}

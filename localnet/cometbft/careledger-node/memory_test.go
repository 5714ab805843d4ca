package main

import (
	"runtime/debug"
	"testing"
)

func TestGarbageIsCollectedSeldomUnlessTheOperatorSaysOtherwise(t *testing.T) {
	const before = 100
	for _, setting := range []struct {
		name, variable string
		expected       int
	}{
		{"nothing said", "", garbagePercent},
		{"said by the operator", "100", before},
	} {
		t.Run(setting.name, func(t *testing.T) {
			t.Setenv("GOGC", setting.variable)
			t.Setenv("GOMEMLIMIT", setting.variable)
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
			earlier := debug.SetGCPercent(before)
			collectSeldom()
			if percent := debug.SetGCPercent(earlier); percent != setting.expected {
				t.Errorf("garbage is collected at %d percent, not at %d", percent, setting.expected)
			}
		})
	}
}

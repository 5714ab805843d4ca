// Package ics23 verifies the ledger's golden proofs with an implementation that is not ours.
//
// app/golden/proofs.json is what the ledger's tree makes; it carries the specification too, as
// docs/proofs.md documents it, so that both are held to each other here.
package ics23

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/cosmos/ics23/go"
)

const golden = "../../app/golden/proofs.json"

// Cases that the file has at least: a file that lost them must not pass.
const leastPresent, leastAbsent = 4, 5

type spec struct {
	LeafPrefix   string `json:"leaf_prefix"`
	InnerPrefix  string `json:"inner_prefix"`
	EmptyChild   string `json:"empty_child"`
	ChildSize    int32  `json:"child_size"`
	MaxDepth     int32  `json:"max_depth"`
	PrehashesKey bool   `json:"prehash_key_before_comparison"`
	Hash         string `json:"hash"`
}

type proof struct {
	Case  string  `json:"case"`
	Root  string  `json:"root"`
	Key   string  `json:"key"`
	Value *string `json:"value"`
	Proof string  `json:"proof"`
}

type file struct {
	Spec   spec    `json:"spec"`
	Proofs []proof `json:"proofs"`
}

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func read(t *testing.T) file {
	t.Helper()
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var read file
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func proofSpec(t *testing.T, spec spec) *ics23.ProofSpec {
	t.Helper()
	if spec.Hash != "sha256" {
		t.Fatalf("the hash is %q", spec.Hash)
	}
	inner := int32(len(bytesOf(t, spec.InnerPrefix)))
	return &ics23.ProofSpec{
		LeafSpec: &ics23.LeafOp{
			Hash:         ics23.HashOp_SHA256,
			PrehashKey:   ics23.HashOp_SHA256,
			PrehashValue: ics23.HashOp_SHA256,
			Length:       ics23.LengthOp_NO_PREFIX,
			Prefix:       bytesOf(t, spec.LeafPrefix),
		},
		InnerSpec: &ics23.InnerSpec{
			ChildOrder:      []int32{0, 1},
			ChildSize:       spec.ChildSize,
			MinPrefixLength: inner,
			MaxPrefixLength: inner,
			EmptyChild:      bytesOf(t, spec.EmptyChild),
			Hash:            ics23.HashOp_SHA256,
		},
		MaxDepth:                   spec.MaxDepth,
		PrehashKeyBeforeComparison: spec.PrehashesKey,
	}
}

func commitmentProof(t *testing.T, text string) *ics23.CommitmentProof {
	t.Helper()
	var proof ics23.CommitmentProof
	if err := proof.Unmarshal(bytesOf(t, text)); err != nil {
		t.Fatal(err)
	}
	return &proof
}

// holds says whether the proof shows that the key has the value, or with nil that it is absent.
func holds(spec *ics23.ProofSpec, root []byte, proof *ics23.CommitmentProof, key, value []byte) bool {
	if value == nil {
		return ics23.VerifyNonMembership(spec, root, proof, key)
	}
	return ics23.VerifyMembership(spec, root, proof, key, value)
}

func TestProofsOfTheLedgerHoldHereToo(t *testing.T) {
	read := read(t)
	spec := proofSpec(t, read.Spec)
	present, absent := 0, 0
	for _, given := range read.Proofs {
		root, key, proof := bytesOf(t, given.Root), bytesOf(t, given.Key), commitmentProof(t, given.Proof)
		var value []byte
		if given.Value == nil {
			absent++
		} else {
			present++
			value = bytesOf(t, *given.Value)
		}
		if !holds(spec, root, proof, key, value) {
			t.Errorf("%s: a proof of the ledger is refused", given.Case)
		}
	}
	if present < leastPresent || absent < leastAbsent {
		t.Fatalf("the file has %d proofs of existence and %d of absence", present, absent)
	}
}

func TestProofsShowNothingElse(t *testing.T) {
	read := read(t)
	spec := proofSpec(t, read.Spec)
	for _, given := range read.Proofs {
		root, key, proof := bytesOf(t, given.Root), bytesOf(t, given.Key), commitmentProof(t, given.Proof)
		otherKey := append([]byte("other/"), key...)
		otherRoot := append([]byte{root[0] ^ 1}, root[1:]...)
		forged := []byte("forged")
		if holds(spec, root, proof, key, forged) || holds(spec, root, proof, otherKey, forged) {
			t.Errorf("%s: it shows a value that is not there", given.Case)
		}
		if given.Value == nil {
			if holds(spec, otherRoot, proof, key, nil) {
				t.Errorf("%s: it holds under another root", given.Case)
			}
			if holds(ics23.IavlSpec, root, proof, key, nil) {
				t.Errorf("%s: it holds under another specification", given.Case)
			}
			continue
		}
		value := bytesOf(t, *given.Value)
		if holds(spec, otherRoot, proof, key, value) || holds(spec, root, proof, otherKey, value) {
			t.Errorf("%s: it holds under another root, or for another key", given.Case)
		}
		if holds(spec, root, proof, key, nil) {
			t.Errorf("%s: it shows that what is there is absent", given.Case)
		}
		if holds(ics23.IavlSpec, root, proof, key, value) {
			t.Errorf("%s: it holds under another specification", given.Case)
		}
	}
}

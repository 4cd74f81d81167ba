package firewall

import (
	"slices"
	"time"

	"github.com/google/nftables/expr"

	"swerve/failover"
)

// Set is a set of addresses that others fill, in each family its own. Its elements are
// neither compared nor repaired.
type Set struct {
	// Name is the user's; the sets are set_NAME4 and set_NAME6.
	Name string
	// Timeout is for how long an element stays that was added without one; 0: for ever.
	Timeout time.Duration
	// Size is how many elements it holds at most in each family; 0: no bound.
	Size uint32
	// Comment is shown by nft(8).
	Comment string
}

// setName returns the name of a set in nftables.
func setName(name string, f failover.Family) string {
	return "set_" + name + [2]string{"4", "6"}[f]
}

func (g Goal) hasSet(name string) bool {
	return slices.ContainsFunc(g.Sets, func(s Set) bool { return s.Name == name })
}

// inSet matches addresses in a named set.
func (a address) inSet(name string) piece {
	return piece{text: a.text + " @" + name, exprs: append(nfproto(a.family).exprs,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length},
		&expr.Lookup{SourceRegister: 1, SetName: name},
	)}
}

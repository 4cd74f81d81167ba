package firewall

import (
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/lane"
)

// Where an uplink has no carrier, the kernel itself falls through the uplink's table, and
// what has the uplink's lane goes by the default policy's ladder. Other policies have a
// ladder of their own. So whoever leaves by another uplink than that of its lane has that
// lane remembered for a moment, and what has it meanwhile goes by its policy's ladder:
// with the first packet after a loss at the latest, whether a daemon runs or not.
const (
	fallenSet = "fallen"
	// fallenTime is how long a lane is remembered, if no verdict comes meanwhile. One
	// packet is lost each time.
	fallenTime = 10 * time.Second

	steppingMap   = "stepping"
	steppingChain = "steps"
)

// steps reports whether the policy's ladder goes on otherwise than the default policy's.
func (p Policy) steps() bool {
	return p.Lane != lane.DefaultPolicy && (p.Block || len(p.Uplinks) > 1)
}

// steps reports whether any policy does.
func (g Goal) steps() bool { return slices.ContainsFunc(g.Policies, Policy.steps) }

func fallenSetOf(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: fallenSet, KeyType: nftables.TypeMark, KeyByteOrder: binaryutil.NativeEndian,
		Dynamic: true, HasTimeout: true, Timeout: fallenTime, Size: uint32(lane.LastUplink) + 1,
	}
}

// stepping returns the map and the chains; none where no policy steps.
func stepping(b builder) ([]verdictMap, []chain) {
	if !b.steps() {
		return nil, nil
	}
	policies := verdictMap{name: steppingMap, keys: markKeys, about: "Policies with a ladder of their own."}
	for _, p := range b.Policies {
		if p.steps() {
			policies.elements = append(policies.elements, markEntry(b.Layout.CTPair(0, p.Lane), steppingChain))
		}
	}
	look := func() []rule {
		return []rule{newRule(ctOriginal, ctMark(b.Layout.CTPolicyMask()).vmap(steppingMap))}
	}
	return []verdictMap{policies}, []chain{
		{
			name: steppingChain, about: "By an uplink that others had to leave: back to the policy's ladder. Established TCP has its reset.",
			rules: []rule{newRule(ctMark(b.Layout.CTEstablished()).is(0), isFallen(b), ctMark(b.Layout.CTPolicyMask()).vmap(againMap))},
		},
		{
			name:  "stepping_in",
			base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, "prerouting", "mangle + 6", mangleLater+1),
			rules: look(),
		},
		{
			name:  "stepping_out",
			base:  hooked(nftables.ChainTypeRoute, nftables.ChainHookOutput, "output", "mangle + 6", mangleLater+1),
			rules: look(),
		},
	}
}

// isFallen matches packets with a lane that is remembered.
func isFallen(b builder) piece {
	f := packetMark(b.Layout.MarkMask)
	return piece{text: f.text + " @" + fallenSet, exprs: append(f.load, &expr.Lookup{SourceRegister: 1, SetName: fallenSet})}
}

// falls has the lane remembered of a packet that leaves by another uplink.
func falls(b builder) []piece {
	f := packetMark(b.Layout.MarkMask)
	return append(b.onUplink(), piece{
		text:  "update @" + fallenSet + " { " + f.text + " }",
		exprs: append(f.load, &expr.Dynset{SrcRegKey: 1, SetName: fallenSet, Operation: unix.NFT_DYNSET_OP_UPDATE}),
	})
}

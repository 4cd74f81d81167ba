package firewall

import (
	"slices"

	"swerve/failover"
)

// TCP's handshakes are counted where they leave by an uplink: begun by the segment with
// which a flow gets its uplink, begun again by such a segment of a flow that has one and
// that nothing has answered, and finished by the client's first segment after the answer.
// What has finished has the bit of the established, and never comes here again.

// Names of the maps and the chains for handshakes.
const (
	begunChain    = "begun"
	begunAgainMap = "begun_again"
	againChain    = "again"
	finishedMap   = "finished"
	finishedChain = "finished"
)

// handshakeMaps dispatch by the uplink's lane of the flow.
func handshakeMaps(b builder) []verdictMap {
	out := []verdictMap{byLane(b, begunAgainMap, againChain), byLane(b, finishedMap, finishedChain)}
	for i, chain := range []string{againChain, finishedChain} {
		for _, u := range b.Uplinks {
			if b.rescues() {
				out[i].elements = append(out[i].elements, markEntry(retried(b, u.Lane), of(chain, u.Lane)))
			}
		}
	}
	out[0].about = "Uplinks whose TCP handshakes begin again, and finish."
	return out
}

// handshakes returns the chains that count.
func handshakes(b builder) []chain {
	var out []chain
	for _, u := range b.Uplinks {
		counted := func(kind string) []rule {
			return []rule{
				newRule(nfproto(failover.IPv4), count(of(kind, u.Lane))),
				newRule(nfproto(failover.IPv6), count(of(kind+"6", u.Lane))),
			}
		}
		again := chain{name: of(againChain, u.Lane), rules: []rule{
			newRule(ctStatusUnconfirmed, goTo(of(begunChain, u.Lane))).because("its first, of a flow that was given its uplink before"),
			newRule(ctStateEstablished, accept).because("its answer was lost on the way to the client"),
		}}
		finished := chain{name: of(finishedChain, u.Lane), rules: []rule{
			newRule(setCTMark(b.Layout.CTEstablished()|b.Layout.CTRetried(), b.Layout.CTEstablished())),
		}}
		again.rules = slices.Concat(again.rules, counted("again"), pairVmaps(b, triedMap), []rule{newRule(accept)})
		finished.rules = slices.Concat(finished.rules, counted("finished"), pairVmaps(b, endedMap), []rule{newRule(accept)})
		out = append(out, chain{name: of(begunChain, u.Lane), rules: append(counted("begun"), newRule(accept))}, again, finished)
	}
	if len(out) > 0 {
		out[0].about = "TCP's handshakes by an uplink: begun, begun again without an answer, and finished. Each segment of\n" +
			"an established connection passes before these."
	}
	return out
}

// pairVmaps returns the rules that apply what the maps of rescues have for the flow's pair.
func pairVmaps(b builder, name func(failover.Family) string) []rule {
	if !b.rescues() {
		return nil
	}
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(nfproto(f), ctMark(b.pairMask()).vmap(name(f))))
	}
	return out
}

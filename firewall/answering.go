package firewall

import (
	"github.com/google/nftables"

	"swerve/failover"
)

// Names of the maps and chains for answers that come by another device.
const (
	answeredMap   = "answered"
	answeredChain = "answered"
	returnedMap   = "returned"
	returnedChain = "returned"
)

// answered dispatches to the chains for the answers to an uplink's probes, by the
// flow's lane; returned to those for the answers of its other flows.
func answered(b builder) (answers, returned verdictMap) {
	answers = verdictMap{name: answeredMap, keys: markKeys, about: "Answers to probes by uplink, and answers to other flows that come by another one."}
	returned = verdictMap{name: returnedMap, keys: markKeys}
	for _, u := range b.Uplinks {
		returned.elements = append(returned.elements, markEntry(b.Layout.Mark(u.Lane), of(returnedChain, u.Lane)))
		if u.Interface != "" {
			answers.elements = append(answers.elements, markEntry(b.Layout.CTPair(u.Lane, 0), of(answeredChain, u.Lane)))
		}
	}
	return answers, returned
}

// answering returns the chains that count where answers come in: those to probes in
// the input hook, off the forwarding path, by whether it is the uplink's device or
// another; those to other flows in came.
func answering(b builder) []chain {
	var out []chain
	for _, u := range b.Uplinks {
		out = append(out, chain{name: of(returnedChain, u.Lane), rules: []rule{newRule(count(of("returned", u.Lane)))}})
		if u.Interface == "" {
			continue
		}
		out = append(out, chain{name: of(answeredChain, u.Lane), rules: []rule{
			newRule(arrivesBy(u.Interface), nfproto(failover.IPv6), count(of("answers6", u.Lane)), accept),
			newRule(arrivesBy(u.Interface), count(of("answers", u.Lane)), accept),
			newRule(nfproto(failover.IPv6), count(of("away6", u.Lane)), accept).because("an answer to " + u.Name + " that comes elsewhere"),
			newRule(count(of("away", u.Lane))).because("an answer to " + u.Name + " that comes elsewhere"),
		}})
	}
	return append(out, chain{
		name:  "answering",
		about: "Where the answers to probes come in.",
		base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookInput, "input", "-199", tracked),
		rules: []rule{
			newRule(echoReply4, ctMark(b.pairMask()).vmap(answeredMap)),
			newRule(echoReply6, ctMark(b.pairMask()).vmap(answeredMap)),
		},
	})
}

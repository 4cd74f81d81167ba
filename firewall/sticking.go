package firewall

import (
	"swerve/failover"
	"swerve/lane"
)

// A program may name the interface for a datagram of a socket that is not bound to it
// (IP_PKTINFO, as wireguard-go, charon and OpenVPN do with what the last answer came by).
// The kernel keeps to that while the interface is there, so such a program would stick to
// an uplink that is lost. Its datagrams are sent by the default policy's ladder then, with
// the mark of which the kernel looks the route up again; that lookup minds only an
// interface that the socket is bound to. Rules of policies have their own mark for theirs.
const moveOnChain = "move_on"

func leftMap(f failover.Family) string { return "left_" + f.String() }

// left has the interfaces of the uplinks that the default policy's sessions have left, by
// family.
func left(b builder) []verdictMap {
	var out []verdictMap
	for _, f := range failover.Families {
		lost := map[lane.Lane]bool{}
		for _, p := range b.Lost[f] {
			lost[p.Uplink] = lost[p.Uplink] || p.Policy == lane.DefaultPolicy
		}
		m := b.devices(leftMap(f), "", func(u Uplink) bool { return lost[u.Lane] })
		for i := range m.elements {
			m.elements[i].chain = moveOnChain
		}
		out = append(out, m)
	}
	out[0].about = "Interfaces of lost uplinks, for datagrams of the gateway's own that name them."
	return out
}

// movesOn returns the rules for datagrams that would leave by a lost uplink, where these
// have no lane.
func movesOn(these piece) []rule {
	var out []rule
	for _, f := range failover.Families {
		out = append(out, newRule(nfproto(f), udp, these, leavesVmap(leftMap(f))))
	}
	return out
}

// moveOn is their chain: what stays on the link stays.
func moveOn(b builder) chain {
	return chain{
		name:  moveOnChain,
		about: "Of the gateway's own: names an uplink that is lost, and goes by the default policy's ladder.",
		rules: append(onLink(linkLocal), newRule(setPacketMark(b.Layout.MarkMask, b.Layout.Mark(lane.DefaultPolicy)))),
	}
}

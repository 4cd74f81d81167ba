package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Observed is what an earlier run left in the kernel.
type Observed struct {
	// Exists: there is a table of ours.
	Exists bool
	// Lost are, by family, the pairs whose flows were moved or waited for a reset,
	// sorted, as in Goal.Lost.
	Lost [2][]Pair
	// Native and Plain are, by uplink, what was found to need no NAT, as in Adoption.
	Native map[lane.Lane][]netip.Prefix
	Plain  map[lane.Lane][]Ends
}

// Observe reads what the kernel holds from an earlier run, so that a restart adopts
// it and moves nothing.
func (k *Kernel) Observe(l lane.Layout) (Observed, error) {
	held, err := k.read()
	if err != nil {
		return Observed{}, fmt.Errorf("firewall: observe: %w", err)
	}
	out := Observed{Exists: held.exists}
	for _, f := range failover.Families {
		out.Lost[f] = held.lost(l, deadMap(f))
	}
	if held.exists {
		out.Native, out.Plain = held.found()
	}
	return out, nil
}

func (h heldTable) lost(l lane.Layout, name string) []Pair {
	var out []Pair
	for key := range h.sets[name].elements {
		mark, ok := markOf(key)
		if !ok {
			continue
		}
		p := Pair{}
		p.Uplink, p.Policy = l.CTLanes(mark)
		if p.Uplink.IsUplink() && p.Policy.IsPolicy() {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, comparePairs)
	return slices.Compact(out) // each is there with and without established TCP
}

// Count is the value of a counter.
type Count struct{ Packets, Bytes uint64 }

// Counters are the values of the table's counters. They exist as long as the table
// does.
type Counters struct {
	// Resets counts packets answered with a reset, Graced those among them that belong to
	// no flow any more, Guard packets kept off an uplink that their policy or probe may not
	// use, Stray packets dropped because their address belongs elsewhere.
	Resets, Graced, Guard, Stray Count
	// Anew counts flows of lost pairs that a deletion of the pair's flows would end
	// since they sent a packet: connections that begin between the ports of older
	// ones, and flows that a helper expects.
	Anew Count
	// Sent counts, by uplink, all packets that left by it, in both families.
	Sent map[lane.Lane]Count
	// Flows counts, by uplink, the first packets of flows that left by it.
	Flows map[lane.Lane]Count
	// Moved counts, by uplink, flows that left it for another one with a packet of theirs,
	// before anybody deleted their entry. Reset counts its TCP connections that were reset
	// (before Linux 6.3 their segments that were).
	Moved, Reset map[lane.Lane]Count
	// Began counts, by uplink and family, new flows that began by others while it was
	// shunned.
	Began map[lane.Lane][2]Count
	// Probes counts, by uplink, the probes that left by it, Probes6 those of IPv6 among
	// them; Elsewhere those that would
	// have left by another device, and were dropped.
	Probes, Probes6, Elsewhere map[lane.Lane]Count
	// Answers counts, by uplink, the answers to its probes by family; Returned the
	// answers to its other flows that came in by another uplink.
	Answers  map[lane.Lane]Answers
	Returned map[lane.Lane]Count
	// Begun counts, by uplink and family, TCP connections by their first segment; Again
	// those segments that were sent once more, as nothing had answered; Finished those
	// connections whose client has confirmed the answer.
	Begun, Again, Finished map[lane.Lane][2]Count
	// Tried counts the addresses that the next uplink was tried for, Rescued those that
	// answered there, TakenBack those that the policy's own uplink has reached again or the
	// next one no more, and Limited the SYNs for which there was no room for another trial.
	Tried, Rescued, TakenBack, Limited Count
}

// Answers counts answers to an uplink's probes by family: those that came in by the
// uplink, and those that came by another device.
type Answers struct {
	Came, Away [2]Count
}

// Counters reads the counters. Without a table all are zero.
func (k *Kernel) Counters() (Counters, error) {
	var held heldTable
	if err := (reader{k}).readObjects(&held); err != nil {
		return Counters{}, fmt.Errorf("firewall: %w", err)
	}
	out := Counters{
		Sent: map[lane.Lane]Count{}, Flows: map[lane.Lane]Count{},
		Moved: map[lane.Lane]Count{}, Reset: map[lane.Lane]Count{}, Began: map[lane.Lane][2]Count{},
		Probes: map[lane.Lane]Count{}, Probes6: map[lane.Lane]Count{}, Elsewhere: map[lane.Lane]Count{},
		Answers: map[lane.Lane]Answers{}, Returned: map[lane.Lane]Count{},
		Begun: map[lane.Lane][2]Count{}, Again: map[lane.Lane][2]Count{}, Finished: map[lane.Lane][2]Count{},
	}
	for _, o := range held.objects {
		if o.kind == unix.NFT_OBJECT_COUNTER {
			out.set(o.name, Count{o.packets, o.bytes})
		}
	}
	return out, nil
}

func (c *Counters) set(name string, value Count) {
	switch name {
	case resetsCounter:
		c.Resets = value
	case gracedCounter:
		c.Graced = value
	case guardCounter:
		c.Guard = value
	case strayCounter:
		c.Stray = value
	case anewCounter:
		c.Anew = value
	case triedCounter:
		c.Tried = value
	case rescuedCounter:
		c.Rescued = value
	case takenBackCounter:
		c.TakenBack = value
	case limitedCounter:
		c.Limited = value
	}
	kind, number, _ := strings.Cut(name, "_")
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return
	}
	switch kind {
	case "up":
		c.Sent[lane.Lane(n)] = value
	case "flows":
		c.Flows[lane.Lane(n)] = value
	case "moved":
		c.Moved[lane.Lane(n)] = value
	case "resets":
		c.Reset[lane.Lane(n)] = value
	case "began", "began6":
		setOfFamily(c.Began, n, kind, value)
	case "begun", "begun6":
		setOfFamily(c.Begun, n, kind, value)
	case "again", "again6":
		setOfFamily(c.Again, n, kind, value)
	case "finished", "finished6":
		setOfFamily(c.Finished, n, kind, value)
	case "probes":
		c.Probes[lane.Lane(n)] = value
	case "probes6":
		c.Probes6[lane.Lane(n)] = value
	case "elsewhere":
		c.Elsewhere[lane.Lane(n)] = value
	case "returned":
		c.Returned[lane.Lane(n)] = value
	case "answers", "answers6", "away", "away6":
		a := c.Answers[lane.Lane(n)]
		side, f := &a.Came, failover.IPv4
		if strings.HasPrefix(kind, "away") {
			side = &a.Away
		}
		if strings.HasSuffix(kind, "6") {
			f = failover.IPv6
		}
		side[f] = value
		c.Answers[lane.Lane(n)] = a
	}
}

// setOfFamily sets a lane's count of the family that the counter's name ends with.
func setOfFamily(counts map[lane.Lane][2]Count, n uint64, name string, value Count) {
	both := counts[lane.Lane(n)]
	both[strings.Count(name, "6")] = value
	counts[lane.Lane(n)] = both
}

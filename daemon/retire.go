package daemon

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// An uplink that a configuration removes or switches off, or whose interface it
// replaces, leaves flows with its lane behind. None can go on: their address stays
// with the former interface. They are ended, so that they begin anew elsewhere.

// retired is a lane whose flows have to end.
type retired struct {
	lane   lane.Lane
	uplink string
	// index is the interface that the flows used; they end once the uplink uses
	// another one or none.
	index int
	// device is the interface's name, if only that is known.
	device    string
	addresses [2][]netip.Addr
}

// retiring returns the lanes of uplinks that are not used any more under the next
// setup, or use another interface.
func (s setup) retiring(next setup, links picture, r renames) []retired {
	if !s.mayAct() {
		return nil
	}
	var out []retired
	for _, u := range s.uplinks {
		if !u.Enabled || next.continues(u, links, r.uplinks) || !links.last[u.Name].offered && !s.wasOffered(u.Name) {
			continue
		}
		gone := retired{lane: s.lanes.Uplinks[u.Name], uplink: u.Name, index: links.links[u.Name].Index}
		for _, f := range failover.Families {
			for _, a := range links.last[u.Name].addresses[f] {
				gone.addresses[f] = append(gone.addresses[f], a.Addr())
			}
		}
		out = append(out, gone)
	}
	return out
}

// mostFormer bounds the addresses of former uplinks.
const mostFormer = 64

// formerBy returns the addresses of former uplinks once these are retired.
func (s setup) formerBy(gone []retired) []routing.Former {
	out := slices.Clone(s.former)
	for _, r := range gone {
		for _, a := range slices.Concat(r.addresses[0], r.addresses[1]) {
			if f := (routing.Former{Address: a, Index: r.index}); r.index != 0 && !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out[max(0, len(out)-mostFormer):] // the latest
}

// formerNow are the addresses of former uplinks, but for what uplinks use again.
func (g goal) formerNow() []routing.Former {
	return slices.DeleteFunc(slices.Clone(g.former), func(f routing.Former) bool {
		return slices.ContainsFunc(g.uplinks, func(u config.Uplink) bool {
			return u.Enabled && (g.links.links[u.Name].Index == f.Index ||
				slices.ContainsFunc(failover.Families[:], func(family failover.Family) bool {
					return slices.ContainsFunc(g.links.last[u.Name].sources(family), func(p netip.Prefix) bool { return p.Addr() == f.Address })
				}))
		})
	})
}

// continues reports whether a former uplink is still used, under whatever name, by
// the same interface.
func (s setup) continues(past config.Uplink, links picture, former map[string]string) bool {
	for _, u := range s.uplinks {
		was, renamed := former[u.Name]
		if !renamed {
			was = u.Name
		}
		if was == past.Name {
			// What a MAC address or a long name stands for is not known here.
			return u.Enabled && (configuredName(u) == "" || sameInterface(past, u, links))
		}
	}
	return false
}

// retiredSince returns the lanes of an earlier run whose interface, according to the
// kernel's rules, is not used for them any more.
func (s setup) retiredSince(inKernel map[string]lane.Lane) []retired {
	var out []retired
	for _, device := range slices.Sorted(maps.Keys(inKernel)) {
		n := inKernel[device]
		name, used := s.uplinkOf(n)
		i := slices.IndexFunc(s.uplinks, func(u config.Uplink) bool { return used && u.Name == name && u.Enabled })
		if i < 0 || configuredName(s.uplinks[i]) != "" && configuredName(s.uplinks[i]) != device {
			out = append(out, retired{lane: n, uplink: cmp.Or(name, device), device: device})
		}
	}
	return out
}

// at reports whether a link is the interface that the flows used, and whether that
// can be said already.
func (r retired) at(link failover.Link) (same, known bool) {
	if r.device != "" {
		return link.Interface == r.device, link.Present
	}
	return r.index != 0 && link.Index == r.index, true
}

// retire ends the flows of retired lanes whose interface is not used for them any
// more, according to the goal that was applied.
func (e *enforcer) retire(g goal, o outcome) {
	if o.err != nil || len(e.retired) == 0 {
		return
	}
	var ways []string
	elsewhere := map[netip.Addr]bool{}
	for _, u := range g.uplinks {
		for _, a := range g.links.last[u.Name].addresses {
			for _, address := range a {
				elsewhere[address.Addr()] = u.Enabled
			}
		}
	}
	for _, i := range g.interfaces() {
		ways = append(ways, i.Name)
	}
	e.retired = slices.DeleteFunc(e.retired, func(r retired) bool {
		for _, u := range g.uplinks {
			if g.lanes.Uplinks[u.Name] != r.lane || !u.Enabled {
				continue
			}
			if same, known := r.at(g.links.links[u.Name]); same || !known {
				return same && r.device != "" // an altname stands for it; otherwise it is too early
			}
		}
		return e.worker.walks.add(retirement{g.layout, r, ways, elsewhere})
	})
}

// retirement ends the flows of a retired lane.
type retirement struct {
	layout lane.Layout
	retired
	// ways are the interfaces that flows may use from now on.
	ways []string
	// elsewhere are addresses that other uplinks have.
	elsewhere map[netip.Addr]bool
}

// carryOut has TCP that goes on without its entry answered with a reset, closes this
// machine's own connections, and deletes the entries.
func (r retirement) carryOut(w *worker) {
	begin := time.Now()
	w.counts.graces(r.uplink)
	failed := w.flows.Grace(r.ways)
	closed := 0
	for _, address := range slices.Concat(r.addresses[0], r.addresses[1]) {
		n := r.lane
		if !r.elsewhere[address] {
			n = 0 // flows that went on may have the lane of another uplink by now
		}
		count, err := w.flows.DestroySockets(r.layout, n, address, firewall.Spared{})
		closed += count
		failed = errors.Join(failed, err)
	}
	for _, f := range failover.Families {
		failed = errors.Join(failed, routing.Touch(w.routes, r.layout, r.lane, f))
	}
	pokes, undropped := w.flows.DropFlows(r.layout, r.lane, failover.Families[:]...)
	failed = errors.Join(failed, undropped)
	w.counts.dealtWith(r.uplink, pokes.Sent[0]+pokes.Sent[1], closed)
	w.counts.deleted(r.uplink, 0, false)
	detail := control.SessionsDetail{
		Action: "moved", Uplink: r.uplink, TookMS: control.Millis(time.Since(begin)),
		Reason:    "the configuration does not use the uplink, or its interface, any more: entries deleted, TCP is reset at its next packet",
		Destroyed: positive(closed),
	}
	detail = poked(detail, pokes.Sent[0]+pokes.Sent[1], pokes.Left[0]+pokes.Left[1], nil)
	if failed != nil {
		detail.Action, detail.Reason = "failed", "not all sessions of a removed uplink were ended: "+failed.Error()
	}
	w.publish(detail)
}

package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"swerve/config"
	"swerve/control"
	"swerve/target"
)

// A target that is an address of this machine answers whatever the uplink does, so
// it is left out; and a gateway that is one leads nowhere.

// isAmong makes a filter of targets that are among these addresses.
func isAmong(own []netip.Addr) func(target.Target) bool {
	return func(t target.Target) bool { return slices.Contains(own, t.Addr) }
}

// ownTargets are the targets of uplinks that are addresses of this machine, each once.
func ownTargets(uplinks []config.Uplink, own []netip.Addr) []string {
	var found []string
	for _, u := range uplinks {
		for _, t := range u.Probe.Targets {
			if u.Enabled && slices.Contains(own, t.Addr) {
				found = append(found, t.String())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// ownChanged takes the machine's own addresses over, where that makes a difference.
func (l *loop) ownChanged() {
	own := l.net.Own()
	if slices.Equal(ownTargets(l.setup.uplinks, own), ownTargets(l.setup.uplinks, l.setup.own)) {
		l.setup.own = own
		l.judgeOwn()
		return
	}
	if err := l.configure(l.setup.cfg); err != nil {
		l.log.Error("take over the machine's own addresses", "err", err)
	}
}

// judgeOwn keeps the problems of targets and gateways that are this machine.
func (l *loop) judgeOwn() {
	var targets error
	if found := ownTargets(l.setup.uplinks, l.setup.own); len(found) > 0 {
		targets = fmt.Errorf("these targets are addresses of this machine, which would always answer, so they are left out: %s",
			strings.Join(found, " "))
	}
	l.problems.set("probe.targets", "own-target", control.Warning, targets, "name targets beyond the uplinks")
	var gateways []control.Problem
	for _, u := range l.setup.uplinks {
		for _, g := range []config.Gateway{u.Gateway, u.Gateway6} {
			if u.Enabled && slices.Contains(l.setup.own, g.Addr) {
				gateways = append(gateways, control.Problem{
					Code: "own-gateway", Severity: control.Warning, Object: u.Name,
					Text:   fmt.Sprintf("the gateway %s of %s is an address of this machine, so it is not used", g.Addr, u.Name),
					Remedy: "name the router's address, or auto",
				})
			}
		}
	}
	l.problems.setAll("own-gateway", gateways)
}

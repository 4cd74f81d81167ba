package daemon

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/routing"
)

// A blackhole route of another program in one of our tables is a problem that names
// it. The problem is critical if our routes cannot be placed before it, and cleared
// with its cause.
func TestIntruderIsTold(t *testing.T) {
	for metric, severity := range map[uint32]control.Severity{0: control.Critical, 1: control.Warning} {
		inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
			r.start()
			r.after(3 * time.Second)
			theirs := routing.Route{
				Slot:     routing.Slot{Family: failover.IPv4, Table: 5364, Dst: anyIPv4, Metric: metric},
				Protocol: unix.RTPROT_STATIC, Type: unix.RTN_BLACKHOLE,
			}
			set := func(routes ...routing.Route) {
				r.Routes.Lock()
				r.Routes.Others = routes
				r.Routes.Unlock()
				r.Routes.Changed()
			}
			set(theirs)
			r.until("it is told", 2*time.Minute, func() bool { return r.problem("foreign-route") != nil })
			p := r.problem("foreign-route")
			if p.Severity != severity || !strings.Contains(p.Text, "blackhole default table 5364") || !strings.Contains(p.Remedy, "ip -4 route del blackhole default table 5364") {
				t.Errorf("metric %d: %+v", metric, p)
			}
			if s := r.status(); control.Overall(*s) == control.OK {
				t.Errorf("metric %d: overall is ok", metric)
			}
			set()
			r.until("it is gone", 2*time.Minute, func() bool { return r.problem("foreign-route") == nil })
		})
	}
}

// So is a narrower one, which takes what goes there.
func TestNarrowerIntruderIsTold(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		r.Routes.Lock()
		r.Routes.Narrower = []routing.Route{{
			Slot:     routing.Slot{Family: failover.IPv4, Table: 5364, Dst: netip.MustParsePrefix("198.18.0.0/15")},
			Protocol: unix.RTPROT_STATIC, Type: unix.RTN_BLACKHOLE,
		}}
		r.Routes.Unlock()
		r.Routes.Changed()
		r.until("it is told", 2*time.Minute, func() bool { return r.problem("foreign-route") != nil })
		p := r.problem("foreign-route")
		if p.Severity != control.Warning || p.Object != "table 5364 198.18.0.0/15" || !strings.Contains(p.Text, "what goes there meets it before ours") ||
			!strings.Contains(p.Remedy, "ip -4 route del blackhole 198.18.0.0/15 table 5364") {
			t.Errorf("%+v", p)
		}
	})
}

// However many routes others put into our tables, there are few problems: the worst
// ones, and one that counts the rest.
func TestManyIntruders(t *testing.T) {
	inBubble(t, twoUplinks, func(t *testing.T, r *rig) {
		r.start()
		r.after(3 * time.Second)
		var theirs []routing.Route
		for i := range uint32(1000) {
			theirs = append(theirs, routing.Route{
				Slot:     routing.Slot{Family: failover.IPv4, Table: 5364, Dst: anyIPv4, Metric: 999 - i},
				Protocol: unix.RTPROT_STATIC, Type: unix.RTN_BLACKHOLE,
			})
		}
		r.Routes.Lock()
		r.Routes.Others = theirs
		r.Routes.Unlock()
		r.Routes.Changed()
		r.until("they are told", 2*time.Minute, func() bool { return r.problem("foreign-route") != nil })
		var found []control.Problem
		for _, p := range r.status().Problems {
			if p.Code == "foreign-route" {
				found = append(found, p)
			}
		}
		if len(found) != mostIntruders+1 {
			t.Fatalf("%d problems, want %d: %+v", len(found), mostIntruders+1, found)
		}
		critical, rest := 0, ""
		for _, p := range found {
			if p.Severity == control.Critical {
				critical++
			}
			if strings.Contains(p.Text, " more ") {
				rest = p.Text
			}
		}
		if critical != 1 || !strings.Contains(rest, "992 more") {
			t.Errorf("%d are critical, want the one at metric 0; the rest: %q", critical, rest)
		}
	})
}

package daemon

import (
	"strings"
	"syscall"
	"testing"

	"swerve/control"
)

// A set that has as many elements as it may have is a problem that says what to do, by
// family; the kernel refuses more. It ends once there is room.
func TestFullSet(t *testing.T) {
	g := newGateway(t)
	configure := func(more string) {
		g.configure("sets:\n  video: {size: 3, timeout: 1h}\n  music: {size: 3}\npolicies: [{name: other, tiers: [lte, fiber]}]\n" +
			"rules: [{to: {set: video}, use: other}, {to: {set: music}, use: other}]\n" + more)
	}
	configure("")
	p := g.run()
	g.sh(`nft add element inet swerve set_video4 '{ 192.0.2.1, 192.0.2.2, 192.0.2.3 }'
		nft add element inet swerve set_music4 '{ 192.0.2.1, 192.0.2.2 }'`)
	if _, err := g.ns.Run("nft", "add", "element", "inet", "swerve", "set_video4", "{ 192.0.2.4 }"); err == nil {
		t.Error("the kernel took a fourth element of three")
	}
	full := func(s *control.Status) (found *control.Problem) {
		for i, problem := range s.Problems {
			if problem.Code == "set-full" {
				if found != nil {
					t.Errorf("more than one set is full: %+v", s.Problems)
				}
				found = &s.Problems[i]
			}
		}
		return found
	}
	configure("sessions: {on_down: move}\n") // they are read after a reload, else each minute
	p.reload()
	p.await("the set to be full", func(s *control.Status) bool { return full(s) != nil })
	s, err := p.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f := full(s); f.Object != "video" || f.Severity != control.Warning || !strings.Contains(f.Text, "full in IPv4 with 3 elements") || !strings.Contains(f.Remedy, "sets.video") {
		t.Errorf("the problem is %+v", f)
	}
	if sets := s.Sets; len(sets) != 2 || sets[0].IPv4 == nil || *sets[0].IPv4 != 3 || *sets[0].IPv6 != 0 || *sets[1].IPv4 != 2 || sets[0].Size != 3 {
		t.Errorf("the status has the sets %+v", sets)
	}
	g.sh(`nft delete element inet swerve set_video4 '{ 192.0.2.2 }'`)
	configure("sessions: {on_down: keep}\n")
	p.reload()
	p.await("the set to have room", func(s *control.Status) bool { return full(s) == nil && len(s.Sets) == 2 && *s.Sets[0].IPv4 == 2 })
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v", err)
	}
}

package others

import (
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// dbus starts a message bus of the place's own.
func (v *view) dbus() {
	v.t.Helper()
	v.start("dbus", "dbus-daemon --system --nofork --nopidfile")
	wait.For(v.t, "the message bus", func() bool { _, err := v.try("test -S /run/dbus/system_bus_socket"); return err == nil })
}

// firewalld starts, is reloaded (which drops everything for a moment), reloaded
// completely, restarted and ended beside us, with the uplinks in a zone that masquerades
// and the LAN in one that may go there. What it lets pass goes on, and nothing of ours is
// touched; its filter of reverse paths meets packets with our marks.
func TestFirewalld(t *testing.T) {
	needsPrograms(t, "zones of a router", func(t *testing.T) {
		h := newHouse(t, lab.Options{Firewall: lab.FirewallNone}, quick)
		v := newView(t, h.Gateway)
		v.dbus()
		v.sh(`for zone in external:wan0 external:wan1 internal:lan0; do firewall-offline-cmd --zone=${zone%:*} --add-interface=${zone#*:}; done
			firewall-offline-cmd --new-policy=out; firewall-offline-cmd --policy=out --add-ingress-zone=internal
			firewall-offline-cmd --policy=out --add-egress-zone=external; firewall-offline-cmd --policy=out --set-target=ACCEPT
			firewall-offline-cmd --zone=external --add-rich-rule='rule family=ipv6 masquerade' || true
			firewall-offline-cmd --policy=out --add-masquerade || true`)
		d := v.start("firewalld", "firewalld --nofork --nopid --log-target=console")
		running := func() {
			wait.For(t, "firewalld", func() bool { _, err := v.try("firewall-cmd --state"); return err == nil })
		}
		running()
		h.Start()
		h.Await("fiber to carry, and all to be up", lab.Settled)
		p := h.clients()
		h.goBy(fiber, p.all()...)
		if rules := h.sh("nft list table inet firewalld"); !strings.Contains(rules, "fib saddr . mark . iif oif missing drop") {
			t.Errorf("firewalld filters no reverse paths:\n%s", rules[:min(len(rules), 2000)])
		}
		h.calm("firewalld", 3*time.Second)
		began := time.Now()
		for range 3 {
			v.sh("firewall-cmd --reload")
			h.goBy(fiber, p.all()...)
		}
		worst := h.disturbed("three reloads of firewalld", began, 150, p.all()...)
		t.Logf("at most %d of a session's requests were lost while firewalld reloaded", worst)
		v.sh("firewall-cmd --complete-reload")
		h.goBy(fiber, p.fresh[:]...)
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		v.sh("firewall-cmd --reload")
		h.goBy(lte, p.fresh[:]...)
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		d.stop()
		h.goBy(fiber, p.fresh[:]...)
		v.start("firewalld", "firewalld --nofork --nopid --log-target=console")
		running()
		h.goBy(fiber, p.fresh[:]...)
		if n := len(h.repairs()); n > 0 {
			t.Errorf("%d repairs beside firewalld: %+v", n, h.repairs()[0].Detail)
		}
		h.inPlace("beside firewalld")
		h.Stop()
		h.goBy(fiber, p.fresh[:]...)
	})
}

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
	v.sh("rm -f /usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service") // root is allowed all without it
	v.start("dbus", "dbus-daemon --system --nofork --nopidfile")
	wait.For(v.t, "the message bus", func() bool { _, err := v.Run("test -S /run/dbus/system_bus_socket"); return err == nil })
}

// firewalld starts, is reloaded (which drops everything for a moment), also
// completely, ended and started again beside us, with the uplinks in a zone that masquerades
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
		begin := func() *program {
			d := v.start("firewalld", "firewalld --nofork --nopid --log-target=console")
			wait.For(t, "firewalld", func() bool { _, err := v.Run("firewall-cmd --state"); return err == nil })
			return d
		}
		d := begin()
		p := h.clients()
		h.goBy(fiber, p.all()...)
		// cost returns how many requests of a session's fifty a second a reload costs.
		cost := func(what, how string) int {
			t.Helper()
			began := time.Now()
			v.sh("firewall-cmd --" + how)
			h.goBy(fiber, p.fresh[:]...)
			return h.disturbed(what, began, 400, p.fresh[:]...)
		}
		alone, completely := cost("a reload without us", "reload"), cost("a complete reload without us", "complete-reload")
		h.Start()
		h.Await("fiber to carry, and all to be up", lab.Settled)
		h.goBy(fiber, p.all()...)
		if rules := h.sh("nft list table inet firewalld"); !strings.Contains(rules, "fib saddr . mark . iif oif missing drop") {
			t.Errorf("firewalld filters no reverse paths:\n%s", rules[:min(len(rules), 2000)])
		}
		h.calm("firewalld", 3*time.Second)
		besides, completelyBeside := cost("a reload", "reload"), cost("a complete reload", "complete-reload")
		t.Logf("a reload costs %d requests without us, %d with us; a complete one %d and %d", alone, besides, completely, completelyBeside)
		if besides > 3*alone+30 || completelyBeside > 3*completely+30 {
			t.Error("reloads cost more beside us")
		}
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		v.sh("firewall-cmd --reload")
		h.goBy(lte, p.fresh[:]...)
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		d.stop()
		h.goBy(fiber, p.fresh[:]...)
		begin()
		h.goBy(fiber, p.fresh[:]...)
		if n := len(h.repairs()); n > 0 {
			t.Errorf("%d repairs beside firewalld: %+v", n, h.repairs()[0].Detail)
		}
		h.inPlace("beside firewalld")
		h.Stop()
		h.goBy(fiber, p.fresh[:]...)
	})
}

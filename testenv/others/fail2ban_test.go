package others

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// fail2ban bans by nftables, flushes its set, is reloaded and ended: its table is its
// own, what it bans is banned on every uplink, and nothing of ours moves.
func TestFail2ban(t *testing.T) {
	needsPrograms(t, "nftables", func(t *testing.T) {
		h := startHouse(t, masqueraded, quick)
		v := newView(t, h.Gateway)
		v.sh("mkdir -p /etc/fail2ban /run/fail2ban; : >/var/log/door.log; rm -f /etc/fail2ban/jail.d/*")
		v.write("/etc/fail2ban/jail.local", "[DEFAULT]\nbanaction = nftables-multiport\nbanaction_allports = nftables-allports\nbackend = polling\n"+
			"[door]\nenabled = true\nfilter = door\nlogpath = /var/log/door.log\nport = 7777\nmaxretry = 1\nbantime = 600\naction = nftables-multiport[name=door, port=\"7777\", protocol=tcp]\n")
		v.write("/etc/fail2ban/filter.d/door.conf", "[Definition]\nfailregex = ^.*refused <HOST>$\n")
		d := v.start("fail2ban", "fail2ban-server -f -x start")
		wait.For(t, "fail2ban", func() bool { _, err := v.Run("fail2ban-client status door"); return err == nil })
		p := h.clients()
		h.goBy(fiber, p.all()...)
		began := time.Now()
		banned := func(address string, want bool) {
			t.Helper()
			wait.For(t, "fail2ban's set", func() bool {
				out, _ := h.Gateway.Run("nft", "list", "ruleset")
				return strings.Contains(out, address) == want
			})
		}
		v.sh(`echo "$(date '+%Y-%m-%d %H:%M:%S') refused 198.18.0.99" >>/var/log/door.log`)
		banned("198.18.0.99", true)
		if rules := h.sh("nft list table inet f2b-table"); !strings.Contains(rules, "reject") {
			t.Errorf("fail2ban's table:\n%s", rules)
		}
		h.calm("fail2ban", 3*time.Second)
		v.sh("fail2ban-client set door unbanip 198.18.0.99")
		banned("198.18.0.99", false)
		for n := range 50 {
			v.sh(fmt.Sprintf("fail2ban-client set door banip 198.18.1.%d", n+1))
		}
		banned("198.18.1.50", true)
		v.sh("fail2ban-client unban --all; fail2ban-client reload")
		banned("198.18.1.50", false)
		h.goBy(fiber, p.all()...)
		h.undisturbed("fail2ban", began, p.all()...)
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		d.stop()
		h.goBy(fiber, p.fresh[:]...)
		h.inPlace("without fail2ban")
		if n := len(h.repairs()); n > 0 {
			t.Errorf("%d repairs: %+v", n, h.repairs()[0].Detail)
		}
	})
}

package others

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// keepalived has an address on the LAN, which clients have as their gateway, and one on
// an uplink, and loses and wins both against a neighbour with a better priority. Clients go
// on by the uplink's own address; a failover beside it works; where it leaves when it is
// no master, nothing of the uplink's moves.
func TestKeepalived(t *testing.T) {
	needsPrograms(t, "on the LAN and on an uplink", func(t *testing.T) {
		h := startHouse(t, masqueraded, quick)
		h.at(h.Client, "ip route replace default via 192.168.10.254")
		v := newView(t, h.Gateway)
		instance := func(name, device string, id, priority int, address string) string {
			return fmt.Sprintf("vrrp_instance %s {\n state BACKUP\n interface %s\n virtual_router_id %d\n priority %d\n advert_int 0.3\n virtual_ipaddress {\n  %s dev %s\n }\n}\n",
				name, device, id, priority, address, device)
		}
		v.write("/etc/keepalived/keepalived.conf", "global_defs {\n vrrp_version 3\n vrrp_garp_master_delay 1\n}\n"+
			instance("lan", "lan0", 51, 100, "192.168.10.254/24")+instance("wan", "wan0", 52, 100, "203.0.113.50/24"))
		has := func(address string, want bool) {
			t.Helper()
			wait.For(t, "the address "+address, func() bool {
				out, _ := h.Gateway.Run("ip", "-o", "address", "show", "to", address)
				return (out != "") == want
			})
		}
		k := v.start("keepalived", "keepalived --dont-fork --log-console --use-file /etc/keepalived/keepalived.conf")
		has("192.168.10.254", true)
		has("203.0.113.50", true)
		p := h.clients()
		h.goBy(fiber, p.all()...)
		h.calm("keepalived as master", 3*time.Second)
		began := time.Now()
		// Another machine on the uplink's link is better: it takes the address, and gives it back.
		other := newView(t, h.ISP[fiber])
		other.write("/etc/keepalived/keepalived.conf", "global_defs {\n vrrp_version 3\n}\n"+instance("wan", "cust", 52, 200, "203.0.113.50/24"))
		o := other.start("keepalived", "keepalived --dont-fork --log-console --use-file /etc/keepalived/keepalived.conf")
		has("203.0.113.50", false)
		h.goBy(fiber, p.all()...)
		o.stop()
		has("203.0.113.50", true)
		h.goBy(fiber, p.all()...)
		h.undisturbed("an uplink's address that goes and comes", began, p.all()...)
		h.unmoved("an uplink's address that goes and comes")
		// A port of the gateway at the shared address is answered from there.
		serve(t, h.Gateway, netip.MustParseAddrPort("203.0.113.50:7777"))
		if err := wait.Until(t.Context(), "an answer", func() bool {
			return asks(h.Internet, "tcp", netip.MustParseAddrPort("203.0.113.50:7777")) == nil
		}); err != nil {
			t.Error(err)
		}
		f := h.Break(fiber, "black-hole")
		h.goBy(lte, p.fresh[:]...)
		h.Mend(f)
		h.Await("fiber to carry again", lab.Settled)
		h.goBy(fiber, p.fresh[:]...)
		k.signal("HUP")
		h.goBy(fiber, p.fresh[:]...)
		k.stop()
		has("192.168.10.254", false)
		h.at(h.Client, "ip route replace default via 192.168.10.1")
		h.goBy(fiber, p.fresh[failover.IPv4])
		h.inPlace("without keepalived")
		if n := len(h.repairs()); n > 0 {
			t.Errorf("%d repairs: %+v", n, h.repairs()[0].Detail)
		}
	})
}

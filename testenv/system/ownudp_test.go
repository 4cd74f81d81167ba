package system

import (
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/traffic"
)

// The gateway's own connected UDP sockets, whose source is the lost uplink's address. While
// the machine has it they go on by the other uplink. Without it nothing would hear an answer,
// and their programs have an error with each packet: of IPv4 by the kernel itself, which does
// the same to nobody where the interface is only down.
func TestOwnUDP(t *testing.T) {
	t.Parallel()
	for spec, told := range map[string][2]bool{
		"black-hole": {}, "carrier": {}, "interface-down": {failover.IPv6: true},
		"address-removal": {failover.IPv4: true, failover.IPv6: true},
	} {
		t.Run(spec, func(t *testing.T) {
			scenario(t, func(t *trial) {
				g := startGateway(t, usual, quickRecovery)
				// For a moment the kernel masquerades with the LAN's address, as without a daemon.
				g.leaks = spec == "address-removal"
				var all [2]*session
				for _, f := range failover.Families {
					all[f] = g.session(g.Gateway, traffic.UDPStream, lab.Servers[f], 50)
				}
				g.goBy(fiber, all[:]...)
				g.Break(fiber, spec)
				for _, f := range failover.Families {
					if !told[f] {
						g.goBy(lte, all[f])
						continue
					}
					g.Until("the program to have an error with each packet", func() bool {
						log := all[f].Log()
						const row = 10
						for _, r := range log[max(0, len(log)-row):] {
							if r.Err == "" || r.Err == "no answer" || time.Since(r.Due) > time.Second {
								return false
							}
						}
						return len(log) >= row
					})
				}
			})
		})
	}
}

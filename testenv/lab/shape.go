package lab

import (
	"fmt"
	"net/netip"
	"time"

	"swerve/testenv/netns"
	"swerve/testenv/wire"
)

// fullFrame is the length of a full frame on a wire.
const fullFrame = 1514

// Shape limits an uplink's wire to rates in bits a second, with a queue in front of each
// direction that holds what passes within a time.
func Shape(lab *Lab, uplink int, down, up int64, queue time.Duration) {
	for direction, rate := range map[wire.Direction]int64{wire.ToGateway: down, wire.ToISP: up} {
		lab.Wire[uplink].Change(direction, func(p *wire.Path) {
			p.Rate, p.Queue = rate, 0
			if rate > 0 {
				p.Queue = max(8, int(queue.Seconds()*float64(rate)/8/fullFrame))
			}
		})
	}
}

// MoreClients gives a client's namespace further addresses of the LAN, from
// 192.168.10.100 on, and returns them.
func MoreClients(client *netns.NS, n int) ([]netip.Addr, error) {
	if n > 150 {
		return nil, fmt.Errorf("lab: %d more clients; want 150 at most", n)
	}
	var all []netip.Addr
	for i := range n {
		addr := host(LAN4, byte(100+i))
		if err := client.AddAddr(clientLink, netip.PrefixFrom(addr, LAN4.Bits())); err != nil {
			return nil, err
		}
		all = append(all, addr)
	}
	return all, nil
}

// Received returns how many bytes the gateway's interface of an uplink has received.
func Received(lab *Lab, uplink int) (uint64, error) {
	link, err := lab.Gateway.Netlink().LinkByName(lab.Uplinks[uplink].Interface)
	if err != nil {
		return 0, fmt.Errorf("lab: read the counters of uplink %d: %w", uplink, err)
	}
	return link.Attrs().Statistics.RxBytes, nil
}

// MoreServers gives the internet further addresses beside the server's, 198.18.0.100 on,
// and returns them.
func MoreServers(lab *Lab, n int) ([]netip.Addr, error) {
	if n > 150 {
		return nil, fmt.Errorf("lab: %d more servers; want 150 at most", n)
	}
	var all []netip.Addr
	for i := range n {
		addr := host(alone(Server4), byte(100+i))
		if err := lab.Internet.AddAddr("lo", alone(addr)); err != nil {
			return nil, err
		}
		all = append(all, addr)
	}
	return all, nil
}

package netns

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SettleIPv6 waits until every IPv6 address of the running links is usable: not
// tentative, and its solicited-node group joined (RFC 4291, 2.7.1). The kernel does
// that some time after the address is added or the link comes up; a neighbour that
// sends a solicitation earlier waits a second for its retransmission. ctx bounds it.
func (ns *NS) SettleIPv6(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		open, err := ns.unsettledIPv6()
		if err != nil {
			return fmt.Errorf("netns: settle IPv6: %w", err)
		}
		if open == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("netns: settle IPv6: %s is not in use: %w", open, context.Cause(ctx))
		}
	}
}

// unsettledIPv6 returns an address that is not usable yet; nil if there is none.
func (ns *NS) unsettledIPv6() (net.IP, error) {
	var groups []byte
	err := ns.Do(func() (err error) {
		groups, err = os.ReadFile("/proc/thread-self/net/igmp6")
		return err
	})
	if err != nil {
		return nil, err
	}
	links, err := ns.handle.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if l.Attrs().RawFlags&unix.IFF_RUNNING == 0 || l.Attrs().Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := ns.handle.AddrList(l, netlink.FAMILY_V6)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 || !joined(groups, l.Attrs().Name, a.IP) {
				return a.IP, nil
			}
		}
	}
	return nil, nil
}

// joined reports whether igmp6's lines, as "2 eth0 ff02…0001ff000001 1 …", have the
// solicited-node group of an address on a link.
func joined(groups []byte, link string, ip net.IP) bool {
	ip = ip.To16()
	group := fmt.Sprintf("ff0200000000000000000001ff%02x%02x%02x", ip[13], ip[14], ip[15])
	for line := range bytes.Lines(groups) {
		f := bytes.Fields(line)
		if len(f) > 2 && string(f[1]) == link && string(f[2]) == group {
			return true
		}
	}
	return false
}

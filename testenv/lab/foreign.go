package lab

import (
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// swerveProtocol is the protocol of Swerve's rules and routes.
const swerveProtocol = 83

// deleteForeign does to Swerve's objects in the gateway what other programs do.
func (lab *Lab) deleteForeign(kind Kind) error {
	switch kind {
	case DeleteRules:
		return lab.echo(unix.RTM_GETRULE, unix.RTM_DELRULE, ruleProtocol)
	case DeleteRoutes:
		return lab.echo(unix.RTM_GETROUTE, unix.RTM_DELROUTE, routeProtocol)
	}
	return nft(lab.Gateway, func(c *nftables.Conn) { c.FlushRuleset() })
}

// echo deletes every rule or route of Swerve by sending back what the kernel dumped,
// as ip(8) flush does: so no attribute is lost in a conversion.
func (lab *Lab) echo(get, del int, protocol func(body []byte) (int, error)) error {
	return lab.Gateway.Do(func() error {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			bodies, err := dump(get, family)
			if err != nil {
				return fmt.Errorf("list, family %d: %w", family, err)
			}
			for _, body := range bodies {
				if p, err := protocol(body); err != nil || p != swerveProtocol {
					continue
				}
				req := nl.NewNetlinkRequest(del, unix.NLM_F_ACK)
				req.AddRawData(body)
				if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
					return fmt.Errorf("delete, family %d: %w", family, err)
				}
			}
		}
		return nil
	})
}

// dump lists the bodies of a family's rules or routes. Both begin with the same
// twelve bytes, the family first. A dump that the kernel interrupted because something
// changed meanwhile is repeated.
func dump(get int, family uint8) (bodies [][]byte, err error) {
	for range 10 {
		req := nl.NewNetlinkRequest(get, unix.NLM_F_DUMP)
		req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family}})
		if bodies, err = req.Execute(unix.NETLINK_ROUTE, 0); err == nil {
			return bodies, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, err
}

func routeProtocol(body []byte) (int, error) {
	return int(nl.DeserializeRtMsg(body).Protocol), nil
}

// ruleProtocol returns the attribute FRA_PROTOCOL; -1 if there is none.
func ruleProtocol(body []byte) (int, error) {
	attrs, err := nl.ParseRouteAttr(body[unix.SizeofRtMsg:])
	if err != nil {
		return -1, err
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.FRA_PROTOCOL && len(a.Value) == 1 {
			return int(a.Value[0]), nil
		}
	}
	return -1, nil
}

package wire

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/packet"
)

// offloads leave work to the other end of a link that the wire must see done:
// missing checksums, packets of 64 KiB. In the order of their dependencies.
var offloads = [...]struct {
	name    string
	command uint32
}{
	{"generic receive offload", unix.ETHTOOL_SGRO},
	{"generic segmentation", unix.ETHTOOL_SGSO},
	{"TCP segmentation", unix.ETHTOOL_STSO},
	{"scatter-gather", unix.ETHTOOL_SSG},
	{"transmit checksums", unix.ETHTOOL_STXCSUM},
}

// DisableOffloads turns off what makes the frames on a link differ from those on a
// real cable.
func DisableOffloads(ns *netns.NS, link string) error {
	return ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("wire: open socket for ethtool: %w", err)
		}
		defer unix.Close(fd)
		for _, o := range offloads {
			if err := ethtool(fd, link, o.command, 0); err != nil {
				return fmt.Errorf("wire: %s: turn off %s: %w", link, o.name, err)
			}
		}
		return nil
	})
}

// ethtool sets one value of a link. x/sys has no function for this kind of request.
func ethtool(fd int, link string, command, value uint32) error {
	data := struct{ command, value uint32 }{command, value}
	var req struct { // struct ifreq of <linux/if.h>
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	req.data = unsafe.Pointer(&data)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}

// makeEnd makes one end's link, down, with its peer up in the hidden namespace, and
// returns a packet socket on the peer.
func makeEnd(hidden *netns.NS, peer string, end End) (fd int, err error) {
	if err := netns.Veth(end.NS, end.Link, hidden, peer); err != nil {
		return -1, err
	}
	for _, err := range []error{
		DisableOffloads(end.NS, end.Link),
		DisableOffloads(hidden, peer),
		// The peer is a piece of cable: it must not send anything itself.
		hidden.SetSysctl("net/ipv6/conf/"+peer+"/disable_ipv6", "1"),
		hidden.SetUp(peer),
	} {
		if err != nil {
			return -1, err
		}
	}
	return packet.Open(hidden, packet.Options{Link: peer, Incoming: true})
}

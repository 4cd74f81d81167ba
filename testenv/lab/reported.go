package lab

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// reportLimit is how long the kernel may take to report that a link is down. Some
// drivers take a second.
const reportLimit = 3 * time.Second

// untilReported takes an uplink down by fn and waits for the kernel's message about it
// in the gateway. It sets the fault's instants.
func (lab *Lab) untilReported(f *Fault, fn func() error) error {
	link, err := lab.Gateway.Netlink().LinkByName(lab.Uplinks[f.Uplink].Interface)
	if err != nil {
		return err
	}
	var sock *nl.NetlinkSocket
	err = lab.Gateway.Do(func() (err error) {
		sock, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
		return err
	})
	if err != nil {
		return fmt.Errorf("subscribe to link messages: %w", err)
	}
	reported := make(chan time.Time, 1)
	go func() {
		defer sock.Close()
		reported <- awaitDown(sock, int32(link.Attrs().Index))
	}()
	f.Onset = time.Now()
	err = fn()
	if f.Reported = <-reported; err == nil && f.Reported.IsZero() {
		err = fmt.Errorf("the kernel did not report %s down within %v", link.Attrs().Name, reportLimit)
	}
	return err
}

// awaitDown returns when the kernel has reported that a link no longer runs, or zero
// after reportLimit.
func awaitDown(sock *nl.NetlinkSocket, ifindex int32) time.Time {
	limit := unix.NsecToTimeval(int64(reportLimit))
	if err := sock.SetReceiveTimeout(&limit); err != nil {
		return time.Time{}
	}
	for {
		messages, _, err := sock.Receive()
		if err != nil {
			return time.Time{}
		}
		at := time.Now()
		for _, m := range messages {
			if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
				continue
			}
			info := nl.DeserializeIfInfomsg(m.Data)
			if info.Index == ifindex && info.Flags&unix.IFF_RUNNING == 0 {
				return at
			}
		}
	}
}

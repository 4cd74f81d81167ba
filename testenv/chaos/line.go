package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// rename gives an uplink's interface another name for a while.
func rename(s *stage, f fault) (func() error, error) {
	down, err := s.lab.Fault(f.uplink, "interface-down")
	if err != nil {
		return nil, err
	}
	name, other := s.lab.Uplinks[f.uplink].Interface, fmt.Sprintf("other%d", f.uplink)
	set := func(from, to string) error {
		h := s.lab.Gateway.Netlink()
		link, err := h.LinkByName(from)
		if err != nil {
			return err
		}
		if err := h.LinkSetDown(link); err != nil {
			return err
		}
		return h.LinkSetName(link, to)
	}
	if err := set(name, other); err != nil {
		return down.Undo, err
	}
	return func() error { return errors.Join(set(other, name), down.Undo()) }, s.lab.Gateway.SetUp(other)
}

// lanLink and lan6 are the gateway's on the LAN.
const lanLink = "lan0"

var lan6 = netip.MustParsePrefix("fd00:10::1/64")

// lanDown sets the LAN's interface down, and up with what it had.
func lanDown(s *stage, _ fault) (func() error, error) {
	return func() error {
		if err := s.lab.Gateway.SetUp(lanLink); err != nil {
			return err
		}
		return s.lab.Gateway.AddAddr(lanLink, lan6)
	}, s.lab.Gateway.SetDown(lanLink)
}

// flushRules deletes everybody's rules; their owner adds the kernel's own again.
func flushRules(s *stage, _ fault) (func() error, error) {
	ip := func(commands ...string) (errs []error) {
		for _, c := range commands {
			if _, err := s.lab.Gateway.Run("ip", strings.Fields(c)...); err != nil && !strings.Contains(err.Error(), "File exists") {
				errs = append(errs, err)
			}
		}
		return errs
	}
	return func() error {
		return errors.Join(ip(
			"-4 rule add pref 32766 table main protocol kernel", "-4 rule add pref 32767 table default protocol kernel",
			"-6 rule add pref 32766 table main protocol kernel")...)
	}, errors.Join(ip("-4 rule flush", "-6 rule flush")...)
}

package main

import (
	"testing"

	"swerve/config"
	"swerve/daemon"
)

// check warns of an interface that this machine does not have, and of no other.
func TestMissingInterfaceIsWarnedOf(t *testing.T) {
	uplinks := []config.Uplink{
		{Name: "fiber", Interface: "lo", Enabled: true},
		{Name: "lte", Interface: "nosuch0", Enabled: true},
		{Name: "off", Interface: "nosuch1"},
	}
	const want = "warning: uplink lte: this machine has no interface nosuch0 now: it is used once there is one\n"
	if got := missingText(daemon.MissingInterfaces(uplinks)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

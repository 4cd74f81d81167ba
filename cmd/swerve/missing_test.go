package main

import (
	"os"
	"path/filepath"
	"strings"
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

// An interface that is written as a number, and places that are used for something
// else, are warned of.
func TestMisplaced(t *testing.T) {
	if got := missingText([]config.Uplink{{Name: "lte", Interface: "12"}}); !strings.Contains(got, "by its name, not by its number") {
		t.Errorf("%q", got)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{State: file, Control: config.Control{Socket: file}}
	if got := misplacedText(cfg); strings.Count(got, "warning: ") != 2 {
		t.Errorf("%q", got)
	}
	cfg.State, cfg.Control.Socket = filepath.Dir(file), filepath.Join(filepath.Dir(file), "none")
	if got := misplacedText(cfg); got != "" {
		t.Errorf("%q", got)
	}
}

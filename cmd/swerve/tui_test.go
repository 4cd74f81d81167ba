package main

import "testing"

// What is no terminal gets an error that says what to use instead; what happens on
// one is tested in package tui.
func TestTUIWantsATerminal(t *testing.T) {
	d := startDaemon(t, quietStatus())
	want := "swerve: show the dashboard on standard output: it is not a terminal; use `swerve status`, or `swerve events -f`\n"
	if r := d.command(t, "tui"); r != (result{exitFailed, "", want}) {
		t.Errorf("%+v", r)
	}
	if r := d.command(t, "tui", "now"); r.code != exitUsage {
		t.Errorf("an argument: %+v", r)
	}
}

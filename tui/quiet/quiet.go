// Package quiet prevents Bubble Tea from querying the terminal when a program that
// imports it starts.
//
// Bubble Tea (v1) queries the terminal's background colour while packages are
// initialised: in every subcommand of the binary, also in those that draw nothing. That
// writes escape sequences, consumes what was typed ahead, and waits up to five seconds
// where nothing answers, as on the serial console of a router. A terminal of type "dumb"
// is not queried, so this package sets that type during the initialisation.
//
// The language specification defines the order: packages are initialised in the order
// of their import paths as soon as their imports are. This package imports os alone;
// the one that queries also imports text/template, whose path sorts after the path of
// this one. Package tui imports Bubble Tea, so its own initialisation, which calls
// Restore, follows. A test checks that commands which draw nothing write no escape
// sequence.
package quiet

import "os"

const variable = "TERM"

// before is the original value of the variable, present if it was set.
var before, present = os.LookupEnv(variable)

func init() {
	if present {
		os.Setenv(variable, "dumb") // fails only for invalid names
	}
}

// Restore sets TERM to its original value again.
func Restore() {
	if present {
		os.Setenv(variable, before)
	}
}

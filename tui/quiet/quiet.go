// Package quiet keeps Bubble Tea from questioning the terminal when a program that
// contains it starts.
//
// Bubble Tea (v1) asks the terminal for its background colour while packages are
// initialised: in every subcommand of the binary, also in those that draw nothing.
// That writes escape sequences, swallows what was typed ahead, and waits up to five
// seconds where nothing answers, as on the serial console of a router. A terminal
// of type "dumb" is not asked, and this package makes it one for that moment.
//
// The moment is given by the language: packages are initialised in the order of
// their import paths as soon as what they import is. This one imports os alone; the
// one that asks also needs text/template, whose path comes after this one's. Package
// tui imports Bubble Tea, so its own initialisation, which calls Restore, comes
// after. A test of tui holds that commands which draw nothing write no escape
// sequence.
package quiet

import "os"

const variable = "TERM"

// before is the terminal's type as it was, present if it was set.
var before, present = os.LookupEnv(variable)

func init() {
	if present {
		os.Setenv(variable, "dumb") // fails only for names that cannot be
	}
}

// Restore gives TERM its own value again.
func Restore() {
	if present {
		os.Setenv(variable, before)
	}
}

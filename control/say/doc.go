// Package say is what the daemon's data are called in front of people: phrases for
// events and switches, times and ages, figures with their units. The command line,
// the dashboard and the demo share it, so that the same thing has the same words
// everywhere.
//
// It writes plain text without colours, line breaks or a width; those are the
// caller's. Texts that come from the daemon are passed on as they are: [Clean] makes
// them fit for a terminal.
package say

// NotKnown stands where something is not known, not measured or not there.
const NotKnown = "-"
